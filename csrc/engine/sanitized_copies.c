#include "sanitized_copies.h"

#include <string.h>

#include "../base/fail.h"

void mdc_sanitized_init(mdc_sanitized *copies, const mdc_capture *capture) {
    copies->engine = capture->engine;
    copies->capture = capture;
    mdc_vec_init(&copies->bytes, 1);
    mdc_vec_init(&copies->starts, sizeof(size_t));
    mdc_vec_init(&copies->string, 1);
}

void mdc_sanitized_fini(mdc_sanitized *copies) {
    mdc_vec_fini(&copies->bytes);
    mdc_vec_fini(&copies->starts);
    mdc_vec_fini(&copies->string);
}

void mdc_sanitize(const mdc_engine *engine, uint64_t address, void *bytes, uint64_t size) {
    if (engine->options.edit != NULL && size > 0)
        engine->options.edit(engine->options.edit_context, address, bytes, (size_t)size, engine->measures ? 0 : 1);
}

static bool makes_copies(const mdc_sanitized *copies) {
    const mdc_capture *capture = copies->capture;
    return (copies->engine->options.edit != NULL && capture->lists->carried == NULL) ||
           mdc_sanitizes_registers(capture);
}

static uint8_t *copy_of(const mdc_sanitized *copies, size_t item) {
    return (uint8_t *)copies->bytes.data + mdc_vec_at(&copies->starts, const size_t, item);
}

static mdc_status add_copy(mdc_sanitized *copies, uint64_t address, const uint8_t *data, uint64_t size,
                           mdc_error *err) {
    size_t at = copies->bytes.count;
    if (size > SIZE_MAX / 2)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_PLAN, 0, "a string is too long to be sanitized");
    if (mdc_vec_push(&copies->starts, &at, 1, NULL, err) != MDC_OK) return err->code;
    if (data == NULL) return MDC_OK;
    if (mdc_vec_push(&copies->bytes, data, (size_t)size, NULL, err) != MDC_OK) return err->code;
    mdc_sanitize(copies->engine, address, (uint8_t *)copies->bytes.data + at, size);
    return MDC_OK;
}

mdc_status mdc_sanitized_make(mdc_sanitized *copies, mdc_error *err) {
    const mdc_snapshot *lists = copies->capture->lists;
    if (!makes_copies(copies)) return MDC_OK;
    for (size_t i = 0; i < lists->text_count; i++)
        if (add_copy(copies, lists->texts[i].address, lists->texts[i].data, lists->texts[i].size, err) != MDC_OK)
            return err->code;
    for (size_t i = 0; i < lists->thread_count; i++) {
        const mdc_thread *thread = &lists->threads[i];
        size_t at = copies->bytes.count;
        if (add_copy(copies, 0, thread->context, thread->context_size, err) != MDC_OK) return err->code;
        if (thread->context != NULL)
            mdc_sanitize_registers(copies->capture, (uint8_t *)copies->bytes.data + at, thread->context_size);
    }
    return MDC_OK;
}

const uint8_t *mdc_sanitized_text(const mdc_sanitized *copies, size_t text) {
    const uint8_t *data = copies->capture->lists->texts[text].data;
    return data == NULL || !makes_copies(copies) ? data : copy_of(copies, text);
}

const uint8_t *mdc_sanitized_context(const mdc_sanitized *copies, size_t thread) {
    return !makes_copies(copies) ? copies->capture->lists->threads[thread].context
                                 : copy_of(copies, copies->capture->lists->text_count + thread);
}

mdc_status mdc_sanitized_string(mdc_sanitized *copies, const uint8_t **bytes, size_t size, mdc_error *err) {
    if (copies->engine->options.edit == NULL || size == 0) return MDC_OK;
    copies->string.count = 0;
    if (mdc_vec_push(&copies->string, *bytes, size, NULL, err) != MDC_OK) return err->code;
    mdc_sanitize(copies->engine, 0, copies->string.data, size);
    *bytes = copies->string.data;
    return MDC_OK;
}
