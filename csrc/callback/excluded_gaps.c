/* Excluded gaps of hulls (see excluded_gaps.h). */
#include "excluded_gaps.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/vec.h"

static void count(_Atomic uint64_t *counter, uint64_t more) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

mdc_status mdc_excluded_gaps_init(mdc_excluded_gaps *h, uint32_t capacity, uint8_t fill, mdc_error *err) {
    h->fill = fill;
    if (capacity == 0) return MDC_OK;
    h->gaps = mdc_alloc(capacity, sizeof *h->gaps, err);
    if (h->gaps == NULL) return err->code;
    h->capacity = capacity;
    return MDC_OK;
}

void mdc_excluded_gaps_fini(mdc_excluded_gaps *h) { mdc_dealloc(h->gaps); }

void mdc_excluded_gaps_rewind(mdc_excluded_gaps *h) {
    h->count = 0;
    h->open = false;
    atomic_store_explicit(&h->hulls, 0, memory_order_relaxed);
    atomic_store_explicit(&h->excluded_gap_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&h->filled_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&h->lost, 0, memory_order_relaxed);
}

/* ---- the table ---- */

/* The first excluded gap that ends at or after the address; count if there is none. */
static uint32_t find(const mdc_excluded_gaps *h, uint64_t address) {
    size_t at;
    if (h->count == 0 || h->gaps[h->count - 1].last < address) return h->count;
    mdc_lower_bound(at, 0, h->count, h->gaps[at].last < address);
    return (uint32_t)at;
}

static bool holds(const mdc_excluded_gaps *h, uint64_t first, uint64_t last) {
    uint32_t at = find(h, first);
    return at < h->count && h->gaps[at].first <= first && h->gaps[at].last >= last;
}

/* A excluded gap that is not held yet; there is room for one more. Where regions change between two questions it may
 * touch others: they become one, and nothing of that has been shown. */
static void enter(mdc_excluded_gaps *h, uint64_t first, uint64_t last) {
    uint32_t at = find(h, first), end = at;
    uint64_t bytes = last - first + 1;
    while (end < h->count && h->gaps[end].first <= last) {
        const mdc_excluded_gap *other = &h->gaps[end++];
        uint64_t low = mdc_max_u64(first, other->first), high = mdc_min_u64(last, other->last);
        bytes -= high - low + 1;
    }
    if (end > at) {
        first = mdc_min_u64(first, h->gaps[at].first);
        last = mdc_max_u64(last, h->gaps[end - 1].last);
    }
    if (end != at + 1) memmove(h->gaps + at + 1, h->gaps + end, (h->count - end) * sizeof *h->gaps);
    h->count = h->count + 1 - (end - at);
    h->gaps[at] = (mdc_excluded_gap){.first = first, .last = last};
    count(&h->excluded_gap_bytes, bytes);
}

/* ---- the answer ---- */

typedef struct hull {
    uint64_t first;
    uint64_t last;
    uint64_t fresh; /* excluded gaps that are not held yet */
    bool gaps;      /* there are any */
} hull;

/* Walks over the kept parts; enters the gaps between them on request. false: nothing is kept. */
static bool walk(const mdc_matcher *m, const mdc_excluded_gaps *look, mdc_excluded_gaps *into, mdc_cursor *cursor,
                 hull *found) {
    uint64_t first, last, from = m->question->base;
    bool any = false;
    while (mdc_match_next(m, cursor, from, &first, &last)) {
        if (!any) {
            found->first = first;
        } else if (first - 1 > found->last) { /* two runs that touch are kept without a excluded gap */
            found->gaps = true;
            if (!holds(look, found->last + 1, first - 1)) {
                found->fresh++;
                if (into != NULL) enter(into, found->last + 1, first - 1);
            }
        }
        any = true;
        found->last = last;
        if (last >= m->question->last) break;
        from = last + 1;
    }
    return any;
}

