/* Holes of hulls (see excluded_gaps.h). */
#include "excluded_gaps.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/vec.h"

static void count(_Atomic uint64_t *counter, uint64_t more) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

mdc_status mdc_holes_init(mdc_holes *h, uint32_t capacity, uint8_t fill, mdc_error *err) {
    h->fill = fill;
    if (capacity == 0) return MDC_OK;
    h->holes = mdc_alloc(capacity, sizeof *h->holes, err);
    if (h->holes == NULL) return err->code;
    h->capacity = capacity;
    return MDC_OK;
}

void mdc_holes_fini(mdc_holes *h) { mdc_dealloc(h->holes); }

void mdc_holes_rewind(mdc_holes *h) {
    h->count = 0;
    h->open = false;
    atomic_store_explicit(&h->hulls, 0, memory_order_relaxed);
    atomic_store_explicit(&h->hole_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&h->filled_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&h->lost, 0, memory_order_relaxed);
}

/* ---- the table ---- */

/* The first hole that ends at or after the address; count if there is none. */
static uint32_t find(const mdc_holes *h, uint64_t address) {
    size_t at;
    if (h->count == 0 || h->holes[h->count - 1].last < address) return h->count;
    mdc_lower_bound(at, 0, h->count, h->holes[at].last < address);
    return (uint32_t)at;
}

static bool holds(const mdc_holes *h, uint64_t first, uint64_t last) {
    uint32_t at = find(h, first);
    return at < h->count && h->holes[at].first <= first && h->holes[at].last >= last;
}

/* A hole that is not held yet; there is room for one more. Where regions change between two questions it may touch
 * others: they become one, and nothing of that has been shown. */
static void enter(mdc_holes *h, uint64_t first, uint64_t last) {
    uint32_t at = find(h, first), end = at;
    uint64_t bytes = last - first + 1;
    while (end < h->count && h->holes[end].first <= last) {
        const mdc_hole *other = &h->holes[end++];
        uint64_t low = mdc_max_u64(first, other->first), high = mdc_min_u64(last, other->last);
        bytes -= high - low + 1;
    }
    if (end > at) {
        first = mdc_min_u64(first, h->holes[at].first);
        last = mdc_max_u64(last, h->holes[end - 1].last);
    }
    if (end != at + 1) memmove(h->holes + at + 1, h->holes + end, (h->count - end) * sizeof *h->holes);
    h->count = h->count + 1 - (end - at);
    h->holes[at] = (mdc_hole){.first = first, .last = last};
    count(&h->hole_bytes, bytes);
}

/* ---- the answer ---- */

typedef struct hull {
    uint64_t first;
    uint64_t last;
    uint64_t fresh; /* holes that are not held yet */
    bool holes;     /* there are any */
} hull;

/* Walks over the kept parts; enters the gaps between them on request. false: nothing is kept. */
static bool walk(const mdc_matcher *m, const mdc_holes *look, mdc_holes *into, mdc_cursor *cursor, hull *found) {
    uint64_t first, last, from = m->question->base;
    bool any = false;
    while (mdc_match_next(m, cursor, from, &first, &last)) {
        if (!any) {
            found->first = first;
        } else if (first - 1 > found->last) { /* two runs that touch are kept without a hole */
            found->holes = true;
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

int mdc_holes_answer(mdc_holes *h, const mdc_filter *filter, mdc_cursor *cursor, const mdc_question *question,
                     uint64_t *first, uint64_t *last) {
    mdc_matcher m;
    hull found = {.fresh = 0};
    mdc_match_begin(&m, filter, question);
    if (!walk(&m, h, NULL, cursor, &found)) return MDC_MATCH_NOTHING;
    bool room = found.fresh <= h->capacity - h->count;
    if (found.holes && (!h->open || !room)) {
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

bool mdc_holes_cover(const mdc_holes *h, const mdc_matcher *matcher) {
    mdc_cursor cursor = {.interval = 0, .module = 0};
    hull found = {.fresh = 0};
    return walk(matcher, h, NULL, &cursor, &found) && found.fresh == 0;
}

/* ---- reads ---- */

/* [from, to) of the hole, counted from its beginning, has been shown. A third separate run is not noted: it
 * will count as not shown, which is an error. */
static void pass(mdc_hole *hole, uint64_t from, uint64_t to) {
    if (from <= hole->passed)
        hole->passed = mdc_max_u64(hole->passed, to);
    else if (hole->run_end == 0)
        hole->run_first = from, hole->run_end = to;
    else if (from <= hole->run_end && to >= hole->run_first)
        hole->run_first = mdc_min_u64(hole->run_first, from), hole->run_end = mdc_max_u64(hole->run_end, to);
    if (hole->run_end != 0 && hole->run_first <= hole->passed) {
        hole->passed = mdc_max_u64(hole->passed, hole->run_end);
        hole->run_first = hole->run_end = 0;
    }
}

void mdc_holes_fill(mdc_holes *h, uint64_t address, uint8_t *bytes, size_t size, size_t completed) {
    if (size == 0 || bytes == NULL) return;
    uint64_t end = address + (size - 1); /* inclusive */
    if (end < address) end = UINT64_MAX;
    for (uint32_t at = find(h, address); at < h->count && h->holes[at].first <= end; at++) {
        mdc_hole *hole = &h->holes[at];
        uint64_t first = mdc_max_u64(hole->first, address), last = mdc_min_u64(hole->last, end);
        size_t offset = (size_t)(first - address), length = (size_t)(last - first) + 1;
        memset(bytes + offset, h->fill, length);
        if (offset < completed) count(&h->filled_bytes, length < completed - offset ? length : completed - offset);
        pass(hole, first - hole->first, last - hole->first + 1);
    }
}

void mdc_holes_pass(mdc_holes *h, uint64_t address, uint64_t size) {
    if (size == 0) return;
    uint64_t end = address + (size - 1);
    if (end < address) end = UINT64_MAX;
    for (uint32_t at = find(h, address); at < h->count && h->holes[at].first <= end; at++) {
        mdc_hole *hole = &h->holes[at];
        uint64_t first = mdc_max_u64(hole->first, address), last = mdc_min_u64(hole->last, end);
        pass(hole, first - hole->first, last - hole->first + 1);
    }
}

void mdc_holes_settle(mdc_holes *h) {
    for (uint32_t at = 0; at < h->count; at++) pass(&h->holes[at], 0, h->holes[at].last - h->holes[at].first + 1);
}

uint64_t mdc_holes_hidden(const mdc_holes *h, uint64_t *address) {
    uint64_t hidden = 0;
    for (uint32_t at = 0; at < h->count; at++) {
        const mdc_hole *hole = &h->holes[at];
        uint64_t bytes = hole->last - hole->first + 1 - hole->passed - (hole->run_end - hole->run_first);
        if (bytes != 0 && hidden == 0) *address = hole->first + hole->passed;
        hidden += bytes;
    }
    return hidden;
}
