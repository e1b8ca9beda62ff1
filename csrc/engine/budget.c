/* The plan is laid out to see how long the file would be, at first whole, then without memory, then with what was
 * chosen: lists, alignment and gaps are counted by those who write them. */
#include "budget.h"

#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "copy_order.h"

enum {
    GAPS_RESERVED = 64, /* of those that may be found while memory is read */
    ROUNDS = 6          /* choices, each with less room than the one before, until one fits */
};

typedef struct fitting {
    mdc_plan *plan;
    mdc_gaps *gaps;
    int64_t now;
    uint64_t limit;
    mdc_vec whole; /* mdc_extent: the plan as it was */
    size_t whole_stacks;
    size_t gap_count; /* of the plan as it was, and its last one, which a new one may join */
    mdc_gap last_gap;
    bool gaps_full;
    mdc_cut_list list;
} fitting;

static uint64_t reserved(const mdc_gaps *gaps) {
    uint64_t left = gaps->engine->options.gaps_max - gaps->count;
    return mdc_min_u64(left, GAPS_RESERVED) * sizeof(mdc_gap);
}

/* How long the file may become. */
static uint64_t longest(const mdc_layout *layout, const mdc_gaps *gaps) {
    return mdc_layout_planned_end(layout) + (layout->tail ? reserved(gaps) : 0);
}

static mdc_status measure(fitting *fit, mdc_layout *trial, uint64_t *end, mdc_error *err) {
    memset(trial, 0, sizeof *trial);
    mdc_layout_init(trial, fit->plan);
    trial->now = fit->now;
    fit->gaps->planned_count = fit->gaps->count; /* what the stream of gaps has room for */
    if (mdc_layout_build(trial, fit->plan->all.data, err) != MDC_OK) return err->code;
    *end = longest(trial, fit->gaps);
    return MDC_OK;
}

static mdc_status measure_only(fitting *fit, uint64_t *end, mdc_error *err) {
    mdc_layout trial;
    mdc_status status = measure(fit, &trial, end, err);
    mdc_layout_fini(&trial);
    return status;
}

/* ---- cutting ---- */

static void forget_gaps(fitting *fit) {
    mdc_gaps *gaps = fit->gaps;
    gaps->count = fit->gap_count;
    gaps->planned_count = 0;
    gaps->full = fit->gaps_full;
    if (gaps->count > 0) gaps->all[gaps->count - 1] = fit->last_gap;
}

/* One extent of the whole plan, without what is cut. *open: its last byte stays, so that the next may join it. */
static mdc_status cut_extent(fitting *fit, const mdc_extent *extent, bool *open, mdc_error *err) {
    mdc_plan *plan = fit->plan;
    const mdc_set_range *ranges = fit->list.ranges.data;
    uint64_t at = extent->address, end = extent->address + extent->size;
    uint32_t joined = *open ? extent->flags & MDC_EXTENT_JOINED : 0;
    size_t next = mdc_range_set_find(&fit->list.ranges, at);
    if ((extent->flags & MDC_EXTENT_OMITTED) != 0) {
        *open = false;
        return mdc_vec_push(&plan->all, extent, 1, NULL, err);
    }
    while (at < end) {
        bool cuts = next < fit->list.ranges.count && ranges[next].first < end;
        uint64_t stop = cuts ? mdc_max_u64(ranges[next].first, at) : end;
        mdc_extent part = *extent;
        part.address = at;
        part.size = stop - at;
        part.flags = (extent->flags & ~(uint32_t)MDC_EXTENT_JOINED) | joined;
        if (stop > at && mdc_vec_push(&plan->all, &part, 1, NULL, err) != MDC_OK) return err->code;
        *open = !cuts;
        if (!cuts) break;
        joined = 0;
        part.address = stop;
        part.size = mdc_min_u64(ranges[next].end, end) - stop;
        part.flags = extent->flags;
        if (mdc_vec_push(&plan->cut, &part, 1, NULL, err) != MDC_OK) return err->code;
        at = stop + part.size;
        next++;
    }
    return MDC_OK;
}

