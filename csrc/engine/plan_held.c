/* The memory of an existing dump: all that it holds, byte-exact, run by run as its lists have it, in the parts the
 * callee keeps, without what RemoveMemory takes away. Unless it is a full dump, the stack of a thread is there because
 * of the thread, and goes with it. */
#include <stdlib.h>

#include "../base/arith.h"
#include "include_region.h"
#include "plan.h"

enum { RUNS_PER_CHECK = 64 };

typedef struct held_plan {
    mdc_plan *plan;
    bool asks;                /* the callee is asked about memory */
    bool two_lists;           /* the dump has both: what is in MemoryList comes first */
    uint64_t front_end;       /* else what the file has before this offset does */
    bool front;               /* this run does */
    bool cut;                 /* it is about memory that the file no longer has */
    mdc_vec removed;          /* mdc_set_range: a set */
    uint64_t address, offset; /* of this run */
    bool begun;               /* something of this run was put: */
    uint64_t last_end;        /* where that ended */
    size_t region;            /* whose bytes these are: */
    uint64_t held, kept;      /* bytes */
} held_plan;

static void leave_region(held_plan *held) {
    mdc_region_outcome *outcome = &held->plan->outcomes[held->region];
    if (held->held > 0 && held->kept == 0)
        outcome->flags |= MDC_REGION_EXCLUDED;
    else if (held->kept < held->held)
        outcome->flags |= MDC_REGION_NARROWED;
    held->held = held->kept = 0;
}

static mdc_status put(held_plan *held, size_t region, uint64_t first, uint64_t end, bool hole, mdc_error *err) {
    uint32_t flags = held->begun && first == held->last_end ? MDC_EXTENT_JOINED : 0;
    if (hole) {
        flags |= MDC_EXTENT_HOLE;
        held->plan->outcomes[region].untouched += end - first;
    }
    held->begun = true;
    held->last_end = end;
    return mdc_plan_put(held->plan, region, first, end, flags, held->front, err);
}

/* Long holes of the file are neither read nor written. */
static mdc_status keep_content(held_plan *held, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    const mdc_engine *engine = held->plan->engine;
    const mdc_carried *carried = held->plan->capture->lists->carried;
    const uint64_t hole_min = engine->options.hole_min, end_offset = held->offset + (end - held->address);
    uint64_t data = first;
    while (!engine->calls.serves_memory && end - first >= hole_min) {
        bool hole;
        uint64_t offset = held->offset + (first - held->address);
        uint64_t size = carried->run(engine->source, offset, end_offset, &hole) - offset;
        if (size == 0 || size > end - first) break;
        if (hole && size >= hole_min) {
            if ((data < first && put(held, region, data, first, false, err) != MDC_OK) ||
                put(held, region, first, first + size, true, err) != MDC_OK)
                return err->code;
            data = first + size;
        }
        first += size;
    }
    return data < end ? put(held, region, data, end, false, err) : MDC_OK;
}

static mdc_status keep(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err) {
    held_plan *held = context;
    held->kept += end - first;
    held->plan->outcomes[region].kept += end - first;
    if (held->cut)
        return mdc_gaps_ask(held->plan->gaps, first, end, MDC_GAP_CUT, 0,
                            "is beyond the end of the file, which was cut", err);
    return keep_content(held, region, first, end, err);
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
    const mdc_vec *removed = &held->removed;
    const mdc_set_range *ranges = removed->data;
    uint64_t first = run->address, end = run->address + run->size;
    held->front = held->two_lists ? run->list == MDC_CARRIED_LIST32 : run->offset < held->front_end;
    held->address = run->address;
    held->offset = run->offset;
    held->begun = false;
    for (size_t at = mdc_range_set_find(removed, first); first < end; at++) {
        bool more = at < removed->count && ranges[at].first < end;
        if (plan_range(held, first, more ? mdc_max_u64(ranges[at].first, first) : end, err) != MDC_OK) return err->code;
        if (!more) break;
        first = mdc_min_u64(ranges[at].end, end);
    }
    return MDC_OK;
}

