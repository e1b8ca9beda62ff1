/* Target memory to the sink, through one buffer. Two ways:
 *
 * Plain: many spans and the zeros between them fill the buffer with one read and leave it with one write.
 * Careful: run by run, for callees that see every read (19, 20) and for batches in which something failed. A page that
 * fails costs that page. With hold-back the last bytes of a contiguous run wait in the buffer and head the next read;
 * where the file goes on with other addresses, the callee is shown the run's neighbours in memory as well, so that no
 * byte is written before `hold` bytes on both sides of it were seen, as far as they are kept and can be read.
 *
 * No path from target memory to the sink goes round this file. */
#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/os_error.h"
#include "dump_state.h"

enum { NO_EXTENT = -1 };

mdc_status mdc_copy_init(mdc_dump *dump, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    bool holds = dump->calls.wants_post_read && (dump->options.extensions & MDC_EXT_HOLD_BACK) != 0;
    copier->room = (size_t)dump->options.buffer_bytes;
    copier->hold = holds ? (size_t)mdc_min_u64(dump->options.hold, copier->room) : 0;
    copier->block = mdc_alloc(1, copier->room + 2 * copier->hold + MDC_PAGE_SIZE, err);
    copier->spans = mdc_alloc(MDC_BATCH_SPANS, sizeof *copier->spans, err);
    copier->zeros = mdc_alloc(MDC_BATCH_SPANS, sizeof *copier->zeros, err);
    copier->extent = mdc_alloc(MDC_BATCH_SPANS, sizeof *copier->extent, err);
    if (copier->block == NULL || copier->spans == NULL || copier->zeros == NULL || copier->extent == NULL)
        return err->code;
    copier->buffer = copier->block + (MDC_PAGE_SIZE - (uintptr_t)copier->block % MDC_PAGE_SIZE) % MDC_PAGE_SIZE;
    return MDC_OK;
}

void mdc_copy_fini(mdc_dump *dump) {
    mdc_dealloc(dump->copier.block);
    mdc_dealloc(dump->copier.spans);
    mdc_dealloc(dump->copier.zeros);
    mdc_dealloc(dump->copier.extent);
}

static void progress(mdc_dump *dump, uint64_t bytes) {
    atomic_fetch_add_explicit(&dump->monitor->bytes_done, bytes, memory_order_relaxed);
}

static mdc_status source_read(mdc_dump *dump, const mdc_span *spans, size_t count, uint8_t *buffer, size_t wanted,
                              size_t *done, int32_t *os_errno, mdc_error *err) {
    *done = 0;
    *os_errno = 0;
    mdc_status status = dump->source->ops->read(dump->source, spans, count, buffer, done, os_errno, err);
    if (*done > wanted) *done = wanted;
    return status;
}

mdc_status mdc_copy_fetch(mdc_dump *dump, uint64_t address, uint8_t *out, size_t size, size_t *done, bool *closed,
                          int32_t *os_errno, mdc_error *err) {
    size_t served = 0;
    bool failed = false;
    *os_errno = MDC_OS_IO;
    if (dump->calls.serves_memory) {
        memset(out, 0, size); /* a callee that claims more than it filled must not pass on what was read before */
        served = mdc_calls_vm_pre_read(&dump->calls, address, out, (uint32_t)size, &failed);
    }
    *done = served;
    *closed = failed || served == size;
    if (*closed) return MDC_OK;
    mdc_span span = {address + served, size - served};
    if (source_read(dump, &span, 1, out + served, size - served, done, os_errno, err) != MDC_OK) return err->code;
    *done += served;
    return MDC_OK;
}

/* 20 about bytes of the buffer. *valid: what the callee leaves, never less than the `passed` bytes at the front that it
 * has let pass before. */
static mdc_status show(mdc_dump *dump, uint64_t address, uint8_t *buffer, size_t size, size_t completed, size_t passed,
                       size_t *valid, mdc_error *err) {
    memset(buffer + completed, 0, size - completed); /* as above: the buffer is used again and again */
    *valid = mdc_calls_vm_post_read(&dump->calls, address, buffer, (uint32_t)size, (uint32_t)completed);
    if (*valid >= passed) return MDC_OK;
    return mdc_fail_callback(err, MDC_CB_VM_POST_READ, address,
                             "the callback's answer to VmPostRead withdrew bytes it had accepted before");
}

