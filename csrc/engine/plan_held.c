/* The memory of an existing dump: all that it holds, byte-exact, run by run as its lists have it, in the parts the
 * callee keeps, without what RemoveMemory takes away. */
#include "../base/arith.h"
#include "../base/bound.h"
#include "include_region.h"
#include "plan.h"

enum { RUNS_PER_CHECK = 64 };

typedef struct held_plan {
    mdc_plan *plan;
    bool asks;      /* the callee is asked about memory */
    bool two_lists; /* the dump has both: what goes to MemoryList is put where stacks are */
    bool cut;       /* it is about memory that the file no longer has */
    uint32_t list;
    size_t stack;      /* first of the stacks that may end after what is being planned */
    uint64_t last_end; /* of what was put; 0: nothing of this run */
    bool last_stack;
    size_t region;       /* whose bytes these are: */
    uint64_t held, kept; /* bytes */
} held_plan;

static void leave_region(held_plan *held) {
    mdc_region_outcome *outcome = &held->plan->outcomes[held->region];
    if (held->held > 0 && held->kept == 0)
        outcome->flags |= MDC_REGION_EXCLUDED;
    else if (held->kept < held->held)
        outcome->flags |= MDC_REGION_NARROWED;
    held->held = held->kept = 0;
}

static mdc_status put(held_plan *held, size_t region, uint64_t first, uint64_t end, bool front, mdc_error *err) {
    uint32_t flags = front ? MDC_EXTENT_STACK : 0;
    if (first == held->last_end && front == held->last_stack) flags |= MDC_EXTENT_JOINED;
    held->last_end = end;
    held->last_stack = front;
    return mdc_plan_put(held->plan, region, first, end, flags, err);
}

/* A kept part, split where stacks begin and end: they are in front, for the descriptors of threads. */
static mdc_status keep(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    held_plan *held = context;
    const mdc_vec *all = &held->plan->capture->stacks;
    const mdc_stack *stacks = all->data;
    held->kept += end - first;
    held->plan->outcomes[region].kept += end - first;
    if (held->cut)
        return mdc_gaps_ask(held->plan->gaps, first, end, MDC_GAP_CUT, 0,
                            "is beyond the end of the file, which was cut", err);
    if (held->two_lists) return put(held, region, first, end, held->list == MDC_CARRIED_LIST32, err);
    mdc_status status = MDC_OK;
    while (first < end && status == MDC_OK) {
        while (held->stack < all->count && stacks[held->stack].end <= first) held->stack++;
        const mdc_stack *stack = held->stack < all->count ? &stacks[held->stack] : NULL;
        bool inside = stack != NULL && stack->first <= first;
        uint64_t stop = end;
        if (stack != NULL) stop = mdc_min_u64(end, inside ? stack->end : stack->first);
        status = put(held, region, first, stop, inside, err);
        first = stop;
    }
    return status;
}

/* [first, end) lies in one region. */
static mdc_status ask(held_plan *held, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    const mdc_capture *capture = held->plan->capture;
    if (region != held->region) leave_region(held);
    held->region = region;
    held->held += end - first;
    if (mdc_regions_closed(capture, region)) return MDC_OK;
    if (!held->asks) return keep(held, region, first, end, err);
    bool pieces = (capture->engine->calls.extensions & MDC_EXT_PIECES) != 0;
    return mdc_include_region(capture, region, first, end, pieces ? MDC_FACT_PIECE : 0, keep, held, err);
}

static mdc_status plan_range(held_plan *held, uint64_t first, uint64_t end, mdc_error *err) {
    while (first < end) {
        int64_t found = mdc_regions_find(held->plan->capture, first);
        if (found == MDC_NO_REGION) return MDC_OK; /* a callee that answers VmQuery does not know it */
        const mdc_region *region = &held->plan->capture->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        if (ask(held, (size_t)found, first, stop, err) != MDC_OK) return err->code;
        first = stop;
    }
    return MDC_OK;
}

/* Without what the callee removed. */
static mdc_status plan_run(held_plan *held, const mdc_carried_run *run, mdc_error *err) {
    const mdc_vec *removed = &held->plan->capture->removed;
    const mdc_set_range *ranges = removed->data;
    uint64_t first = run->address, end = run->address + run->size;
    held->list = run->list;
    held->last_end = 0;
    for (size_t at = mdc_range_set_find(removed, first); first < end; at++) {
        bool more = at < removed->count && ranges[at].first < end;
        if (plan_range(held, first, more ? mdc_max_u64(ranges[at].first, first) : end, err) != MDC_OK) return err->code;
        if (!more) break;
        first = mdc_min_u64(ranges[at].end, end);
    }
    return MDC_OK;
}

mdc_status mdc_plan_held(mdc_plan *plan, mdc_error *err) {
    const mdc_engine *engine = plan->engine;
    const mdc_carried *carried = plan->capture->lists->carried;
    if (plan->capture->region_count == 0) return MDC_OK;
    held_plan held = {.plan = plan,
                      .asks = (engine->calls.extensions & MDC_EXT_PIECES) != 0 ||
                              (carried->flags & MDC_TYPE_WITH_FULL_MEMORY) != 0,
                      .two_lists = carried->lists == (MDC_CARRIED_LIST32 | MDC_CARRIED_LIST64)};
    for (size_t i = 0; i < carried->run_count; i++)
        if ((i % RUNS_PER_CHECK == 0 && mdc_control_check(engine->control, err) != MDC_OK) ||
            plan_run(&held, &carried->runs[i], err) != MDC_OK)
            return err->code;
    leave_region(&held);
    held.cut = true;
    held.stack = 0;
    for (size_t i = 0; i < carried->cut_count; i++) {
        const mdc_carried_run run = {.address = carried->cut[i].first,
                                     .size = carried->cut[i].end - carried->cut[i].first};
        if (mdc_control_check(engine->control, err) != MDC_OK || plan_run(&held, &run, err) != MDC_OK) return err->code;
    }
    leave_region(&held);
    return MDC_OK;
}
