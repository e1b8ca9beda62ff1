#include "copy_order.h"

#include <stdlib.h>

#include "../base/arith.h"
#include "../base/fail.h"

/* A stack stays one range, with its holes: a thread descriptor refers to one. */
static bool needs_stop(const mdc_extent *extent) {
    if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_LATE)) != 0) return false;
    return (extent->flags & MDC_EXTENT_HOLE) == 0 || (extent->flags & MDC_EXTENT_STACK) != 0;
}

/* ---- the order ---- */

typedef struct ordering {
    const mdc_plan *plan;
    mdc_vec all;    /* mdc_extent: in the new order */
    size_t last_of; /* the extent that the last one of them is a part of */
    bool open;      /* what comes next may go on with it */
    uint64_t bytes;
} ordering;

static mdc_status put_part(ordering *work, size_t index, uint64_t first, uint64_t end, mdc_error *err) {
    const mdc_extent *whole = &work->plan->extents.all[index];
    mdc_extent part = *whole, *last = NULL;
    part.address = first;
    part.size = end - first;
    part.flags &= ~(uint32_t)MDC_EXTENT_JOINED;
    work->bytes += part.size;
    if (work->open && work->all.count > 0) {
        last = &mdc_vec_at(&work->all, mdc_extent, work->all.count - 1);
        if (last->address + last->size != first) last = NULL;
    }
    if (last != NULL && work->last_of == index) {
        last->size += part.size;
        return MDC_OK;
    }
    bool joined = first == whole->address && (whole->flags & MDC_EXTENT_JOINED) != 0;
    if (last != NULL && joined && work->last_of + 1 == index) part.flags |= MDC_EXTENT_JOINED;
    work->last_of = index;
    work->open = true;
    return mdc_vec_push(&work->all, &part, 1, NULL, err);
}

static mdc_status put_all(ordering *work, const mdc_order_list *list, mdc_error *err) {
    const mdc_extents *extents = &work->plan->extents;
    uint64_t timed = 0;
    for (size_t i = 0; i < extents->count; i++)
        if (needs_stop(&extents->all[i])) timed += extents->all[i].size;
    for (size_t i = 0; i < list->parts.count; i++) {
        const mdc_order_part *part = &mdc_vec_at(&list->parts, const mdc_order_part, i);
        if (needs_stop(&extents->all[part->extent]) &&
            put_part(work, part->extent, part->first, part->end, err) != MDC_OK)
            return err->code;
    }
    if (work->bytes != timed)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_PLAN, 0, "the order of copying is not that of the plan");
    work->open = false;
    for (size_t i = 0; i < extents->count; i++) {
        const mdc_extent *extent = &extents->all[i];
        if (needs_stop(extent)) continue;
        if (put_part(work, i, extent->address, extent->address + extent->size, err) != MDC_OK) return err->code;
        work->open = (extent->flags & MDC_EXTENT_OMITTED) == 0;
    }
    return MDC_OK;
}

mdc_status mdc_copy_order(mdc_plan *plan, mdc_report_rows *rows, const mdc_layout *layout, mdc_error *err) {
    const mdc_engine_options *options = &plan->engine->options;
    ordering work = {.plan = plan};
    mdc_order_list list;
    mdc_cut_threads threads;
    mdc_cut_threads_init(&threads);
    mdc_vec_init(&work.all, sizeof(mdc_extent));
    mdc_vec_init(&list.parts, sizeof(mdc_order_part));
    mdc_report_make(rows, layout, NULL, 0, 0);
    mdc_cut_request request = mdc_cut_request_of(plan, &rows->report);
    mdc_status status = mdc_cut_threads_tell(&threads, plan->capture, &request, err);
    if (status == MDC_OK) status = options->choose_order(options->cut_context, &request, &list, err);
    if (status == MDC_OK) status = put_all(&work, &list, err);
    if (status == MDC_OK) {
        mdc_vec before = plan->all;
        plan->all = work.all;
        work.all = before;
        plan->extents.all = plan->all.data;
        plan->extents.count = plan->all.count;
        status = mdc_copy_order_find(plan, err);
    }
    mdc_cut_threads_fini(&threads);
    mdc_vec_fini(&work.all);
    mdc_vec_fini(&list.parts);
    return status;
}

static int by_address(const void *left, const void *right) {
    const mdc_chain *a = left, *b = right;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* joined: those that say so go on with the one before. */
static mdc_status find_chains(mdc_extents *extents, mdc_vec *chains, bool joined, mdc_error *err) {
    chains->count = 0;
    for (size_t i = 0; i < extents->count; i++) {
        mdc_chain chain = {extents->all[i].address, i, i + 1};
        if (joined && i > 0 && (extents->all[i].flags & MDC_EXTENT_JOINED) != 0)
            mdc_vec_at(chains, mdc_chain, chains->count - 1).end = i + 1;
        else if (mdc_vec_push(chains, &chain, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    if (chains->count == 0 && mdc_vec_reserve(chains, 1, err) != MDC_OK) return err->code;
    if (chains->count > 0) qsort(chains->data, chains->count, sizeof(mdc_chain), by_address);
    extents->chains = chains->data;
    extents->chain_count = chains->count;
    return MDC_OK;
}

mdc_status mdc_copy_order_find(mdc_plan *plan, mdc_error *err) {
    mdc_extents *extents = &plan->extents;
    extents->stack_count = extents->timed_count = 0;
    for (size_t i = 0; i < extents->count; i++) {
        const mdc_extent *extent = &extents->all[i];
        if (!needs_stop(extent)) continue;
        extents->timed_count = i + 1;
        if ((extent->flags & MDC_EXTENT_STACK) != 0) extents->stack_count = i + 1;
    }
    if (find_chains(extents, &plan->chains, true, err) != MDC_OK) return err->code;
    return find_chains(&plan->over_budget, &plan->cut_chains, false, err);
}

/* ---- the end ---- */

void mdc_truncate(mdc_layout *layout, mdc_gaps *gaps, size_t extent, uint64_t address) {
    const mdc_extents *extents = &layout->plan->extents;
    const mdc_engine_options *options = &layout->engine->options;
    uint64_t left_out = mdc_layout_truncate(layout, extent, address);
    /* Where the length of the file is limited, what is left out is room for gaps. */
    uint64_t room = gaps->room + left_out / sizeof(mdc_gap);
    if (options->max_bytes != 0) gaps->room = (size_t)mdc_min_u64(room, options->gaps_max);
    /* By address: neighbours become one gap, whatever each of them mattered. */
    for (size_t i = 0; i < extents->chain_count; i++) {
        const mdc_chain *chain = &extents->chains[i];
        for (size_t k = chain->first; k < chain->end; k++) {
            const mdc_extent *part = &extents->all[k];
            uint64_t end = part->address + part->size;
            if ((part->flags & MDC_EXTENT_TRUNCATED) != 0)
                mdc_gaps_add(gaps, part->address, part->size, MDC_GAP_TRUNCATED, 0);
            else if (k == extent && k < extents->timed_count)
                mdc_gaps_add(gaps, address, end - address, MDC_GAP_TRUNCATED, 0);
        }
    }
}