/* Reads [address, address + size) after `head` bytes that precede it in the target and in the buffer, through
 * VmPreRead and VmPostRead; the first `lent` of them were not released yet. *done: new bytes from the start that are
 * valid. */
static mdc_status careful_read(mdc_dump *dump, uint64_t address, uint8_t *buffer, size_t head, size_t lent, size_t size,
                               size_t *done, int32_t *os_errno, mdc_error *err) {
    bool closed;
    if (mdc_copy_fetch(dump, address, buffer + head, size, done, &closed, os_errno, err) != MDC_OK) return err->code;
    if (closed || !dump->calls.wants_post_read) return MDC_OK;
    size_t valid;
    if (show(dump, address - head, buffer, head + size, head + *done, head > lent ? head : 0, &valid, err) != MDC_OK)
        return err->code;
    if (valid < head + *done && *os_errno == 0) *os_errno = MDC_OS_IO;
    *done = valid > head ? valid - head : 0;
    return MDC_OK;
}

mdc_status mdc_copy_peek(mdc_dump *dump, uint64_t address, void *out, size_t size, size_t *done, mdc_error *err) {
    const mdc_copier *copier = &dump->copier;
    int32_t os_errno;
    if (copier->hold == 0 || size > copier->room)
        return careful_read(dump, address, out, 0, 0, size, done, &os_errno, err);
    uint8_t *window = copier->buffer; /* nothing is being written yet */
    size_t front, behind = 0, valid;
    bool closed;
    if (mdc_look_before(dump, address, copier->hold, window, &front, err) != MDC_OK ||
        mdc_copy_fetch(dump, address, window + front, size, done, &closed, &os_errno, err) != MDC_OK)
        return err->code;
    if (*done == size &&
        mdc_look_after(dump, address + size, copier->hold, window + front + size, &behind, err) != MDC_OK)
        return err->code;
    size_t all = front + *done + behind;
    if (!closed) {
        if (show(dump, address - front, window, front + size + behind, all, 0, &valid, err) != MDC_OK) return err->code;
        *done = valid <= front ? 0 : valid - front < *done ? valid - front : *done;
    }
    memcpy(out, window + front, *done);
    return MDC_OK;
}

/* Writes what the window still holds back; what follows it in memory is shown first. */
static mdc_status flush_window(mdc_dump *dump, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    size_t held = copier->held, lent = copier->lent, behind = 0, valid;
    copier->held = copier->lent = 0;
    if (held == lent) return MDC_OK;
    if (mdc_look_after(dump, copier->window_end, copier->hold, copier->buffer + held, &behind, err) != MDC_OK)
        return err->code;
    if (behind > 0 && show(dump, copier->window_end - held, copier->buffer, held + behind, held + behind, held, &valid,
                           err) != MDC_OK)
        return err->code;
    return mdc_store(dump, copier->buffer + lent, held - lent, err);
}

/* Begins a run that does not go on where the last one ended: what lies before it in memory is shown with it. */
static mdc_status begin_run(mdc_dump *dump, uint64_t address, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    if (copier->held > copier->lent && address == copier->window_end) return MDC_OK;
    if (flush_window(dump, err) != MDC_OK) return err->code;
    copier->window_end = address;
    if (copier->hold == 0) return MDC_OK;
    if (mdc_look_before(dump, address, copier->hold, copier->buffer, &copier->lent, err) != MDC_OK) return err->code;
    copier->held = copier->lent;
    return MDC_OK;
}

