/* x86-64: struct rt_sigframe (format/linux_signal.h), found by what must be in it, above the stack pointer of the
 * handler. */
#include "sigframe.h"

#include <string.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/protection.h"
#include "../format/linux_signal.h"

enum {
    CHUNK = 16 * 1024,
    CHUNKS_MAX = 16,      /* of one stack: handlers that call so deep are none we know */
    OWN_BYTES = 8 * 1024, /* of a stack that is the thread's own */
    RED_ZONE = 128
};
enum { READS_MAX = 1024, OWN_READS_MAX = 256 };
#define GUARD_MAX UINT64_C(0x110000) /* the gap below a main thread's stack, and a page or two */

mdc_status mdc_sigframes_init(mdc_sigframes *frames, const mdc_target_view *view, mdc_region_content content,
                              const void *context, mdc_error *err) {
    *frames = (mdc_sigframes){.view = view,
                              .content = content,
                              .context = context,
                              .reads_left = READS_MAX,
                              .alternate_reads_left = OWN_READS_MAX,
                              .buffer = mdc_alloc(CHUNK + MDC_SIGFRAME_BYTES, 1, err)};
    return frames->buffer != NULL ? MDC_OK : err->code;
}

void mdc_sigframes_fini(mdc_sigframes *frames) {
    mdc_dealloc(frames->buffer);
    frames->buffer = NULL;
}

static const mdc_region *region_at(const mdc_sigframes *frames, uint64_t address) {
    int64_t found = mdc_regions_at(frames->view->regions, address);
    return found < 0 ? NULL : &mdc_vec_at(frames->view->regions, const mdc_region, found);
}

static bool has(const mdc_region *region, uint32_t protections) {
    return region != NULL && region->state == MDC_MEM_COMMIT && (region->protect & protections) != 0;
}

static bool can_run(const mdc_region *region) { return has(region, MDC_PAGE_ANY_EXECUTE); }

static bool can_be_stack(const mdc_region *region) {
    return has(region, MDC_PAGE_ANY_WRITE) && (region->flags & (MDC_REGION_NEVER_READ | MDC_REGION_DONTDUMP)) == 0;
}

/* A stack pointer in a guard below a stack, where an overflow ends, means the lowest page of the stack; 0 if there
 * is none near it. */
static uint64_t lift(const mdc_sigframes *frames, uint64_t sp) {
    const mdc_region *region = region_at(frames, sp);
    const mdc_vec *all = frames->view->regions;
    if (can_be_stack(region)) {
        mdc_content run = {.what = MDC_CONTENT_DATA};
        uint64_t first = mdc_page_down(sp), next;
        (void)frames->content(frames->context, region, first, region->base + region->size, &run, 1, &next);
        if (run.what != MDC_CONTENT_UNAVAILABLE) return sp;
        return run.end - sp < GUARD_MAX && run.end < region->base + region->size ? run.end + RED_ZONE : 0;
    }
    size_t at; /* the first region above */
    mdc_lower_bound(at, 0, all->count, mdc_vec_at(all, const mdc_region, at).base <= sp);
    for (; at < all->count; at++) {
        const mdc_region *above = &mdc_vec_at(all, const mdc_region, at);
        if (above->base - sp >= GUARD_MAX) break;
        if (can_be_stack(above)) return above->base;
    }
    return 0;
}

/* How much from `at` on is there and may be read: up to the first page that was never touched, or a guard. */
static uint64_t touched_end(const mdc_sigframes *frames, const mdc_region *region, uint64_t at, uint64_t end) {
    for (uint64_t first = mdc_page_down(at); first < end;) {
        mdc_content runs[8];
        uint64_t next = end;
        size_t count = frames->content(frames->context, region, first, end, runs, 8, &next);
        for (size_t i = 0; i < count; i++)
            if (runs[i].what != MDC_CONTENT_DATA) return mdc_max_u64(runs[i].first, at);
        if (next <= first) return at;
        first = next;
    }
    return end;
}

/* The first frame at or above `at` in the same stack: *found is where, 0 if there is none, *saved what it holds. */
static mdc_status next_frame(mdc_sigframes *frames, uint64_t at, bool own, uint64_t *found, mdc_ucontext *saved,
                             mdc_error *err) {
    *found = 0;
    const mdc_region *region = region_at(frames, at);
    /* What is mapped from a file may be on a disk that does not answer, and no stack is. */
    if (!can_be_stack(region) || region->inode != 0) return MDC_OK;
    uint64_t end = region->base + mdc_min_u64(region->size, mdc_page_up(region->valid_size));
    end = mdc_min_u64(end, mdc_page_up(at) + (own ? OWN_BYTES : (uint64_t)CHUNK * CHUNKS_MAX));
    end = touched_end(frames, region, at, end);
    uint32_t *left = own ? &frames->alternate_reads_left : &frames->reads_left;
    for (uint64_t from = mdc_sigframe_align(at); from < end && end - from >= MDC_SIGFRAME_BYTES && *left > 0; --*left) {
        const size_t size = (size_t)mdc_min_u64(end - from, CHUNK + MDC_SIGFRAME_BYTES);
        size_t done;
        if (frames->view->read(frames->view->context, from, frames->buffer, size, &done, err) != MDC_OK)
            return err->code;
        size_t step = 0;
        for (; step + MDC_SIGFRAME_BYTES <= done && step < CHUNK; step += 16) {
            uint64_t returns;
            if (!mdc_sigframe_plausible(frames->buffer + step, from + step, &returns, saved) ||
                !can_run(region_at(frames, returns)))
                continue;
            *found = from + step;
            --*left;
            return MDC_OK;
        }
        if (done < size || step == 0) break;
        from += step;
    }
    return MDC_OK;
}

mdc_status mdc_sigframes_find(mdc_sigframes *frames, uint64_t own_stack, mdc_thread *thread, mdc_error *err) {
    uint64_t at = thread->stack_pointer;
    const mdc_region *own = own_stack != 0 ? region_at(frames, own_stack) : NULL;
    while (at != 0 && thread->interrupted_count < MDC_INTERRUPTED_MAX) {
        uint64_t frame;
        mdc_ucontext saved;
        const mdc_region *region = region_at(frames, at);
        if (next_frame(frames, at, region == own && thread->interrupted_count == 0, &frame, &saved, err) != MDC_OK)
            return err->code;
        if (frame == 0) break;
        uint64_t sp = saved.registers.general[MDC_AMD64_RSP], base = saved.stack, size = saved.stack_size;
        bool alternate = frame - base < size && frame >= base; /* the handler runs on it */
        bool left = alternate ? sp < base || sp - base >= size : region_at(frames, sp) != region;
        if (!left && sp <= frame) break; /* no interrupted stack grows from below its handler */
        at = left ? lift(frames, sp) : sp;
        if (!left || at == 0) continue;
        for (uint32_t i = 0; i < thread->interrupted_count; i++)
            if (thread->interrupted[i] == at) return MDC_OK; /* a ring */
        thread->interrupted[thread->interrupted_count++] = at;
    }
    return MDC_OK;
}
