/* Target memory to the output, through one buffer, or straight into memory that waits for the resume. Two ways:
 *
 * Plain: many spans and the zeros between them fill the buffer with one read and leave it with one write.
 * Careful: run by run, for callees that see every read (VmPreRead, VmPostRead) and for batches in which something
 * failed. A page that fails costs that page. With hold-back the last bytes of a contiguous run wait in the buffer and
 * head the next read; where the file goes on with other addresses, the callee is shown the run's neighbours in memory
 * as well, so that no byte is written before `hold` bytes on both sides of it were seen, as far as they are kept and
 * can be read.
 *
 * Where the stop may end early, the time is looked at between two batches or reads, and after each whether the target
 * was resumed meanwhile. Then extents that need the stop are left out from there on. The first batch or read, which has
 * what matters most, is copied in any case. */
#include "copier.h"

#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"

enum {
    NO_EXTENT = -1,
    BATCH_SPANS = 1024 /* spans per read: IOV_MAX of Linux */
};

/* The buffer, plain: a batch is read to the end of the bytes it takes, then each span moves to its place.
 *
 *     |<------------------- total_bytes, at most room ------------------>|
 *     |                       | span 0 | span 1 | span 2                 |  as read: memory_bytes at the end
 *     | lead | span 0 | zeros[0] | span 1 | zeros[1] | span 2 | zeros[2] |  as written
 *
 * Careful: the window.
 *
 *     |<------ held, at most hold ------>|<-- at most room -->|<-- at most hold -->|
 *     | lent        | read, not written  | being read         | what follows       |
 *       only shown                       ^ window_end           only shown, where a run ends
 */
struct mdc_copier {
    const mdc_reader *reader;
    mdc_engine *engine;
    mdc_layout *layout;
    mdc_gaps *gaps;
    mdc_sparse_output *output;
    uint8_t *buffer; /* the reader's, as room and hold */
    size_t room;     /* bytes */
    size_t hold;
    /* The batch: memory still to be read, and the zeros between. */
    size_t count;
    uint64_t lead; /* zeros before the first span */
    uint64_t memory_bytes, total_bytes;
    /* The window of callees that see each read: bytes read and not yet written. */
    uint64_t window_end; /* address after them */
    size_t held;
    size_t lent; /* of them, from the front: neighbours the callee is only shown, never written from here */
    /* The end of the stop. */
    bool started; /* some memory was read */
    bool ended;   /* the time has passed */
    size_t end_extent;
    uint64_t end_address;
    size_t batch_extent; /* where the batch begins */
    uint64_t batch_address;
    /* Of the batch, written before they are read, and not cleared. */
    mdc_span spans[BATCH_SPANS];
    uint64_t zeros[BATCH_SPANS]; /* bytes of zeros after span i */
    size_t extent[BATCH_SPANS];  /* of span i */
};

mdc_copier *mdc_copier_new(const mdc_reader *reader, mdc_layout *layout, mdc_gaps *gaps, mdc_sparse_output *output,
                           mdc_error *err) {
    mdc_copier *copier = mdc_alloc_buffer(1, sizeof *copier, err);
    if (copier == NULL) return NULL;
    memset(copier, 0, offsetof(mdc_copier, spans));
    copier->reader = reader;
    copier->engine = reader->engine;
    copier->layout = layout;
    copier->gaps = gaps;
    copier->output = output;
    copier->buffer = reader->buffer;
    copier->room = reader->room;
    copier->hold = reader->hold;
    return copier;
}

void mdc_copier_free(mdc_copier *copier) { mdc_dealloc(copier); }

static void progress(mdc_copier *copier, uint64_t bytes) {
    atomic_fetch_add_explicit(&copier->engine->control->bytes_done, bytes, memory_order_relaxed);
}

static bool stop_is_over(const mdc_copier *copier) { return atomic_load(&copier->engine->control->stop_ended) != 0; }

/* Between two reads: whether there is no more time. */
static bool time_is_over(const mdc_copier *copier) {
    const uint64_t until = copier->engine->copy_until;
    return until != 0 && copier->started && (stop_is_over(copier) || mdc_clock_ns() >= until);
}

/* After a read: whether it does not count, since the target ran by then. What is read first always counts: until then
 * the stop may not end without an error. */
