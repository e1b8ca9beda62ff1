/* The memory of a full dump: every region that is not closed, in the parts the callee keeps. */
#include "../base/arith.h"
#include "include_region.h"
#include "plan.h"

enum { REGIONS_PER_CHECK = 64 }; /* the dump control reads the clock: dearer than a callback */

typedef struct full_plan {
    mdc_plan *plan;
    size_t stack;  /* first of the stacks that may be after the address being planned */
    uint64_t kept; /* bytes of the region being asked about */
} full_plan;

/* A kept part, split where stacks begin and end: their bytes are elsewhere in the file. */
static mdc_status keep_full(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    full_plan *full = context;
    const mdc_vec *all = &full->plan->capture->stacks;
    const mdc_stack *stacks = all->data;
    mdc_status status = MDC_OK;
    full->kept += end - first;
    while (first < end && status == MDC_OK) {
        while (full->stack < all->count && stacks[full->stack].end <= first) full->stack++;
        const mdc_stack *stack = full->stack < all->count ? &stacks[full->stack] : NULL;
        bool inside = stack != NULL && stack->first <= first;
        uint64_t stop = end;
        if (stack != NULL) stop = mdc_min_u64(end, inside ? stack->end : mdc_max_u64(stack->first, first));
        status = mdc_plan_add(full->plan, region, first, stop, inside ? MDC_EXTENT_STACK : 0, err);
        first = stop;
    }
    return status;
}

mdc_status mdc_plan_full(mdc_plan *plan, mdc_error *err) {
    const mdc_capture *capture = plan->capture;
    full_plan full = {.plan = plan};
    for (size_t i = 0; i < capture->region_count; i++) {
        if (i % REGIONS_PER_CHECK == 0 && mdc_control_check(capture->engine->control, err) != MDC_OK) return err->code;
        if (mdc_regions_closed(capture, i)) continue;
        const mdc_region *region = &capture->regions[i];
        uint64_t end = mdc_region_end(region);
        full.kept = 0;
        if (mdc_include_region(capture, i, region->base, end, 0, keep_full, &full, err) != MDC_OK) return err->code;
        if (full.kept == 0)
            plan->outcomes[i].flags |= MDC_REGION_EXCLUDED;
        else if (full.kept < end - region->base)
            plan->outcomes[i].flags |= MDC_REGION_NARROWED;
    }
    return MDC_OK;
}
