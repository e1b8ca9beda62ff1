/* Registers, names and the exception of a finished dump (see scrub_items.h). */
#include "scrub_items.h"

#include <stddef.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../callback/redaction.h"
#include "../filter/match.h"
#include "../format/wtf8.h"

enum {
    CONTEXT_MAX = 1 << 16, /* bytes of one that are looked at; the longest known takes 12 KiB */
    BYTES_X86 = 716,
    BYTES_ARM64 = 912,
    BYTES_AMD64 = 1232, /* or more, with an extended state */
    FLAGS_AMD64 = 48    /* offset of its ContextFlags; the others begin with them */
};

static uint64_t count_differences(const uint8_t *a, const uint8_t *b, size_t size) {
    uint64_t count = 0;
    for (size_t i = 0; i < size; i++) count += a[i] != b[i];
    return count;
}

/* -- what is left out ---------------------------------------------------------------------------------------------- */

static bool keeps_registers(const mdc_scrub_items *items, uint32_t tid) {
    uint32_t otherwise = mdc_filter_thread_keep(mdc_callback_filter(items->callback), tid);
    return (mdc_proxy_thread_flags(items->proxy, tid, otherwise) & MDC_THREAD_WRITE_CONTEXT) != 0;
}

/* A context that says it holds nothing: readers insist on one of full size. */
static mdc_status empty_context(mdc_scrub_items *items, mdc_file_location context, mdc_error *err) {
    uint8_t nothing[1024];
    uint32_t flags = context.data_size == BYTES_X86     ? 0x10000
                     : context.data_size == BYTES_ARM64 ? 0x400000
                     : context.data_size >= BYTES_AMD64 ? 0x100000
                                                        : 0;
    memset(nothing, 0, sizeof nothing);
    items->left_out = true;
    for (uint32_t done = 0; done < context.data_size;) {
        size_t part = (size_t)mdc_min_u64(context.data_size - done, sizeof nothing);
        if (mdc_staging_file_overwrite(items->store, (uint64_t)context.rva + done, nothing, part, err) != MDC_OK)
            return err->code;
        done += (uint32_t)part;
    }
    if (flags == 0) return MDC_OK;
    uint64_t at = (uint64_t)context.rva + (context.data_size >= BYTES_AMD64 ? FLAGS_AMD64 : 0);
    return mdc_staging_file_overwrite(items->store, at, &flags, sizeof flags, err);
}

