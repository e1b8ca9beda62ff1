/* Dividing, ranking and choosing (see session_budget.h). */
#include "session_budget.h"

#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../base/protection.h"
#include "referenced_pages.h"

enum { ROUNDS = 6 }; /* choices with another target, until what is left is less than a page or two */

typedef struct run {
    uint64_t first;
    uint64_t end;
    uint64_t kept_end; /* [first, kept_end) stays */
    uint64_t order;    /* within a priority */
    size_t extent;
    int32_t priority;
    bool joined; /* goes on with the range of the run before, if that stays to its end */
} run;

typedef struct rank {
    int32_t priority;
    uint64_t order;
    uint64_t first;
    size_t run;
} rank;

typedef struct ranked_piece {
    uint64_t first;
    uint64_t end;
    int32_t priority;
} ranked_piece;

typedef struct dividing {
    mdc_session_budget *budget;
    const mdc_cut_request *request;
    mdc_referenced referenced;
    bool whole_stacks;
    mdc_vec pieces; /* ranked_piece: of the extent being divided, what rules with a priority have kept */
    mdc_error error;
} dividing;

void mdc_session_budget_init(mdc_session_budget *budget, const mdc_callback *callback,
                             const mdc_engine_options *options, const int32_t *priorities, size_t priority_count) {
    *budget = (mdc_session_budget){callback, options, priorities, priority_count, {0}, {0}};
    mdc_vec_init(&budget->runs, sizeof(run));
    mdc_vec_init(&budget->ranks, sizeof(rank));
}

void mdc_session_budget_fini(mdc_session_budget *budget) {
    mdc_vec_fini(&budget->runs);
    mdc_vec_fini(&budget->ranks);
}

/* ---- dividing ---- */

static void take_piece(void *context, uint64_t first, uint64_t last, bool keep, uint32_t rule) {
    dividing *work = context;
    const mdc_session_budget *budget = work->budget;
    if (!keep || rule >= budget->priority_count || budget->priorities[rule] < 0) return;
    /* Whole pages, as everything that is cut: a page that two share is the first one's. */
    ranked_piece piece = {mdc_page_down(first), last == UINT64_MAX ? 0 : mdc_page_up(last + 1),
                          budget->priorities[rule]};
    if (piece.first < piece.end) (void)mdc_vec_push(&work->pieces, &piece, 1, NULL, &work->error);
}

static mdc_status find_pieces(dividing *work, const mdc_extent *extent, mdc_error *err) {
    const mdc_session_budget *budget = work->budget;
    work->pieces.count = 0;
    if (budget->callback == NULL || budget->priorities == NULL) return MDC_OK;
    mdc_error_clear(&work->error);
    if (mdc_session_rules_walk(budget->callback, work->request->plan, extent, budget->options, take_piece, work, err) !=
        MDC_OK)
        return err->code;
    if (work->error.code != MDC_OK) *err = work->error;
    return work->error.code;
}

static int32_t plain_priority(const dividing *work, const mdc_extent *extent) {
    const mdc_report_region *region = &work->request->plan->regions[extent->region];
    bool own = (region->protect & MDC_PAGE_ANY_WRITE) != 0 && (region->flags & MDC_REGION_SHARED) == 0 &&
               (region->kinds & MDC_KIND_SHARED) == 0;
    return own || (region->kinds & MDC_KIND_HEAP) != 0 ? MDC_PRIORITY_WRITABLE : MDC_PRIORITY_REST;
}

/* Where the range of a sorted table that holds the address ends, or the next one begins; *inside: which of both. */
static uint64_t boundary(const mdc_vec *set, uint64_t at, uint64_t end, bool *inside) {
    size_t found = mdc_range_set_find(set, at);
    *inside = false;
    if (found == set->count) return end;
    const mdc_set_range *range = &mdc_vec_at(set, const mdc_set_range, found);
    *inside = range->first <= at;
    return mdc_min_u64(end, *inside ? range->end : range->first);
}

