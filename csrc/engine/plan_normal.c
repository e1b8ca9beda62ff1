/* The memory of a Normal dump: stacks, instruction windows, the vdso, what bits of the type ask for and what Memory
 * adds, byte-exact, without what RemoveMemory takes away. A callee that speaks MDC_EXT_PIECES is asked IncludeVmRegion
 * about each piece. */
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/os_error.h"
#include "include_region.h"
#include "plan.h"

static const char not_there[] = "should be added to the dump, but is not mapped";

enum { WINDOW = 256 }; /* bytes around an instruction pointer, as Breakpad stores them */

typedef struct kept_piece {
    mdc_plan *plan;
    uint32_t extent_flags;
    uint64_t bytes;
} kept_piece;

static mdc_status keep_piece(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    kept_piece *piece = context;
    piece->bytes += end - first;
    return mdc_plan_add(piece->plan, region, first, end, piece->extent_flags, err);
}

/* One part of a piece that lies in one region. */
static mdc_status add_in_region(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t fact_flags,
                                uint32_t extent_flags, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    if ((fact_flags & MDC_FACT_ADDED) != 0 && capture->regions[region].state != MDC_MEM_COMMIT &&
        capture->lists->system->platform == MDC_PLATFORM_WINDOWS) /* elsewhere a reservation reads as zeros */
        return mdc_gaps_ask(plan->gaps, first, end, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err);
    if (mdc_regions_closed(capture, region)) return MDC_OK;
    end = mdc_min_u64(end, mdc_region_end(&capture->regions[region]));
    if (first >= end) return MDC_OK;
    if ((fact_flags & MDC_FACT_ADDED) != 0) extent_flags |= MDC_EXTENT_ADDED;
    if ((capture->engine->calls.extensions & MDC_EXT_PIECES) == 0)
        return mdc_plan_add(plan, region, first, end, extent_flags, err);
    kept_piece piece = {plan, extent_flags, 0};
    if (mdc_include_region(capture, region, first, end, fact_flags | MDC_FACT_PIECE, keep_piece, &piece, err) != MDC_OK)
        return err->code;
    if (piece.bytes < end - first) plan->outcomes[region].flags |= MDC_REGION_NARROWED;
    return MDC_OK;
}

static mdc_status add_piece(mdc_plan *plan, mdc_set_range range, uint32_t fact_flags, uint32_t extent_flags,
                            mdc_error *err) {
    while (range.first < range.end) {
        int64_t found = mdc_regions_find(plan->capture, range.first);
        uint64_t stop;
        if (found != MDC_NO_REGION) {
            const mdc_region *region = &plan->capture->regions[found];
            stop = mdc_min_u64(range.end, region->base + region->size);
            if (add_in_region(plan, (size_t)found, range.first, stop, fact_flags, extent_flags, err) != MDC_OK)
                return err->code;
        } else {
            size_t at; /* up to the next region */
            mdc_lower_bound(at, 0, plan->capture->region_count, plan->capture->regions[at].base <= range.first);
            stop =
                at < plan->capture->region_count ? mdc_min_u64(range.end, plan->capture->regions[at].base) : range.end;
            if (mdc_gaps_ask(plan->gaps, range.first, stop, MDC_GAP_READ_FAILED, MDC_OS_FAULT, not_there, err) !=
                MDC_OK)
                return err->code;
        }
        range.first = stop;
    }
    return mdc_calls_poll(&plan->engine->calls, err);
}

static mdc_status add_window(const mdc_plan *plan, mdc_vec *windows, uint64_t at, mdc_error *err) {
    int64_t found = at == 0 ? MDC_NO_REGION : mdc_regions_find(plan->capture, at);
    if (found == MDC_NO_REGION) return MDC_OK; /* a wild jump: nothing there to show */
    const mdc_region *region = &plan->capture->regions[found];
    mdc_set_range range = {at - region->base < WINDOW / 2 ? region->base : at - WINDOW / 2,
                           region->base + region->size - at < WINDOW / 2 ? region->base + region->size
                                                                         : at + WINDOW / 2};
    return mdc_vec_push(windows, &range, 1, NULL, err);
}