/* The stacks of threads that are left out, but for what other threads or the callee need. */
static mdc_status find_left_out(const mdc_capture *capture, mdc_vec *sets, mdc_error *err) {
    mdc_vec *gone = &sets[0], *stay = &sets[1], *rest = &sets[2], *left_out = &sets[3];
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread_choice *choice = &capture->threads[i];
        mdc_set_range range = {choice->stack.first, choice->stack.end};
        mdc_vec *set = (choice->write & MDC_THREAD_WRITE_STACK) != 0 ? stay : gone;
        if (range.first < range.end && mdc_vec_push(set, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(gone);
    mdc_range_set_normalise(stay);
    if (mdc_range_set_subtract(rest, gone, stay, err) != MDC_OK) return err->code;
    return mdc_range_set_subtract(left_out, rest, &capture->added, err);
}

static mdc_status find_removed(held_plan *held, mdc_error *err) {
    const mdc_capture *capture = held->plan->capture;
    mdc_vec sets[4];
    for (size_t i = 0; i < 4; i++) mdc_range_set_init(&sets[i]);
    mdc_status status = MDC_OK;
    if ((capture->lists->carried->flags & MDC_TYPE_WITH_FULL_MEMORY) == 0) status = find_left_out(capture, sets, err);
    if (status == MDC_OK) status = mdc_vec_push(&held->removed, sets[3].data, sets[3].count, NULL, err);
    if (status == MDC_OK)
        status = mdc_vec_push(&held->removed, capture->removed.data, capture->removed.count, NULL, err);
    mdc_range_set_normalise(&held->removed);
    for (size_t i = 0; i < 4; i++) mdc_vec_fini(&sets[i]);
    return status;
}

typedef struct placed {
    uint64_t offset;
    uint64_t address;
} placed;

static int by_offset(const void *left, const void *right) {
    const placed *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Memory stays in the order of the file if that is by address, or in two parts that are (stacks in front, as this
 * engine writes them). Any other order becomes that of addresses. */
static mdc_status find_front(held_plan *held, const mdc_carried *carried, mdc_error *err) {
    placed *all = mdc_alloc(carried->run_count, sizeof *all, err);
    size_t steps = 0;
    if (all == NULL) return err->code;
    for (size_t i = 0; i < carried->run_count; i++)
        all[i] = (placed){carried->runs[i].offset, carried->runs[i].address};
    if (carried->run_count > 0) qsort(all, carried->run_count, sizeof *all, by_offset);
    for (size_t i = 1; i < carried->run_count; i++) {
        if (all[i].address > all[i - 1].address) continue;
        steps++;
        held->front_end = all[i].offset;
    }
    if (steps != 1) held->front_end = 0;
    mdc_dealloc(all);
    return MDC_OK;
}

static mdc_status plan_all(held_plan *held, mdc_error *err) {
    const mdc_engine *engine = held->plan->engine;
    const mdc_carried *carried = held->plan->capture->lists->carried;
    if (find_removed(held, err) != MDC_OK || find_front(held, carried, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < carried->run_count; i++)
        if ((i % RUNS_PER_CHECK == 0 && mdc_control_check(engine->control, err) != MDC_OK) ||
            plan_run(held, &carried->runs[i], err) != MDC_OK)
            return err->code;
    leave_region(held);
    held->cut = true;
    for (size_t i = 0; i < carried->cut_count; i++) {
        const mdc_carried_run run = {.address = carried->cut[i].first,
                                     .size = carried->cut[i].end - carried->cut[i].first};
        if (mdc_control_check(engine->control, err) != MDC_OK || plan_run(held, &run, err) != MDC_OK) return err->code;
    }
    leave_region(held);
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
    mdc_range_set_init(&held.removed);
    mdc_status status = plan_all(&held, err);
    mdc_vec_fini(&held.removed);
    return status;
}
