/* Sets of addresses that have a bound (see capped_set.h). */
#include "capped_set.h"

#include <string.h>

#include "arith.h"

enum {
    PENDING_MAX = 1 << 16, /* ranges, or as many as the set has */
    PENDING_PART = 16,     /* near the bound: a part of the set, so that each pays for its part of the sorting */
    PENDING_LEAST = 64
};

void mdc_capped_set_init(mdc_capped_set *set, uint64_t most) {
    memset(set, 0, sizeof *set);
    set->most = most;
    mdc_range_set_init(&set->ranges);
}

void mdc_capped_set_fini(mdc_capped_set *set) { mdc_vec_fini(&set->ranges); }

static uint64_t bytes_of(const mdc_vec *set) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < set->count; i++) {
        const mdc_set_range *range = &mdc_vec_at(set, const mdc_set_range, i);
        bytes += range->end - range->first;
    }
    return bytes;
}

/* Whether the set and the first `count` of what came since fit. */
static mdc_status fits(const mdc_capped_set *set, size_t count, bool *yes, mdc_error *err) {
    mdc_vec some, more, settled = set->ranges;
    settled.count = set->settled;
    mdc_range_set_init(&some);
    mdc_range_set_init(&more);
    mdc_status status =
        mdc_vec_push(&some, &mdc_vec_at(&set->ranges, const mdc_set_range, set->settled), count, NULL, err);
    if (status == MDC_OK) {
        mdc_range_set_normalise(&some);
        status = mdc_range_set_subtract(&more, &some, &settled, err);
    }
    *yes = status == MDC_OK && bytes_of(&more) <= set->most - set->exact;
    mdc_vec_fini(&some);
    mdc_vec_fini(&more);
    return status;
}

/* The set takes what came since, as far as it fits. */
static mdc_status settle(mdc_capped_set *set, mdc_error *err) {
    const size_t pending = set->ranges.count - set->settled;
    size_t taken = pending;
    bool yes = true;
    if (pending == 0) return MDC_OK;
    if (set->at_most > set->most && fits(set, pending, &yes, err) != MDC_OK) return err->code;
    if (!yes) {
        size_t high = pending; /* does not fit */
        for (taken = 0; high - taken > 1;) {
            size_t middle = taken + (high - taken) / 2;
            if (fits(set, middle, &yes, err) != MDC_OK) return err->code;
            if (yes)
                taken = middle;
            else
                high = middle;
        }
        set->full = true;
    }
    set->ranges.count = set->settled + taken;
    mdc_range_set_normalise(&set->ranges);
    set->settled = set->ranges.count;
    set->exact = set->at_most = bytes_of(&set->ranges);
    return MDC_OK;
}

static bool is_covered(const mdc_capped_set *set, mdc_set_range range) {
    mdc_vec settled = set->ranges;
    settled.count = set->settled;
    size_t at = mdc_range_set_find(&settled, range.first);
    return at < settled.count && mdc_vec_at(&settled, const mdc_set_range, at).first <= range.first &&
           mdc_vec_at(&settled, const mdc_set_range, at).end >= range.end;
}

mdc_status mdc_capped_set_add(mdc_capped_set *set, mdc_set_range range, mdc_error *err) {
    if (set->full || range.first >= range.end || is_covered(set, range)) return MDC_OK;
    if (mdc_vec_push(&set->ranges, &range, 1, NULL, err) != MDC_OK) return err->code;
    if (!mdc_add_u64(set->at_most, range.end - range.first, &set->at_most)) set->at_most = UINT64_MAX;
    size_t pending = set->ranges.count - set->settled;
    bool near = set->at_most > set->most && pending >= PENDING_LEAST && pending >= set->settled / PENDING_PART;
    bool many = pending >= PENDING_MAX && pending >= set->settled;
    return near || many ? settle(set, err) : MDC_OK;
}

mdc_status mdc_capped_set_finish(mdc_capped_set *set, mdc_error *err) { return settle(set, err); }
