/* A set of addresses that has a bound: ranges are taken in the order in which they come, as long as all of them
 * together are no more bytes than that. Whatever they are (the same again, some bytes further each), n of them cost O(n
 * log n). */
#ifndef MDC_BASE_CAPPED_SET_H
#define MDC_BASE_CAPPED_SET_H

#include "range_set.h"

typedef struct mdc_capped_set {
    mdc_vec ranges;   /* mdc_set_range: a set, and after it what came since */
    size_t settled;   /* how many of them are the set */
    uint64_t exact;   /* bytes of the set */
    uint64_t at_most; /* bytes of all; what overlaps is counted twice */
    uint64_t most;    /* bytes */
    bool full;        /* one did not fit: neither does anything after it */
} mdc_capped_set;

void mdc_capped_set_init(mdc_capped_set *set, uint64_t most);
void mdc_capped_set_fini(mdc_capped_set *set);
mdc_status mdc_capped_set_add(mdc_capped_set *set, mdc_set_range range, mdc_error *err);
/* After the last one: `ranges` is a set, and `full` is known. */
mdc_status mdc_capped_set_finish(mdc_capped_set *set, mdc_error *err);

#endif
