/* The memory of a Normal dump: stacks, instruction windows, what bits of the type ask for and what Memory (5) adds,
 * byte-exact, without what RemoveMemory (9) takes away. A callee that speaks MDC_EXT_PIECES is asked 10 about each
 * piece. */
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/os_error.h"
#include "dump_state.h"

static const char not_there[] = "should be added to the dump, but is not mapped";

enum { WINDOW = 256 }; /* bytes around an instruction pointer, as Breakpad stores them */

static uint64_t unfiltered_end(const mdc_region *region) { return region->base + region->size - region->filtered; }

static mdc_status keep_piece(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t extent_flags,
                             mdc_error *err) {
    dump->kept_by_callee += end - first;
    return mdc_extents_add(dump, region, first, end, extent_flags, err);
}

/* One part of a piece that lies in one region. */
static mdc_status add_in_region(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t fact_flags,
                                uint32_t extent_flags, mdc_error *err) {
    if ((fact_flags & MDC_FACT_ADDED) != 0 && dump->regions[region].state != MDC_MEM_COMMIT &&
        dump->lists->system->platform == MDC_PLATFORM_WINDOWS) /* elsewhere a reservation reads as zeros */
        return mdc_gaps_ask(dump, first, end, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err);
    if (mdc_regions_closed(dump, region)) return MDC_OK;
    end = mdc_min_u64(end, unfiltered_end(&dump->regions[region]));
    if (first >= end) return MDC_OK;
    if ((dump->calls.extensions & MDC_EXT_PIECES) == 0)
        return mdc_extents_add(dump, region, first, end, extent_flags, err);
    dump->kept_by_callee = 0;
    if (mdc_regions_ask(dump, region, first, end, fact_flags | MDC_FACT_PIECE, extent_flags, keep_piece, err) != MDC_OK)
        return err->code;
    if (dump->kept_by_callee < end - first)
        mdc_vec_at(&dump->report_regions, mdc_report_region, region).flags |= MDC_REGION_NARROWED;
    return MDC_OK;
}

static mdc_status add_piece(mdc_dump *dump, mdc_set_range range, uint32_t fact_flags, uint32_t extent_flags,
                            mdc_error *err) {
    while (range.first < range.end) {
        int64_t found = mdc_regions_find(dump, range.first);
        uint64_t stop;
        if (found != MDC_NO_REGION) {
            const mdc_region *region = &dump->regions[found];
            stop = mdc_min_u64(range.end, region->base + region->size);
            if (add_in_region(dump, (size_t)found, range.first, stop, fact_flags, extent_flags, err) != MDC_OK)
                return err->code;
        } else {
            size_t at; /* up to the next region */
            mdc_lower_bound(at, 0, dump->region_count, dump->regions[at].base <= range.first);
            stop = at < dump->region_count ? mdc_min_u64(range.end, dump->regions[at].base) : range.end;
            if (mdc_gaps_ask(dump, range.first, stop, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err) != MDC_OK)
                return err->code;
        }
        range.first = stop;
    }
    return mdc_calls_poll(&dump->calls, err);
}