/* The whole plan without what the list says. */
static mdc_status cut(fitting *fit, mdc_error *err) {
    mdc_plan *plan = fit->plan;
    const mdc_set_range *ranges = fit->list.ranges.data;
    size_t stacks = 0, cut_stacks = 0;
    bool open = false;
    plan->all.count = plan->cut.count = 0;
    forget_gaps(fit);
    for (size_t i = 0; i < fit->whole.count; i++) {
        if (i == fit->whole_stacks) open = false;
        if (cut_extent(fit, &mdc_vec_at(&fit->whole, const mdc_extent, i), &open, err) != MDC_OK) return err->code;
        if (i >= fit->whole_stacks) continue;
        stacks = plan->all.count;
        cut_stacks = plan->cut.count;
    }
    const bool ordered = plan->extents.chains != NULL;
    plan->extents = (mdc_extents){.all = plan->all.data, .count = plan->all.count, .stack_count = stacks};
    plan->over_budget = (mdc_extents){.all = plan->cut.data, .count = plan->cut.count, .stack_count = cut_stacks};
    if (ordered && mdc_copy_order_find(plan, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < fit->list.ranges.count; i++)
        mdc_gaps_add(fit->gaps, ranges[i].first, ranges[i].end - ranges[i].first, MDC_GAP_BUDGET, 0);
    return MDC_OK;
}

static mdc_status list_all(fitting *fit, mdc_error *err) {
    mdc_vec *ranges = &fit->list.ranges;
    ranges->count = 0;
    for (size_t i = 0; i < fit->whole.count; i++) {
        const mdc_extent *extent = &mdc_vec_at(&fit->whole, const mdc_extent, i);
        mdc_set_range range = {extent->address, extent->address + extent->size};
        if ((extent->flags & MDC_EXTENT_OMITTED) == 0 && mdc_vec_push(ranges, &range, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    mdc_range_set_normalise(ranges);
    return MDC_OK;
}

static void account(mdc_plan *plan) {
    for (size_t i = 0; i < plan->cut.count; i++) {
        const mdc_extent *part = &mdc_vec_at(&plan->cut, const mdc_extent, i);
        mdc_region_outcome *outcome = &plan->outcomes[part->region];
        outcome->kept -= part->size;
        outcome->over_budget += part->size;
        if ((part->flags & (MDC_EXTENT_HOLE | MDC_EXTENT_ZERO)) != 0) outcome->untouched -= part->size;
    }
}

static mdc_status choose(fitting *fit, mdc_cut_request request, uint64_t room, mdc_error *err) {
    const mdc_engine *engine = fit->plan->engine;
    for (; request.round < ROUNDS; request.round++) {
        uint64_t end;
        request.room = room;
        if (engine->options.choose_cut(engine->options.cut_context, &request, &fit->list, err) != MDC_OK ||
            cut(fit, err) != MDC_OK || measure_only(fit, &end, err) != MDC_OK)
            return err->code;
        if (end <= fit->limit) return MDC_OK;
        /* Memory is cut by whole pages: less would change nothing. */
        uint64_t over = mdc_page_up(end - fit->limit);
        if (room <= over) break;
        room -= over;
    }
    /* That fits, and is all that is certain to. */
    return list_all(fit, err) != MDC_OK ? err->code : cut(fit, err);
}

static mdc_status take_out(fitting *fit, const mdc_report *report, uint64_t whole_end, mdc_error *err) {
    uint64_t least;
    if (mdc_vec_push(&fit->whole, fit->plan->extents.all, fit->plan->extents.count, NULL, err) != MDC_OK ||
        list_all(fit, err) != MDC_OK || cut(fit, err) != MDC_OK || measure_only(fit, &least, err) != MDC_OK)
        return err->code;
    if (least > fit->limit) {
        least = mdc_min_u64(least, whole_end);
        mdc_fail(err, MDC_ERR_BUDGET, MDC_PHASE_PLAN, 0,
                 "max_bytes is %" PRIu64 ", and headers, lists and texts of this dump take %" PRIu64
                 " bytes without any memory: give at least that",
                 fit->limit, least);
        err->least_bytes = least;
        return err->code;
    }
    uint64_t gaps = fit->list.ranges.count * (uint64_t)sizeof(mdc_gap);
    mdc_report told = *report;
    told.extents = fit->whole.data;
    told.extent_count = fit->whole.count;
    mdc_cut_threads threads;
    mdc_cut_threads_init(&threads);
    mdc_cut_request request = mdc_cut_request_of(fit->plan, &told);
    mdc_status status = mdc_cut_threads_tell(&threads, fit->plan->capture, &request, err);
    if (status == MDC_OK) status = choose(fit, request, fit->limit - least + gaps, err);
    mdc_cut_threads_fini(&threads);
    if (status == MDC_OK) account(fit->plan);
    return status;
}

mdc_status mdc_budget_fit(mdc_plan *plan, mdc_gaps *gaps, mdc_report_rows *rows, int64_t now, mdc_error *err) {
    mdc_engine *engine = plan->engine;
    const bool measures = engine->measures;
    fitting fit = {.plan = plan,
                   .gaps = gaps,
                   .now = now,
                   .limit = engine->options.max_bytes,
                   .whole_stacks = plan->extents.stack_count,
                   .gap_count = gaps->count,
                   .gaps_full = gaps->full};
    if (gaps->count > 0) fit.last_gap = gaps->all[gaps->count - 1];
    mdc_vec_init(&fit.whole, sizeof(mdc_extent));
    mdc_range_set_init(&fit.list.ranges);
    mdc_layout trial;
    uint64_t end = 0;
    engine->measures = true;
    mdc_status status = measure(&fit, &trial, &end, err);
    if (status == MDC_OK && end > fit.limit) {
        mdc_report_make(rows, &trial, NULL, 0, 0);
        status = take_out(&fit, &rows->report, end, err);
    }
    engine->measures = measures;
    mdc_layout_fini(&trial);
    mdc_vec_fini(&fit.whole);
    mdc_vec_fini(&fit.list.ranges);
    return status;
}

mdc_status mdc_budget_check(const mdc_layout *layout, mdc_gaps *gaps, mdc_error *err) {
    const uint64_t limit = layout->engine->options.max_bytes, end = longest(layout, gaps);
    if (limit == 0) return MDC_OK;
    if (end > limit) { /* it was laid out like this before, but to keep the promise is better than to be sure */
        mdc_fail(err, MDC_ERR_BUDGET, MDC_PHASE_PLAN, 0,
                 "max_bytes is %" PRIu64 ", and this dump takes %" PRIu64 " bytes: give at least that", limit, end);
        err->least_bytes = end;
        return err->code;
    }
    uint64_t room = gaps->count + (limit - mdc_layout_planned_end(layout)) / sizeof(mdc_gap);
    if (layout->tail && room < gaps->room) gaps->room = (size_t)room;
    return MDC_OK;
}
