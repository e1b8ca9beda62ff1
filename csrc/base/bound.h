/* Binary search in anything that is sorted. */
#ifndef MDC_BASE_BOUND_H
#define MDC_BASE_BOUND_H

#include <stddef.h>

/* Sets `at`, a size_t, to the first index of [from, end) for which `before` is false, or to `end`. `before` is an
 * expression in `at`, true up to some index and false from there on:
 *
 *     mdc_lower_bound(at, 0, count, runs[at].end <= address);   the first run that ends after the address
 *
 * A macro, so that any array can be searched by any member and the comparison is compiled into the loop. */
#define mdc_lower_bound(at, from, end, before)                                                                         \
    do {                                                                                                               \
        size_t mdc_low = (from), mdc_high = (end);                                                                     \
        while (mdc_low < mdc_high) {                                                                                   \
            at = mdc_low + (mdc_high - mdc_low) / 2;                                                                   \
            if (before)                                                                                                \
                mdc_low = at + 1;                                                                                      \
            else                                                                                                       \
                mdc_high = at;                                                                                         \
        }                                                                                                              \
        at = mdc_low;                                                                                                  \
    } while (0)

#endif