static bool came_too_late(mdc_copier *copier, mdc_error *err) {
    if (copier->engine->copy_until == 0) return false;
    if (!copier->started) {
        copier->started = true;
        atomic_store(&copier->engine->control->may_end, 1);
    }
    if (!stop_is_over(copier)) return false;
    mdc_error_clear(err);
    return true;
}

static void end_here(mdc_copier *copier, size_t extent, uint64_t address) {
    const mdc_extents *extents = &copier->layout->plan->extents;
    const mdc_extent *last = &extents->all[extents->timed_count - 1], *here = &extents->all[extent];
    uint64_t left = last->file_offset + last->size - (here->file_offset + (address - here->address));
    copier->ended = true;
    copier->end_extent = extent;
    copier->end_address = address;
    mdc_sparse_excise(copier->output, left);
    atomic_fetch_sub(&copier->engine->control->bytes_total, left);
}

bool mdc_copier_ended(const mdc_copier *copier, size_t *extent, uint64_t *address) {
    *extent = copier->end_extent;
    *address = copier->end_address;
    return copier->ended;
}

/* Writes what the window still holds back; what follows it in memory is shown first. */
static mdc_status flush_window(mdc_copier *copier, mdc_error *err) {
    size_t held = copier->held, lent = copier->lent, after = 0, valid;
    copier->held = copier->lent = 0;
    if (held == lent) return MDC_OK;
    if (mdc_context_after(copier->reader, copier->window_end, copier->hold, copier->buffer + held, &after, err) !=
        MDC_OK)
        return err->code;
    if (after > 0 && mdc_reader_show(copier->reader, copier->window_end - held, copier->buffer, held + after,
                                     held + after, held, &valid, err) != MDC_OK)
        return err->code;
    return mdc_sparse_write(copier->output, copier->buffer + lent, held - lent, err);
}

/* Begins a run that does not go on where the last one ended: what lies before it in memory is shown with it. */
static mdc_status begin_run(mdc_copier *copier, uint64_t address, mdc_error *err) {
    if (copier->held > copier->lent && address == copier->window_end) return MDC_OK;
    if (flush_window(copier, err) != MDC_OK) return err->code;
    copier->window_end = address;
    if (copier->hold == 0) return MDC_OK;
    if (mdc_context_before(copier->reader, address, copier->hold, copier->buffer, &copier->lent, err) != MDC_OK)
        return err->code;
    copier->held = copier->lent;
    return MDC_OK;
}