/* The vdso: no file has it, and without it stacks of threads inside of it cannot be walked. */
static mdc_status find_vdso(mdc_plan *plan, mdc_vec *windows, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    for (size_t i = 0; i < capture->lists->module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        int64_t found = capture->modules[i].write != 0 ? mdc_regions_find(capture, module->base) : MDC_NO_REGION;
        if (found == MDC_NO_REGION || (capture->kinds[found] & MDC_KIND_VDSO) == 0) continue;
        const mdc_region *region = &capture->regions[found];
        mdc_set_range range = {region->base, region->base + region->size};
        if (mdc_vec_push(windows, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status find_windows(mdc_plan *plan, mdc_vec *windows, mdc_error *err) {
    const mdc_crash *crash = &plan->capture->crash;
    if (mdc_type_memory(plan->reader, windows, err) != MDC_OK || find_vdso(plan, windows, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < plan->capture->lists->thread_count; i++) {
        if ((plan->capture->threads[i].write & MDC_THREAD_WRITE_INSTRUCTION_WINDOW) == 0) continue;
        if (add_window(plan, windows, plan->capture->lists->threads[i].instruction_pointer, err) != MDC_OK ||
            (crash->instruction_pointer != 0 && crash->thread == i &&
             add_window(plan, windows, crash->instruction_pointer, err) != MDC_OK))
            return err->code;
    }
    mdc_range_set_normalise(windows);
    return MDC_OK;
}

/* The pieces in address order: two sets, disjoint, walked side by side. */
static mdc_status add_both(mdc_plan *plan, const mdc_vec *added, const mdc_vec *other, uint32_t extent_flags,
                           mdc_error *err) {
    size_t i = 0, j = 0;
    while (i < added->count || j < other->count) {
        bool take_added =
            j == other->count || (i < added->count && mdc_vec_at(added, const mdc_set_range, i).first <
                                                          mdc_vec_at(other, const mdc_set_range, j).first);
        mdc_set_range range =
            take_added ? mdc_vec_at(added, const mdc_set_range, i++) : mdc_vec_at(other, const mdc_set_range, j++);
        if (add_piece(plan, range, take_added ? MDC_FACT_ADDED : 0, extent_flags, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status plan_sets(mdc_plan *plan, mdc_vec *sets, mdc_error *err) {
    mdc_vec *stacks = &sets[0], *windows = &sets[1], *keep_stacks = &sets[2], *plain = &sets[3], *both = &sets[4],
            *blocks = &sets[5], *keep_blocks = &sets[6], *scratch = &sets[7], *keep_windows = &sets[8];
    for (size_t i = 0; i < plan->capture->stacks.count; i++) {
        const mdc_stack *stack = &mdc_vec_at(&plan->capture->stacks, const mdc_stack, i);
        mdc_set_range range = {stack->first, stack->end};
        if (mdc_vec_push(stacks, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (find_windows(plan, windows, err) != MDC_OK) return err->code;
    /* A byte is in one piece only. Inside a stack, what was added is asked about as such: plain = stacks - added,
     * both = stacks - plain; blocks = added - stacks; windows lose what is in either. */
    if (mdc_range_set_subtract(keep_stacks, stacks, &plan->capture->removed, err) != MDC_OK ||
        mdc_range_set_subtract(plain, keep_stacks, &plan->capture->added, err) != MDC_OK ||
        mdc_range_set_subtract(both, keep_stacks, plain, err) != MDC_OK ||
        mdc_range_set_subtract(blocks, &plan->capture->added, stacks, err) != MDC_OK ||
        mdc_range_set_subtract(keep_blocks, blocks, &plan->capture->removed, err) != MDC_OK ||
        mdc_range_set_subtract(scratch, windows, stacks, err) != MDC_OK)
        return err->code;
    windows->count = 0;
    if (mdc_range_set_subtract(windows, scratch, &plan->capture->added, err) != MDC_OK ||
        mdc_range_set_subtract(keep_windows, windows, &plan->capture->removed, err) != MDC_OK)
        return err->code;
    if (add_both(plan, both, plain, MDC_EXTENT_STACK, err) != MDC_OK) return err->code;
    return add_both(plan, keep_blocks, keep_windows, MDC_EXTENT_BLOCK, err);
}

mdc_status mdc_plan_normal(mdc_plan *plan, mdc_error *err) {
    mdc_vec sets[9];
    for (size_t i = 0; i < 9; i++) mdc_range_set_init(&sets[i]);
    mdc_status status = plan_sets(plan, sets, err);
    for (size_t i = 0; i < 9; i++) mdc_vec_fini(&sets[i]);
    return status;
}
