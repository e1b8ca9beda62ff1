/* Who decided about how many bytes: the walk after the dump (see match.h). Cold. */
#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "match.h"

typedef struct walk {
    const mdc_matcher *matcher;
    uint64_t first; /* what is walked */
    uint64_t last;
    mdc_match_visit visit;
    void *context;
} walk;

typedef struct rule_stats {
    uint64_t keep_first;
    uint64_t keep_last;
    uint64_t *kept;
    uint64_t *excluded;
} rule_stats;

/* Bytes of [a, b] and [c, d] together; 2**64 cannot be said and counts as one less. */
static uint64_t overlap(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    uint64_t first = mdc_max_u64(a, c), last = mdc_min_u64(b, d);
    if (first > last) return 0;
    return last - first == UINT64_MAX ? UINT64_MAX : last - first + 1;
}

static void add(const walk *t, uint64_t first, uint64_t last, bool keep, uint32_t rule) {
    first = mdc_max_u64(first, t->first);
    last = mdc_min_u64(last, t->last);
    if (first <= last) t->visit(t->context, first, last, keep, rule);
}

static void count(void *context, uint64_t first, uint64_t last, bool keep, uint32_t rule) {
    const rule_stats *t = context;
    uint64_t bytes = overlap(first, last, 0, UINT64_MAX);
    uint64_t taken = keep ? overlap(first, last, t->keep_first, t->keep_last) : 0;
    t->kept[rule] += taken;
    t->excluded[rule] += bytes - taken;
}

/* A page (or the part of it in the piece) that more than one verdict shares. */
static void add_mixed(const walk *t, mdc_cursor *cursor, uint64_t first, uint64_t last) {
    bool whole = true;
    uint32_t excluder = 0;
    for (uint64_t at = first;;) {
        mdc_verdict v = mdc_match_step(t->matcher, cursor, at);
        if (!v.keep && whole) {
            whole = false;
            excluder = v.rule;
        }
        if (v.last >= last) break;
        at = v.last + 1;
    }
    for (uint64_t at = first;;) {
        mdc_verdict v = mdc_match_step(t->matcher, cursor, at);
        uint64_t end = mdc_min_u64(v.last, last);
        if (!v.keep) excluder = v.rule;
        add(t, at, end, v.keep && whole, v.keep && whole ? v.rule : excluder);
        if (v.last >= last) break;
        at = v.last + 1;
    }
}

void mdc_match_rule_stats(const mdc_matcher *matcher, uint64_t first, uint64_t last, uint64_t keep_first,
                          uint64_t keep_last, uint64_t *kept, uint64_t *excluded) {
    rule_stats stats = {keep_first, keep_last, kept, excluded};
    mdc_match_walk(matcher, first, last, count, &stats);
}

void mdc_match_walk(const mdc_matcher *matcher, uint64_t first, uint64_t last, mdc_match_visit visit, void *context) {
    const mdc_question *q = matcher->question;
    walk t = {.matcher = matcher,
              .first = mdc_max_u64(first, q->base),
              .last = mdc_min_u64(last, q->last),
              .visit = visit,
              .context = context};
    if (t.first > t.last) return;
    mdc_cursor cursor = {.interval = 0, .module = 0};
    uint64_t at = matcher->whole_pages ? mdc_max_u64(mdc_page_down(t.first), q->base) : t.first;
    for (;;) {
        mdc_verdict v = mdc_match_step(matcher, &cursor, at);
        uint64_t end = v.last;
        uint64_t page_last = at | (MDC_PAGE_SIZE - 1);
        if (matcher->whole_pages && end < q->last) {
            if (end < page_last) {
                end = mdc_min_u64(page_last, q->last);
                add_mixed(&t, &cursor, at, end);
            } else {
                end = mdc_page_down(end + 1) - 1;
                add(&t, at, end, v.keep, v.rule);
            }
        } else {
            add(&t, at, end, v.keep, v.rule);
        }
        if (end >= t.last) return;
        at = end + 1;
    }
}
