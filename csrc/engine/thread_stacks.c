/* The part of a stack that belongs to a thread: from the page of SP - 128 (the red zone of the x86-64 ABI) to the
 * nearest of another thread's such page, a guard, the thread's own block, the end of the mapping, stack_limit. */
#include <stdlib.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "capture.h"

/* C libraries put thread-local memory and the thread's own block at the top of the stack that they make, where the
 * thread pointer leads to: struct pthread of glibc has 2.3 KiB, that of musl with its keys 1.3 KiB. The kernel joins
 * what is mapped next to it (heap, mostly) to one mapping. */
enum { RED_ZONE = 128, THREAD_BLOCK = 4096 };

/* Where the part of a stack with this SP begins, and in which region; false if that is nowhere. */
static bool stack_begin(const mdc_capture *capture, uint64_t stack_pointer, uint64_t *first, size_t *region) {
    if (stack_pointer == 0) return false;
    int64_t found = mdc_regions_find(capture, stack_pointer);
    if (found == MDC_NO_REGION) return false;
    *region = (size_t)found;
    uint64_t base = capture->regions[found].base;
    *first = stack_pointer - base < RED_ZONE ? base : mdc_page_down(stack_pointer - RED_ZONE);
    return true;
}

static int by_address(const void *left, const void *right) {
    const uint64_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* The first of the sorted starts after `address`. */
static uint64_t next_start(const mdc_vec *starts, uint64_t address) {
    const uint64_t *all = starts->data;
    size_t at;
    mdc_lower_bound(at, 0, starts->count, all[at] <= address);
    return at < starts->count ? all[at] : UINT64_MAX;
}

/* Address of the first guard page in [first, end), or end. */
static uint64_t guard_in(mdc_capture *capture, size_t region, uint64_t first, uint64_t end) {
    if (capture->queried) return end; /* these regions are the callee's: the source does not know them */
    while (first < end) {
        mdc_content runs[16];
        uint64_t next = end;
        size_t count =
            capture->engine->source->ops->content(capture->engine->source, region, first, end, runs, 16, &next);
        for (size_t i = 0; i < count && i < 16; i++)
            if ((runs[i].what == MDC_CONTENT_UNAVAILABLE || runs[i].what == MDC_CONTENT_ABSENT) && runs[i].end > first)
                return mdc_min_u64(mdc_max_u64(runs[i].first, first), end);
        if (next <= first) break;
        first = next;
    }
    return end;
}

static mdc_status add_start(mdc_capture *capture, mdc_vec *starts, uint64_t stack_pointer, mdc_error *err) {
    uint64_t first;
    size_t region;
    if (!stack_begin(capture, stack_pointer, &first, &region)) return MDC_OK;
    /* A mapping that holds a stack pointer is a stack, whatever else it is. */
    capture->kinds[region] |= MDC_KIND_STACK;
    return mdc_vec_push(starts, &first, 1, NULL, err);
}

/* The part of a thread's stack with this SP; empty if there is none. */
static mdc_stack find_part(mdc_capture *capture, const mdc_vec *starts, const mdc_thread *thread,
                           uint64_t stack_pointer) {
    const mdc_stack none = {0, 0, 0};
    mdc_stack stack;
    if (!stack_begin(capture, stack_pointer, &stack.first, &stack.region) || mdc_regions_closed(capture, stack.region))
        return none;
    const mdc_region *region = &capture->regions[stack.region];
    uint64_t end = region->base + mdc_page_up(region->valid_size);
    if (end - stack.first > capture->engine->options.stack_limit && stack.first < end)
        end = mdc_page_up(stack.first + capture->engine->options.stack_limit);
    end = mdc_min_u64(end, next_start(starts, stack.first));
    if (thread->thread_pointer > stack_pointer && thread->thread_pointer < end)
        end = mdc_min_u64(end, mdc_page_up(thread->thread_pointer + THREAD_BLOCK));
    stack.end = stack.first < end ? guard_in(capture, stack.region, stack.first, end) : stack.first;
    return stack.end > stack.first ? stack : none;
}

/* A stack that the source knows; its first region is named. */
static mdc_stack take_known(mdc_capture *capture, const mdc_thread *thread) {
    if (thread->stack_end <= thread->stack_first) return (mdc_stack){0, 0, 0};
    mdc_stack stack = {thread->stack_first, thread->stack_end, 0};
    size_t at;
    mdc_lower_bound(at, 0, capture->region_count, capture->regions[at].base + capture->regions[at].size <= stack.first);
    stack.region = at < capture->region_count ? at : 0;
    for (; at < capture->region_count && capture->regions[at].base < stack.end; at++)
        capture->kinds[at] |= MDC_KIND_STACK;
    return stack;
}

uint64_t mdc_stack_pointer(const mdc_capture *capture, size_t thread) {
    bool handles = capture->crash.context != NULL && capture->crash.thread == thread;
    return handles ? capture->crash.stack_pointer : capture->lists->threads[thread].stack_pointer;
}

mdc_status mdc_stacks_find(mdc_capture *capture, mdc_vec *interrupted, mdc_error *err) {
    mdc_vec starts;
    mdc_vec_init(&starts, sizeof(uint64_t));
    const mdc_snapshot *lists = capture->lists;
    mdc_status status = mdc_vec_reserve(&starts, lists->thread_count, err);
    for (size_t i = 0; status == MDC_OK && i < lists->thread_count; i++) {
        const mdc_thread *thread = &lists->threads[i];
        status = add_start(capture, &starts, thread->stack_pointer, err);
        if (status == MDC_OK) status = add_start(capture, &starts, mdc_stack_pointer(capture, i), err);
        for (uint32_t k = 0; status == MDC_OK && k < thread->interrupted_count; k++)
            status = add_start(capture, &starts, thread->interrupted[k], err);
    }
    if (starts.count > 0) qsort(starts.data, starts.count, sizeof(uint64_t), by_address);
    for (size_t i = 0; status == MDC_OK && i < lists->thread_count; i++) {
        const mdc_thread *thread = &lists->threads[i];
        mdc_stack *stack = &capture->threads[i].stack;
        mdc_interrupted handler = {i, find_part(capture, &starts, thread, thread->stack_pointer)};
        if (lists->carried != NULL) { /* what a dump does not say of its stacks is not in it */
            *stack = take_known(capture, thread);
            continue;
        }
        *stack = find_part(capture, &starts, thread, mdc_stack_pointer(capture, i));
        if (stack->end == 0) *stack = handler.stack;
        if (handler.stack.first != stack->first) status = mdc_vec_push(interrupted, &handler, 1, NULL, err);
        for (uint32_t k = 0; status == MDC_OK && k < thread->interrupted_count; k++) {
            mdc_interrupted other = {i, find_part(capture, &starts, thread, thread->interrupted[k])};
            if (other.stack.end != 0) status = mdc_vec_push(interrupted, &other, 1, NULL, err);
        }
    }
    mdc_vec_fini(&starts);
    return status;
}

static int by_first(const void *left, const void *right) {
    const mdc_stack *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

mdc_status mdc_stacks_keep(mdc_capture *capture, const mdc_vec *interrupted, mdc_error *err) {
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread_choice *choice = &capture->threads[i];
        if ((choice->write & MDC_THREAD_WRITE_STACK) != 0 && choice->stack.end > choice->stack.first &&
            mdc_vec_push(&capture->stacks, &choice->stack, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    /* Thread reported one stack of each thread to the callee, which must know these as well. */
    for (size_t i = 0; i < interrupted->count; i++) {
        const mdc_interrupted *other = &mdc_vec_at(interrupted, const mdc_interrupted, i);
        uint32_t write = capture->threads[other->thread].write;
        if (capture->engine->options.note_stack != NULL)
            capture->engine->options.note_stack(capture->engine->options.edit_context, other->stack.first,
                                                other->stack.end);
        if ((write & MDC_THREAD_WRITE_STACK) != 0 &&
            mdc_vec_push(&capture->stacks, &other->stack, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    if (capture->stacks.count == 0) return MDC_OK;
    mdc_stack *all = capture->stacks.data;
    qsort(all, capture->stacks.count, sizeof *all, by_first);
    /* Threads that share the page of SP share the part; those of an existing dump may overlap. */
    size_t count = 0;
    uint64_t end = 0;
    for (size_t i = 0; i < capture->stacks.count; i++) {
        if (all[i].end <= end) continue;
        all[count] = all[i];
        all[count].first = mdc_max_u64(all[i].first, end);
        end = all[count++].end;
    }
    capture->stacks.count = count;
    return MDC_OK;
}