static mdc_status leave_out_registers(mdc_scrub_items *items, mdc_error *err) {
    const mdc_vec *threads = &items->file->threads;
    for (size_t i = 0; i < threads->count; i++) {
        const mdc_dump_reader_thread *thread = &mdc_vec_at(threads, const mdc_dump_reader_thread, i);
        mdc_file_location context = {thread->context_size, thread->context_rva};
        if (context.data_size != 0 && !keeps_registers(items, thread->tid) &&
            empty_context(items, context, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* With the thread's registers, or the memory it was read from, goes the exception: the directory has an unused entry
 * then. Registers that are a thread's too are decided with the thread. */
static mdc_status leave_out_exception(mdc_scrub_items *items, const mdc_dump_reader_exception *exception,
                                      mdc_error *err) {
    const mdc_file_directory unused = {0, 0, 0};
    mdc_file_exception nothing;
    bool shared = exception->context.data_size == 0;
    memset(&nothing, 0, sizeof nothing);
    for (size_t i = 0; i < items->file->threads.count; i++)
        shared = shared || mdc_vec_at(&items->file->threads, const mdc_dump_reader_thread, i).context_rva ==
                               exception->context.rva;
    if (!shared && empty_context(items, exception->context, err) != MDC_OK) return err->code;
    items->left_out = true;
    if (mdc_staging_file_overwrite(items->store, exception->at, &nothing, sizeof nothing, err) != MDC_OK)
        return err->code;
    return mdc_staging_file_overwrite(items->store, exception->entry, &unused, sizeof unused, err);
}

/* -- what is hidden ------------------------------------------------------------------------------------------------ */

/* Patterns in [offset, offset + size), size CONTEXT_MAX at most. */
static mdc_status edit(mdc_scrub_items *items, uint64_t offset, size_t size, uint8_t *buffer, mdc_error *err) {
    uint8_t *before = buffer + CONTEXT_MAX;
    if (mdc_staging_file_read(items->store, offset, buffer, size, err) != MDC_OK) return err->code;
    memcpy(before, buffer, size);
    mdc_callback_edit(items->callback, 0, buffer, size, true);
    uint64_t changed = count_differences(buffer, before, size);
    items->edited_bytes += changed;
    return changed == 0 ? MDC_OK : mdc_staging_file_overwrite(items->store, offset, buffer, size, err);
}

/* UTF-16: patterns are compared as UTF-8. A character with a hidden byte becomes `fill`. */
static void edit_units(mdc_scrub_items *items, uint16_t *units, size_t count, uint8_t *utf8, uint8_t *before) {
    size_t size = mdc_wtf8_from_utf16(units, count, utf8, count * MDC_WTF8_PER_UNIT), at = 0;
    uint8_t fill = mdc_filter_fill(mdc_callback_filter(items->callback));
    memcpy(before, utf8, size);
    mdc_callback_edit(items->callback, 0, utf8, size, true);
    for (size_t i = 0; i < count && at < size;) {
        uint8_t lead = before[at];
        size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4, taken = length == 4 ? 2 : 1;
        if (memcmp(utf8 + at, before + at, length) != 0)
            for (size_t j = 0; j < taken; j++) units[i + j] = fill < 0x80 ? fill : 0xFFFD;
        at += length;
        i += taken;
    }
}

static mdc_status edit_text(mdc_scrub_items *items, const mdc_file_text *text, uint8_t *buffer, mdc_error *err) {
    size_t size = text->size, count = size / 2;
    if (!text->wide) return edit(items, text->offset, size, buffer, err);
    uint16_t *units = (uint16_t *)(void *)buffer;
    uint8_t *before = buffer + CONTEXT_MAX, *utf8 = before + CONTEXT_MAX, *utf8_before = utf8 + 2 * CONTEXT_MAX;
    if (mdc_staging_file_read(items->store, text->offset, units, 2 * count, err) != MDC_OK) return err->code;
    memcpy(before, units, 2 * count);
    edit_units(items, units, count, utf8, utf8_before);
    mdc_callback_edit(items->callback, 0, buffer, 2 * count, true); /* and for themselves, as in memory */
    uint64_t changed = count_differences(buffer, before, 2 * count);
    items->edited_bytes += changed;
    return changed == 0 ? MDC_OK : mdc_staging_file_overwrite(items->store, text->offset, buffer, 2 * count, err);
}

static mdc_status edit_all(mdc_scrub_items *items, uint8_t *buffer, mdc_dump_control *control, mdc_error *err) {
    const mdc_dump_reader *file = items->file;
    for (size_t i = 0; i < file->contexts.count; i++) {
        const mdc_file_location *context = &mdc_vec_at(&file->contexts, const mdc_file_location, i);
        if (context->data_size > CONTEXT_MAX)
            return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0,
                            "dbghelp wrote registers of %u bytes, too many to search for patterns",
                            (unsigned)context->data_size);
        if (edit(items, context->rva, context->data_size, buffer, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < file->exceptions.count; i++) {
        uint64_t at = mdc_vec_at(&file->exceptions, const mdc_dump_reader_exception, i).at;
        const mdc_file_exception_record *record = NULL;
        if (edit(items, at + offsetof(mdc_file_exception, record.information), sizeof record->information, buffer,
                 err) != MDC_OK)
            return err->code;
    }
    for (size_t i = 0; i < file->texts.count; i++)
        if (mdc_control_check(control, err) != MDC_OK ||
            edit_text(items, &mdc_vec_at(&file->texts, const mdc_file_text, i), buffer, err) != MDC_OK)
            return err->code;
    return MDC_OK;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

mdc_status mdc_scrub_items_hide(mdc_scrub_items *items, mdc_dump_control *control, mdc_error *err) {
    const mdc_dump_reader *file = items->file;
    if (leave_out_registers(items, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < file->exceptions.count; i++) {
        const mdc_dump_reader_exception *exception = &mdc_vec_at(&file->exceptions, const mdc_dump_reader_exception, i);
        if ((items->exception_hidden || !keeps_registers(items, exception->tid)) &&
            leave_out_exception(items, exception, err) != MDC_OK)
            return err->code;
    }
    if (!items->redacts) return MDC_OK;
    if (file->odd_texts)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0,
                        "dbghelp wrote a name outside the file: it cannot be searched for patterns");
    /* Two texts or contexts, and twice the UTF-8 of the longer kind. */
    uint8_t *buffer = mdc_alloc(6, CONTEXT_MAX, err);
    if (buffer == NULL) return err->code;
    mdc_status status = edit_all(items, buffer, control, err);
    mdc_dealloc(buffer);
    return status;
}