static mdc_status find_windows(mdc_dump *dump, mdc_vec *windows, mdc_error *err) {
    if (mdc_types_memory(dump, windows, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        uint64_t at = thread->instruction_pointer;
        bool wanted = (mdc_vec_at(&dump->thread_plans, const mdc_thread_plan, i).write &
                       MDC_THREAD_WRITE_INSTRUCTION_WINDOW) != 0;
        if (!wanted || at == 0) continue;
        int64_t found = mdc_regions_find(dump, at);
        if (found == MDC_NO_REGION) continue; /* a wild jump: nothing there to show */
        const mdc_region *region = &dump->regions[found];
        mdc_set_range range = {at - region->base < WINDOW / 2 ? region->base : at - WINDOW / 2,
                               region->base + region->size - at < WINDOW / 2 ? region->base + region->size
                                                                             : at + WINDOW / 2};
        if (mdc_vec_push(windows, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(windows);
    return MDC_OK;
}

/* The pieces in address order: two sets, disjoint, walked side by side. */
static mdc_status add_both(mdc_dump *dump, const mdc_vec *added, const mdc_vec *other, uint32_t extent_flags,
                           mdc_error *err) {
    size_t i = 0, j = 0;
    while (i < added->count || j < other->count) {
        bool take_added =
            j == other->count || (i < added->count && mdc_vec_at(added, const mdc_set_range, i).first <
                                                          mdc_vec_at(other, const mdc_set_range, j).first);
        mdc_set_range range =
            take_added ? mdc_vec_at(added, const mdc_set_range, i++) : mdc_vec_at(other, const mdc_set_range, j++);
        if (add_piece(dump, range, take_added ? MDC_FACT_ADDED : 0, extent_flags, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status plan_sets(mdc_dump *dump, mdc_vec *sets, mdc_error *err) {
    mdc_vec *stacks = &sets[0], *windows = &sets[1], *keep_stacks = &sets[2], *plain = &sets[3], *both = &sets[4],
            *blocks = &sets[5], *keep_blocks = &sets[6], *scratch = &sets[7], *keep_windows = &sets[8];
    for (size_t i = 0; i < dump->stacks.count; i++) {
        const mdc_stack *stack = &mdc_vec_at(&dump->stacks, const mdc_stack, i);
        mdc_set_range range = {stack->first, stack->end};
        if (mdc_vec_push(stacks, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (find_windows(dump, windows, err) != MDC_OK) return err->code;
    /* A byte is in one piece only. Inside a stack, what was added is asked about as such: plain = stacks - added,
     * both = stacks - plain; blocks = added - stacks; windows lose what is in either. */
    if (mdc_range_set_subtract(keep_stacks, stacks, &dump->removed, err) != MDC_OK ||
        mdc_range_set_subtract(plain, keep_stacks, &dump->added, err) != MDC_OK ||
        mdc_range_set_subtract(both, keep_stacks, plain, err) != MDC_OK ||
        mdc_range_set_subtract(blocks, &dump->added, stacks, err) != MDC_OK ||
        mdc_range_set_subtract(keep_blocks, blocks, &dump->removed, err) != MDC_OK ||
        mdc_range_set_subtract(scratch, windows, stacks, err) != MDC_OK)
        return err->code;
    windows->count = 0;
    if (mdc_range_set_subtract(windows, scratch, &dump->added, err) != MDC_OK ||
        mdc_range_set_subtract(keep_windows, windows, &dump->removed, err) != MDC_OK)
        return err->code;
    if (add_both(dump, both, plain, MDC_EXTENT_STACK, err) != MDC_OK) return err->code;
    return add_both(dump, keep_blocks, keep_windows, MDC_EXTENT_BLOCK, err);
}

mdc_status mdc_plan_normal(mdc_dump *dump, mdc_error *err) {
    mdc_vec sets[9];
    for (size_t i = 0; i < 9; i++) mdc_range_set_init(&sets[i]);
    mdc_status status = plan_sets(dump, sets, err);
    for (size_t i = 0; i < 9; i++) mdc_vec_fini(&sets[i]);
    return status;
}

static mdc_status count_kept(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t extent_flags,
                             mdc_error *err) {
    (void)region;
    (void)extent_flags;
    (void)err;
    dump->kept_by_callee += end - first;
    return MDC_OK;
}

mdc_status mdc_memory_kept(mdc_dump *dump, uint64_t first, uint64_t end, bool *kept, mdc_error *err) {
    *kept = false;
    if (dump->full) {
        *kept = mdc_extents_cover(dump, first, end);
        return MDC_OK;
    }
    if (mdc_range_set_touches(&dump->removed, first, end)) return MDC_OK;
    while (first < end) {
        int64_t found = mdc_regions_find(dump, first);
        if (found == MDC_NO_REGION || mdc_regions_closed(dump, (size_t)found)) return MDC_OK;
        const mdc_region *region = &dump->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        if (stop > unfiltered_end(region)) return MDC_OK;
        if ((dump->calls.extensions & MDC_EXT_PIECES) != 0) {
            dump->kept_by_callee = 0;
            if (mdc_regions_ask(dump, (size_t)found, first, stop, MDC_FACT_PIECE, 0, count_kept, err) != MDC_OK)
                return err->code;
            if (dump->kept_by_callee != stop - first) return MDC_OK;
        }
        first = stop;
    }
    *kept = true;
    return MDC_OK;
}
