/* What goes into the file without a read: texts, registers and names from the kernel. If they are edited, this is done
 * in copies: callbacks get the originals, the file gets the copies. */
#include <string.h>

#include "../base/fail.h"
#include "dump_state.h"

static mdc_status add_copy(mdc_dump *dump, const uint8_t *data, uint64_t size, mdc_error *err) {
    size_t at = dump->edited.count;
    if (size > SIZE_MAX / 2)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_PLAN, 0, "a string is too long to be edited");
    if (data != NULL && mdc_vec_push(&dump->edited, data, (size_t)size, NULL, err) != MDC_OK) return err->code;
    return mdc_vec_push(&dump->edited_at, &at, 1, NULL, err);
}

static void edit(mdc_dump *dump, uint64_t address, uint8_t *bytes, uint64_t size) {
    if (size > 0) dump->options.edit(dump->options.edit_context, address, bytes, (size_t)size);
}

static uint8_t *copy_of(const mdc_dump *dump, size_t item) {
    return (uint8_t *)dump->edited.data + mdc_vec_at(&dump->edited_at, const size_t, item);
}

mdc_status mdc_sanitized_make(mdc_dump *dump, mdc_error *err) {
    const mdc_lists *lists = dump->lists;
    if (dump->options.edit == NULL) return MDC_OK;
    for (size_t i = 0; i < lists->text_count; i++)
        if (add_copy(dump, lists->texts[i].data, lists->texts[i].size, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < lists->thread_count; i++)
        if (add_copy(dump, lists->threads[i].context, lists->threads[i].context_size, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < lists->text_count; i++)
        if (lists->texts[i].data != NULL) edit(dump, lists->texts[i].address, copy_of(dump, i), lists->texts[i].size);
    for (size_t i = 0; i < lists->thread_count; i++)
        edit(dump, 0, copy_of(dump, lists->text_count + i), lists->threads[i].context_size);
    return MDC_OK;
}

const uint8_t *mdc_sanitized_text(const mdc_dump *dump, size_t text) {
    const uint8_t *data = dump->lists->texts[text].data;
    return data == NULL || dump->options.edit == NULL ? data : copy_of(dump, text);
}

const uint8_t *mdc_sanitized_context(const mdc_dump *dump, size_t thread) {
    return dump->options.edit == NULL ? dump->lists->threads[thread].context
                                      : copy_of(dump, dump->lists->text_count + thread);
}

mdc_status mdc_sanitized_string(mdc_dump *dump, const uint8_t **bytes, size_t size, mdc_error *err) {
    if (dump->options.edit == NULL || size == 0) return MDC_OK;
    dump->edited_string.count = 0;
    if (mdc_vec_push(&dump->edited_string, *bytes, size, NULL, err) != MDC_OK) return err->code;
    edit(dump, 0, dump->edited_string.data, size);
    *bytes = dump->edited_string.data;
    return MDC_OK;
}