/* The run that begins at the address: what it is, and where it ends at the latest. */
static run next_run(const dividing *work, const mdc_extent *extent, uint64_t at, uint64_t end) {
    const mdc_cut_request *request = work->request;
    const ranked_piece *pieces = work->pieces.data;
    size_t found;
    bool inside;
    mdc_lower_bound(found, 0, work->pieces.count, pieces[found].end <= at);
    if (found < work->pieces.count && pieces[found].first <= at)
        return (run){.first = at, .end = mdc_min_u64(end, pieces[found].end), .priority = pieces[found].priority};
    if (found < work->pieces.count) end = mdc_min_u64(end, pieces[found].first);
    mdc_lower_bound(found, 0, request->stack_count, request->stacks[found].end <= at);
    if (found < request->stack_count && request->stacks[found].first <= at) {
        const mdc_cut_stack *stack = &request->stacks[found];
        const int32_t priority = stack->crashed ? MDC_PRIORITY_CRASHED_STACK : MDC_PRIORITY_STACK;
        if (work->whole_stacks) return (run){.first = at, .end = mdc_min_u64(end, stack->end), .priority = priority};
        uint64_t distance = at - stack->first, part = mdc_max_u64(distance, MDC_PAGE_SIZE), stop;
        if (distance < MDC_PAGE_SIZE) part = MDC_PAGE_SIZE - distance;
        if (!mdc_add_u64(at, part, &stop)) stop = UINT64_MAX;
        return (run){.first = at,
                     .end = mdc_min_u64(mdc_min_u64(end, stack->end), stop),
                     .order = distance,
                     .priority = priority};
    }
    if (found < request->stack_count) end = mdc_min_u64(end, request->stacks[found].first);
    for (uint64_t of = 0; of < 2; of++) {
        const mdc_vec *set = of == 0 ? &work->referenced.crashed : &work->referenced.others;
        end = boundary(set, at, end, &inside);
        if (inside) return (run){.first = at, .end = end, .order = of, .priority = MDC_PRIORITY_REFERENCED};
    }
    return (run){.first = at, .end = end, .priority = plain_priority(work, extent)};
}

static mdc_status divide(dividing *work, mdc_error *err) {
    const mdc_report *plan = work->request->plan;
    mdc_vec *runs = &work->budget->runs, *ranks = &work->budget->ranks;
    runs->count = ranks->count = 0;
    for (size_t i = 0; i < plan->extent_count; i++) {
        const mdc_extent *extent = &plan->extents[i];
        uint64_t at = extent->address, end = extent->address + extent->size;
        bool joined = (extent->flags & MDC_EXTENT_JOINED) != 0;
        if ((extent->flags & MDC_EXTENT_OMITTED) != 0) continue;
        if (find_pieces(work, extent, err) != MDC_OK) return err->code;
        while (at < end) {
            run next = next_run(work, extent, at, end);
            next.joined = joined;
            next.extent = i;
            rank place = {next.priority, next.order, next.first, runs->count};
            if (mdc_vec_push(runs, &next, 1, NULL, err) != MDC_OK ||
                mdc_vec_push(ranks, &place, 1, NULL, err) != MDC_OK)
                return err->code;
            at = next.end;
            joined = true;
        }
    }
    return MDC_OK;
}

static int by_rank(const void *left, const void *right) {
    const rank *a = left, *b = right;
    if (a->priority != b->priority) return a->priority > b->priority ? -1 : 1;
    if (a->order != b->order) return a->order < b->order ? -1 : 1;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->run < b->run ? -1 : a->run > b->run;
}