static mdc_status write_zeros(mdc_dump *dump, uint64_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    if (flush_window(dump, err) != MDC_OK) return err->code;
    size_t part = (size_t)mdc_min_u64(size, copier->room);
    memset(copier->buffer, 0, part);
    for (; size > 0; size -= part) {
        part = (size_t)mdc_min_u64(size, copier->room);
        if (mdc_store(dump, copier->buffer, part, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* A page that cannot be read. Tolerated, it is cut out of its range where the lists can be patched; elsewhere, and
 * where it is not memory of the lists, it is written as zeros. */
static mdc_status miss_page(mdc_dump *dump, size_t extent, uint64_t address, uint64_t size, int32_t os_errno,
                            mdc_error *err) {
    bool tolerated = dump->full && (dump->options.dump_type & MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY) != 0;
    if (!tolerated && !mdc_calls_read_failure(&dump->calls, address, (uint32_t)size)) {
        mdc_fail(err, MDC_ERR_READ, MDC_PHASE_WRITE, os_errno, "reading %" PRIu64 " bytes at 0x%" PRIx64 " failed%s",
                 size, address,
                 dump->calls.callback.CallbackRoutine != NULL ? " and the callback did not tolerate it" : "");
        err->address = address;
        err->hresult = MDC_E_PARTIAL_COPY;
        err->callback_type = dump->calls.callback.CallbackRoutine != NULL ? MDC_CB_READ_MEMORY_FAILURE : -1;
        return err->code;
    }
    if (flush_window(dump, err) != MDC_OK) return err->code;
    mdc_gaps_add(dump, address, size, MDC_GAP_READ_FAILED, os_errno);
    if (extent != (size_t)NO_EXTENT) {
        mdc_cut *last = dump->cut_count > 0 ? &dump->cuts[dump->cut_count - 1] : NULL;
        if (last != NULL && last->extent == extent && last->address + last->size == address) {
            last->size += size;
            mdc_store_cut(dump, size);
            return MDC_OK;
        }
        if (dump->cut_count < dump->spare) {
            dump->cuts[dump->cut_count++] = (mdc_cut){extent, address, size};
            mdc_store_cut(dump, size);
            return MDC_OK;
        }
    }
    return write_zeros(dump, size, err);
}

/* Takes `size` new bytes after the held-back ones: all but the last `hold` are written. */
static mdc_status accept(mdc_dump *dump, uint64_t end, size_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    size_t ready = copier->held + size;
    size_t keep = ready < copier->hold ? ready : copier->hold, go = ready - keep;
    size_t skip = copier->lent < go ? copier->lent : go;
    if (mdc_store(dump, copier->buffer + skip, go - skip, err) != MDC_OK) return err->code;
    memmove(copier->buffer, copier->buffer + go, keep);
    copier->lent -= skip;
    copier->held = keep;
    copier->window_end = end;
    return MDC_OK;
}

static mdc_status copy_run(mdc_dump *dump, size_t extent, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    if (begin_run(dump, address, err) != MDC_OK) return err->code;
    uint64_t end = address + size, most = copier->room;
    while (address < end) {
        if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
        uint64_t page_end = mdc_min_u64(end, mdc_page_down(address) + MDC_PAGE_SIZE);
        size_t part = (size_t)mdc_min_u64(end - address, most), done;
        int32_t os_errno;
        if (careful_read(dump, address, copier->buffer, copier->held, copier->lent, part, &done, &os_errno, err) !=
            MDC_OK)
            return err->code;
        if (done > 0) {
            if (accept(dump, address + done, done, err) != MDC_OK) return err->code;
            address += done;
            most = copier->room;
        } else if (part > page_end - address) {
            most = page_end - address;
        } else {
            if (miss_page(dump, extent, address, page_end - address, os_errno, err) != MDC_OK) return err->code;
            address = page_end;
            most = copier->room;
        }
    }
    return MDC_OK;
}

mdc_status mdc_copy_text(mdc_dump *dump, uint64_t address, uint64_t size, mdc_error *err) {
    if (copy_run(dump, (size_t)NO_EXTENT, address, size, err) != MDC_OK) return err->code;
    return flush_window(dump, err);
}

/* Moves what was read to its place among the zeros. It was read to the end of the bytes it belongs in, so every move
 * goes towards the front and none overwrites what is still to be moved. */
static void spread(mdc_copier *copier) {
    if (copier->total_bytes == copier->memory_bytes) return;
    uint8_t *to = copier->buffer, *from = copier->buffer + (copier->total_bytes - copier->memory_bytes);
    memset(to, 0, (size_t)copier->lead);
    to += copier->lead;
    for (size_t i = 0; i < copier->count; i++) {
        size_t size = (size_t)copier->spans[i].size;
        if (to != from) memmove(to, from, size);
        to += size;
        from += size;
        memset(to, 0, (size_t)copier->zeros[i]);
        to += copier->zeros[i];
    }
}

static mdc_status flush_batch(mdc_dump *dump, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    if (copier->total_bytes == 0) return MDC_OK;
    if (mdc_calls_poll(&dump->calls, err) != MDC_OK) return err->code;
    size_t total = (size_t)copier->total_bytes, memory = (size_t)copier->memory_bytes, done = 0;
    int32_t os_errno;
    if (memory > 0 && source_read(dump, copier->spans, copier->count, copier->buffer + (total - memory), memory, &done,
                                  &os_errno, err) != MDC_OK)
        return err->code;
    if (done == memory) {
        spread(copier);
        if (mdc_store(dump, copier->buffer, total, err) != MDC_OK) return err->code;
    } else {
        if (write_zeros(dump, copier->lead, err) != MDC_OK) return err->code;
        for (size_t i = 0; i < copier->count; i++)
            if (copy_run(dump, copier->extent[i], copier->spans[i].address, copier->spans[i].size, err) != MDC_OK ||
                write_zeros(dump, copier->zeros[i], err) != MDC_OK)
                return err->code;
    }
    progress(dump, total);
    copier->count = 0;
    copier->lead = copier->memory_bytes = copier->total_bytes = 0;
    return MDC_OK;
}

static mdc_status batch_memory(mdc_dump *dump, size_t extent, uint64_t address, uint64_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    while (size > 0) {
        if ((copier->total_bytes == copier->room || copier->count == MDC_BATCH_SPANS) &&
            flush_batch(dump, err) != MDC_OK)
            return err->code;
        uint64_t part = mdc_min_u64(size, copier->room - copier->total_bytes);
        copier->spans[copier->count] = (mdc_span){address, part};
        copier->zeros[copier->count] = 0;
        copier->extent[copier->count++] = extent;
        copier->memory_bytes += part;
        copier->total_bytes += part;
        address += part;
        size -= part;
    }
    return MDC_OK;
}

static mdc_status batch_zeros(mdc_dump *dump, uint64_t size, mdc_error *err) {
    mdc_copier *copier = &dump->copier;
    while (size > 0) {
        if (copier->total_bytes == copier->room && flush_batch(dump, err) != MDC_OK) return err->code;
        uint64_t part = mdc_min_u64(size, copier->room - copier->total_bytes);
        if (copier->count > 0)
            copier->zeros[copier->count - 1] += part;
        else
            copier->lead += part;
        copier->total_bytes += part;
        size -= part;
    }
    return MDC_OK;
}

static mdc_status copy_extent(mdc_dump *dump, size_t index, mdc_error *err) {
    const mdc_extent *extent = &mdc_vec_at(&dump->extents, const mdc_extent, index);
    bool careful = dump->calls.wants_post_read;
    if ((extent->flags & MDC_EXTENT_OMITTED) != 0) return MDC_OK;
    if ((extent->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_LATE)) != 0) {
        if (flush_batch(dump, err) != MDC_OK || flush_window(dump, err) != MDC_OK ||
            mdc_store_hole(dump, extent->size, err) != MDC_OK)
            return err->code;
        if ((extent->flags & MDC_EXTENT_HOLE) != 0) progress(dump, extent->size);
        return mdc_calls_poll(&dump->calls, err);
    }
    if ((extent->flags & MDC_EXTENT_ZERO) != 0) {
        if (!careful) return batch_zeros(dump, extent->size, err);
        progress(dump, extent->size);
        return write_zeros(dump, extent->size, err);
    }
    if (!careful) return batch_memory(dump, index, extent->address, extent->size, err);
    if (copy_run(dump, index, extent->address, extent->size, err) != MDC_OK) return err->code;
    progress(dump, extent->size);
    return MDC_OK;
}

mdc_status mdc_copy_extents(mdc_dump *dump, mdc_error *err) {
    dump->copier.held = dump->copier.lent = 0;
    for (size_t i = 0; i < dump->extents.count; i++)
        if (copy_extent(dump, i, err) != MDC_OK) return err->code;
    if (flush_batch(dump, err) != MDC_OK) return err->code;
    return flush_window(dump, err);
}