int mdc_excluded_gaps_answer(mdc_excluded_gaps *h, const mdc_filter *filter, mdc_cursor *cursor,
                             const mdc_question *question, uint64_t *first, uint64_t *last) {
    mdc_matcher m;
    hull found = {.fresh = 0};
    mdc_match_begin(&m, filter, question);
    if (!walk(&m, h, NULL, cursor, &found)) return MDC_MATCH_NOTHING;
    bool room = found.fresh <= h->capacity - h->count;
    if (found.gaps && (!h->open || !room)) {
        count(&h->lost, 1);
        (void)mdc_match_longest(&m, cursor, &found.first, &found.last);
    } else if (found.fresh > 0) {
        hull again = {.fresh = 0};
        walk(&m, h, h, cursor, &again);
        count(&h->hulls, 1);
    }
    *first = found.first;
    *last = found.last;
    return *first == question->base && *last == question->last ? MDC_MATCH_WHOLE : MDC_MATCH_PART;
}

bool mdc_excluded_gaps_cover(const mdc_excluded_gaps *h, const mdc_matcher *matcher) {
    mdc_cursor cursor = {.interval = 0, .module = 0};
    hull found = {.fresh = 0};
    return walk(matcher, h, NULL, &cursor, &found) && found.fresh == 0;
}

/* ---- reads ---- */

/* [from, to) of the excluded gap, counted from its beginning, has been shown. A third separate run is not noted: it
 * will count as not shown, which is an error. */
static void pass(mdc_excluded_gap *gap, uint64_t from, uint64_t to) {
    if (from <= gap->passed)
        gap->passed = mdc_max_u64(gap->passed, to);
    else if (gap->run_end == 0)
        gap->run_first = from, gap->run_end = to;
    else if (from <= gap->run_end && to >= gap->run_first)
        gap->run_first = mdc_min_u64(gap->run_first, from), gap->run_end = mdc_max_u64(gap->run_end, to);
    if (gap->run_end != 0 && gap->run_first <= gap->passed) {
        gap->passed = mdc_max_u64(gap->passed, gap->run_end);
        gap->run_first = gap->run_end = 0;
    }
}

void mdc_excluded_gaps_fill(mdc_excluded_gaps *h, uint64_t address, uint8_t *bytes, size_t size, size_t completed) {
    if (size == 0 || bytes == NULL) return;
    uint64_t end = address + (size - 1); /* inclusive */
    if (end < address) end = UINT64_MAX;
    for (uint32_t at = find(h, address); at < h->count && h->gaps[at].first <= end; at++) {
        mdc_excluded_gap *gap = &h->gaps[at];
        uint64_t first = mdc_max_u64(gap->first, address), last = mdc_min_u64(gap->last, end);
        size_t offset = (size_t)(first - address), length = (size_t)(last - first) + 1;
        memset(bytes + offset, h->fill, length);
        if (offset < completed) count(&h->filled_bytes, length < completed - offset ? length : completed - offset);
        pass(gap, first - gap->first, last - gap->first + 1);
    }
}

void mdc_excluded_gaps_pass(mdc_excluded_gaps *h, uint64_t address, uint64_t size) {
    if (size == 0) return;
    uint64_t end = address + (size - 1);
    if (end < address) end = UINT64_MAX;
    for (uint32_t at = find(h, address); at < h->count && h->gaps[at].first <= end; at++) {
        mdc_excluded_gap *gap = &h->gaps[at];
        uint64_t first = mdc_max_u64(gap->first, address), last = mdc_min_u64(gap->last, end);
        pass(gap, first - gap->first, last - gap->first + 1);
    }
}

void mdc_excluded_gaps_dismiss(mdc_excluded_gaps *h) {
    for (uint32_t at = 0; at < h->count; at++) pass(&h->gaps[at], 0, h->gaps[at].last - h->gaps[at].first + 1);
}

uint64_t mdc_excluded_gaps_hidden(const mdc_excluded_gaps *h, uint64_t *address) {
    uint64_t hidden = 0;
    for (uint32_t at = 0; at < h->count; at++) {
        const mdc_excluded_gap *gap = &h->gaps[at];
        uint64_t bytes = gap->last - gap->first + 1 - gap->passed - (gap->run_end - gap->run_first);
        if (bytes != 0 && hidden == 0) *address = gap->first + gap->passed;
        hidden += bytes;
    }
    return hidden;
}