static mdc_status write_zeros(mdc_copier *copier, uint64_t size, mdc_error *err) {
    if (flush_window(copier, err) != MDC_OK) return err->code;
    size_t part = (size_t)mdc_min_u64(size, copier->room);
    memset(copier->buffer, 0, part);
    for (; size > 0; size -= part) {
        part = (size_t)mdc_min_u64(size, copier->room);
        if (mdc_sparse_write(copier->output, copier->buffer, part, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* A page that cannot be read. Tolerated, it is excised from its range where the lists can be patched; elsewhere, and
 * where it is not memory of the lists, it is written as zeros. */
static mdc_status miss_page(mdc_copier *copier, size_t extent, uint64_t address, uint64_t size, int32_t os_errno,
                            mdc_error *err) {
    mdc_engine *engine = copier->engine;
    bool tolerated = mdc_gaps_tolerated(engine);
    if (!tolerated && !mdc_calls_read_failure(&engine->calls, address, (uint32_t)size)) {
        mdc_fail(err, MDC_ERR_READ, MDC_PHASE_WRITE, os_errno, "reading %" PRIu64 " bytes at 0x%" PRIx64 " failed%s",
                 size, address,
                 engine->calls.callback.CallbackRoutine != NULL ? " and the callback did not tolerate it" : "");
        err->address = address;
        err->hresult = MDC_E_PARTIAL_COPY;
        err->callback_type = engine->calls.callback.CallbackRoutine != NULL ? MDC_CB_READ_MEMORY_FAILURE : -1;
        return err->code;
    }
    if (flush_window(copier, err) != MDC_OK) return err->code;
    mdc_gaps_add(copier->gaps, address, size, MDC_GAP_READ_FAILED, os_errno);
    if (extent != (size_t)NO_EXTENT && mdc_layout_excise(copier->layout, extent, address, size)) {
        mdc_sparse_excise(copier->output, size);
        return MDC_OK;
    }
    return write_zeros(copier, size, err);
}

/* Takes `size` new bytes after the held-back ones: all but the last `hold` are written. */
static mdc_status accept(mdc_copier *copier, uint64_t end, size_t size, mdc_error *err) {
    size_t ready = copier->held + size;
    size_t keep = ready < copier->hold ? ready : copier->hold, go = ready - keep;
    size_t skip = copier->lent < go ? copier->lent : go;
    if (mdc_sparse_write(copier->output, copier->buffer + skip, go - skip, err) != MDC_OK) return err->code;
    memmove(copier->buffer, copier->buffer + go, keep);
    copier->lent -= skip;
    copier->held = keep;
    copier->window_end = end;
    return MDC_OK;
}

static mdc_status end_run(mdc_copier *copier, size_t extent, uint64_t address, mdc_error *err) {
    const mdc_extents *extents = &copier->layout->plan->extents;
    const uint64_t waiting = copier->held - copier->lent;
    if (waiting > 0 && stop_is_over(copier)) {
        /* What follows them can no longer be shown: a pattern may go on there, so they are left out, too. */
        address = copier->window_end - waiting;
        extent = (size_t)(mdc_extents_find(extents, address) - extents->all);
        copier->held = copier->lent = 0;
    }
    if (flush_window(copier, err) != MDC_OK) return err->code;
    end_here(copier, extent, address);
    return MDC_OK;
}

static mdc_status copy_run(mdc_copier *copier, size_t extent, uint64_t address, uint64_t size, mdc_error *err) {
    if (extent != (size_t)NO_EXTENT && time_is_over(copier)) return end_run(copier, extent, address, err);
    if (begin_run(copier, address, err) != MDC_OK) return err->code;
    uint64_t end = address + size, most = copier->room;
    while (address < end) {
        if (mdc_calls_poll(&copier->engine->calls, err) != MDC_OK) return err->code;
        uint64_t page_end = mdc_min_u64(end, mdc_page_down(address) + MDC_PAGE_SIZE);
        size_t part = (size_t)mdc_min_u64(end - address, most), done;
        int32_t os_errno;
        if (extent != (size_t)NO_EXTENT && time_is_over(copier)) return end_run(copier, extent, address, err);
        mdc_status status = mdc_reader_read(copier->reader, address, copier->buffer, copier->held, copier->lent, part,
                                            &done, &os_errno, err);
        if (extent != (size_t)NO_EXTENT && came_too_late(copier, err)) return end_run(copier, extent, address, err);
        if (status != MDC_OK) return status;
        if (done > 0) {
            if (accept(copier, address + done, done, err) != MDC_OK) return err->code;
            address += done;
            most = copier->room;
        } else if (part > page_end - address) {
            most = page_end - address;
        } else {
            if (miss_page(copier, extent, address, page_end - address, os_errno, err) != MDC_OK) return err->code;
            address = page_end;
            most = copier->room;
        }
    }
    return MDC_OK;
}

mdc_status mdc_copier_part(mdc_copier *copier, uint64_t address, uint64_t size, mdc_error *err) {
    if (copy_run(copier, (size_t)NO_EXTENT, address, size, err) != MDC_OK) return err->code;
    return flush_window(copier, err);
}

/* Moves what was read to its place among the zeros. It was read to the end of the bytes it belongs in, so every move
 * goes towards the front and none overwrites what is still to be moved. */
static void spread(mdc_copier *copier, uint8_t *place) {
    if (copier->total_bytes == copier->memory_bytes) return;
    uint8_t *to = place, *from = place + (copier->total_bytes - copier->memory_bytes);
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

static void clear_batch(mdc_copier *copier) {
    copier->count = 0;
    copier->lead = copier->memory_bytes = copier->total_bytes = 0;
}

static mdc_status end_batch(mdc_copier *copier) {
    end_here(copier, copier->batch_extent, copier->batch_address);
    clear_batch(copier);
    return MDC_OK;
}

static mdc_status flush_batch(mdc_copier *copier, mdc_error *err) {
    if (copier->total_bytes == 0) return MDC_OK;
    if (mdc_calls_poll(&copier->engine->calls, err) != MDC_OK) return err->code;
    if (time_is_over(copier)) return end_batch(copier);
    size_t total = (size_t)copier->total_bytes, memory = (size_t)copier->memory_bytes, done = 0;
    int32_t os_errno;
    uint8_t *place = mdc_sparse_place(copier->output, copier->buffer, total);
    if (memory > 0) {
        mdc_status status = mdc_reader_source(copier->reader, copier->spans, copier->count, place + (total - memory),
                                              memory, &done, &os_errno, err);
        if (came_too_late(copier, err)) return end_batch(copier);
        if (status != MDC_OK) return status;
    }
    if (done == memory) {
        spread(copier, place);
        if (mdc_sparse_write(copier->output, place, total, err) != MDC_OK) return err->code;
    } else {
        if (write_zeros(copier, copier->lead, err) != MDC_OK) return err->code;
        for (size_t i = 0; i < copier->count; i++) {
            if (copy_run(copier, copier->extent[i], copier->spans[i].address, copier->spans[i].size, err) != MDC_OK)
                return err->code;
            if (copier->ended) break;
            if (write_zeros(copier, copier->zeros[i], err) != MDC_OK) return err->code;
        }
    }
    if (!copier->ended) progress(copier, total);
    clear_batch(copier);
    return MDC_OK;
}

static void begin_batch(mdc_copier *copier, size_t extent, uint64_t address) {
    if (copier->total_bytes != 0) return;
    copier->batch_extent = extent;
    copier->batch_address = address;
}

static mdc_status batch_memory(mdc_copier *copier, size_t extent, uint64_t address, uint64_t size, mdc_error *err) {
    while (size > 0) {
        if ((copier->total_bytes == copier->room || copier->count == BATCH_SPANS) && flush_batch(copier, err) != MDC_OK)
            return err->code;
        if (copier->ended) return MDC_OK;
        begin_batch(copier, extent, address);
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

static mdc_status batch_zeros(mdc_copier *copier, size_t extent, uint64_t address, uint64_t size, mdc_error *err) {
    while (size > 0) {
        if (copier->total_bytes == copier->room && flush_batch(copier, err) != MDC_OK) return err->code;
        if (copier->ended) return MDC_OK;
        begin_batch(copier, extent, address);
        uint64_t part = mdc_min_u64(size, copier->room - copier->total_bytes);
        if (copier->count > 0)
            copier->zeros[copier->count - 1] += part;
        else
            copier->lead += part;
        copier->total_bytes += part;
        address += part;
        size -= part;
    }
    return MDC_OK;
}

static mdc_status copy_extent(mdc_copier *copier, size_t index, mdc_error *err) {
    const mdc_extent *extent = &copier->layout->plan->extents.all[index];
    bool careful = copier->engine->calls.wants_post_read;
    if ((extent->flags & MDC_EXTENT_OMITTED) != 0) return MDC_OK;
    if (index == copier->layout->plan->extents.timed_count && (flush_batch(copier, err) != MDC_OK)) return err->code;
    if (copier->ended && index < copier->layout->plan->extents.timed_count) return MDC_OK;
    if ((extent->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_LATE)) != 0) {
        if (flush_batch(copier, err) != MDC_OK || flush_window(copier, err) != MDC_OK ||
            mdc_sparse_hole(copier->output, extent->size, err) != MDC_OK)
            return err->code;
        if ((extent->flags & MDC_EXTENT_HOLE) != 0) progress(copier, extent->size);
        return mdc_calls_poll(&copier->engine->calls, err);
    }
    if ((extent->flags & MDC_EXTENT_ZERO) != 0) {
        if (!careful) return batch_zeros(copier, index, extent->address, extent->size, err);
        if (time_is_over(copier)) return end_run(copier, index, extent->address, err);
        progress(copier, extent->size);
        return write_zeros(copier, extent->size, err);
    }
    if (!careful) return batch_memory(copier, index, extent->address, extent->size, err);
    if (copy_run(copier, index, extent->address, extent->size, err) != MDC_OK) return err->code;
    progress(copier, extent->size);
    return MDC_OK;
}

mdc_status mdc_copier_extents(mdc_copier *copier, mdc_error *err) {
    copier->held = copier->lent = 0;
    for (size_t i = 0; i < copier->layout->plan->extents.count; i++)
        if (copy_extent(copier, i, err) != MDC_OK) return err->code;
    if (flush_batch(copier, err) != MDC_OK) return err->code;
    return flush_window(copier, err);
}
