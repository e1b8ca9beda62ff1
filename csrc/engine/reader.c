/* No path from target memory to the sink goes round this file, except pages of files that are read late. */
#include "reader.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/os_error.h"
#include "include_region.h"

mdc_status mdc_reader_init(mdc_reader *reader, const mdc_capture *capture, const mdc_extents *extents,
                           const mdc_extents *cut, mdc_error *err) {
    mdc_engine *engine = capture->engine;
    bool holds = engine->calls.wants_post_read && (engine->options.extensions & MDC_EXT_HOLD_BACK) != 0;
    reader->engine = engine;
    reader->capture = capture;
    reader->extents = extents;
    reader->cut = cut;
    reader->room = (size_t)engine->options.buffer_bytes;
    reader->hold = holds ? (size_t)mdc_min_u64(engine->options.hold, reader->room) : 0;
    reader->block = mdc_alloc_buffer(1, reader->room + 2 * reader->hold + MDC_PAGE_SIZE, err);
    if (reader->block == NULL) return err->code;
    reader->buffer = reader->block + (MDC_PAGE_SIZE - (uintptr_t)reader->block % MDC_PAGE_SIZE) % MDC_PAGE_SIZE;
    return MDC_OK;
}

void mdc_reader_fini(mdc_reader *reader) { mdc_dealloc(reader->block); }

mdc_status mdc_reader_source(const mdc_reader *reader, const mdc_span *spans, size_t count, uint8_t *buffer,
                             size_t wanted, size_t *done, int32_t *os_errno, mdc_error *err) {
    mdc_source *source = reader->engine->source;
    *done = 0;
    *os_errno = 0;
    mdc_status status = source->ops->read(source, spans, count, buffer, done, os_errno, err);
    if (*done > wanted) *done = wanted;
    return status;
}

mdc_status mdc_reader_fetch(const mdc_reader *reader, uint64_t address, uint8_t *out, size_t size, size_t *done,
                            bool *closed, int32_t *os_errno, mdc_error *err) {
    mdc_calls *calls = &reader->engine->calls;
    size_t served = 0;
    bool failed = false;
    *os_errno = MDC_OS_IO;
    if (calls->serves_memory) {
        memset(out, 0, size); /* a callee that claims more than it filled must not pass on what was read before */
        served = mdc_calls_vm_pre_read(calls, address, out, (uint32_t)size, &failed);
    }
    *done = served;
    *closed = failed || served == size;
    if (*closed) return MDC_OK;
    mdc_span span = {address + served, size - served};
    if (mdc_reader_source(reader, &span, 1, out + served, size - served, done, os_errno, err) != MDC_OK)
        return err->code;
    *done += served;
    return MDC_OK;
}

mdc_status mdc_reader_show(const mdc_reader *reader, uint64_t address, uint8_t *buffer, size_t size, size_t completed,
                           size_t passed, size_t *valid, mdc_error *err) {
    memset(buffer + completed, 0, size - completed); /* as above: the buffer is used again and again */
    *valid = mdc_calls_vm_post_read(&reader->engine->calls, address, buffer, (uint32_t)size, (uint32_t)completed);
    if (*valid >= passed) return MDC_OK;
    return mdc_fail_callback(err, MDC_CB_VM_POST_READ, address,
                             "the callback's answer to VmPostRead withdrew bytes it had accepted before");
}

mdc_status mdc_reader_read(const mdc_reader *reader, uint64_t address, uint8_t *buffer, size_t head, size_t lent,
                           size_t size, size_t *done, int32_t *os_errno, mdc_error *err) {
    bool closed;
    if (mdc_reader_fetch(reader, address, buffer + head, size, done, &closed, os_errno, err) != MDC_OK)
        return err->code;
    if (closed || !reader->engine->calls.wants_post_read) return MDC_OK;
    size_t valid;
    if (mdc_reader_show(reader, address - head, buffer, head + size, head + *done, head > lent ? head : 0, &valid,
                        err) != MDC_OK)
        return err->code;
    if (valid < head + *done && *os_errno == 0) *os_errno = MDC_OS_IO;
    *done = valid > head ? valid - head : 0;
    return MDC_OK;
}

mdc_status mdc_reader_peek(const mdc_reader *reader, uint64_t address, void *out, size_t size, size_t *done,
                           mdc_error *err) {
    int32_t os_errno;
    if (reader->hold == 0 || size > reader->room)
        return mdc_reader_read(reader, address, out, 0, 0, size, done, &os_errno, err);
    uint8_t *window = reader->buffer; /* nothing is being written yet */
    size_t front, after = 0, valid;
    bool closed;
    if (mdc_context_before(reader, address, reader->hold, window, &front, err) != MDC_OK ||
        mdc_reader_fetch(reader, address, window + front, size, done, &closed, &os_errno, err) != MDC_OK)
        return err->code;
    if (*done == size &&
        mdc_context_after(reader, address + size, reader->hold, window + front + size, &after, err) != MDC_OK)
        return err->code;
    size_t all = front + *done + after;
    if (!closed) {
        if (mdc_reader_show(reader, address - front, window, front + size + after, all, 0, &valid, err) != MDC_OK)
            return err->code;
        *done = valid <= front ? 0 : valid - front < *done ? valid - front : *done;
    }
    memcpy(out, window + front, *done);
    return MDC_OK;
}

static mdc_status count_kept(void *kept, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    (void)region;
    (void)err;
    *(uint64_t *)kept += end - first;
    return MDC_OK;
}

mdc_status mdc_reader_kept(const mdc_reader *reader, uint64_t first, uint64_t end, bool *kept, mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    *kept = false;
    if (capture->engine->full) {
        *kept = mdc_extents_cover(reader->extents, first, end);
        return MDC_OK;
    }
    if (mdc_range_set_touches(&capture->removed, first, end)) return MDC_OK;
    while (first < end) {
        int64_t found = mdc_regions_find(capture, first);
        if (found == MDC_NO_REGION || mdc_regions_closed(capture, (size_t)found)) return MDC_OK;
        const mdc_region *region = &capture->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        if (stop > mdc_region_end(region)) return MDC_OK;
        if ((capture->engine->calls.extensions & MDC_EXT_PIECES) != 0) {
            uint64_t bytes = 0;
            if (mdc_include_region(capture, (size_t)found, first, stop, MDC_FACT_PIECE, count_kept, &bytes, err) !=
                MDC_OK)
                return err->code;
            if (bytes != stop - first) return MDC_OK;
        }
        first = stop;
    }
    *kept = true;
    return MDC_OK;
}