static mdc_status prepare(mdc_session_budget *budget, const mdc_cut_request *request, bool whole_stacks,
                          mdc_error *err) {
    dividing work = {.budget = budget, .request = request, .whole_stacks = whole_stacks};
    mdc_vec_init(&work.pieces, sizeof(ranked_piece));
    mdc_referenced_init(&work.referenced);
    mdc_status status = mdc_referenced_find(&work.referenced, request, err);
    if (status == MDC_OK) status = divide(&work, err);
    if (budget->ranks.count > 0) qsort(budget->ranks.data, budget->ranks.count, sizeof(rank), by_rank);
    mdc_referenced_fini(&work.referenced);
    mdc_vec_fini(&work.pieces);
    return status;
}

/* ---- choosing ---- */

/* As much as fits into `target` bytes, by rank. *all: everything does. */
static void keep(mdc_session_budget *budget, uint64_t target, uint32_t range_bytes, bool *all) {
    run *runs = budget->runs.data;
    for (size_t i = 0; i < budget->runs.count; i++) runs[i].kept_end = runs[i].first;
    *all = false;
    for (size_t i = 0; i < budget->ranks.count; i++) {
        run *next = &runs[mdc_vec_at(&budget->ranks, const rank, i).run];
        uint64_t size = next->end - next->first;
        if (target < range_bytes) return;
        if (size > target - range_bytes) {
            uint64_t stop = mdc_page_down(next->first + (target - range_bytes));
            if (stop > next->first) next->kept_end = stop;
            return;
        }
        next->kept_end = next->end;
        target -= size + range_bytes;
    }
    *all = true;
}

/* What the choice takes in the file; fills in what is cut. */
static mdc_status weigh(const mdc_session_budget *budget, const mdc_cut_request *request, mdc_vec *cut, uint64_t *bytes,
                        mdc_error *err) {
    const run *runs = budget->runs.data;
    uint64_t ranges = 0;
    *bytes = cut->count = 0;
    for (size_t i = 0; i < budget->runs.count; i++) {
        mdc_set_range rest = {runs[i].kept_end, runs[i].end};
        *bytes += runs[i].kept_end - runs[i].first;
        bool goes_on = i > 0 && runs[i].joined && runs[i - 1].kept_end == runs[i].first;
        if (runs[i].kept_end > runs[i].first && !goes_on) ranges++;
        if (rest.first < rest.end && mdc_vec_push(cut, &rest, 1, NULL, err) != MDC_OK) return err->code;
    }
    mdc_range_set_normalise(cut);
    *bytes += ranges * request->range_bytes + cut->count * (uint64_t)request->gap_bytes;
    return MDC_OK;
}

mdc_status mdc_session_budget_choose(void *context, const mdc_cut_request *request, mdc_cut_list *list,
                                     mdc_error *err) {
    mdc_session_budget *budget = context;
    uint64_t target = request->room, best = 0, bytes;
    bool all = false;
    if (request->round == 0 && prepare(budget, request, false, err) != MDC_OK) return err->code;
    for (int i = 0; i < ROUNDS && !all; i++) {
        keep(budget, target, request->range_bytes, &all);
        if (weigh(budget, request, &list->ranges, &bytes, err) != MDC_OK) return err->code;
        if (bytes > request->room) {
            uint64_t over = mdc_page_up(bytes - request->room); /* as what is kept is cut to whole pages */
            all = false;
            if (target <= over) break;
            target -= over;
            continue;
        }
        best = mdc_max_u64(best, target);
        if (request->room - bytes < 2 * MDC_PAGE_SIZE || !mdc_add_u64(target, request->room - bytes, &target)) break;
    }
    keep(budget, best, request->range_bytes, &all);
    return weigh(budget, request, &list->ranges, &bytes, err);
}

mdc_status mdc_session_budget_order(void *context, const mdc_cut_request *request, mdc_order_list *list,
                                    mdc_error *err) {
    mdc_session_budget *budget = context;
    if (prepare(budget, request, true, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < budget->ranks.count; i++) {
        const run *next = &mdc_vec_at(&budget->runs, const run, mdc_vec_at(&budget->ranks, const rank, i).run);
        mdc_order_part part = {next->extent, next->first, next->end};
        if (mdc_vec_push(&list->parts, &part, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}
