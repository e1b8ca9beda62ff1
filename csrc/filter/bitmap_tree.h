/* A set of numbers below a bound that answers "the largest member not above x" in a few steps: 64-way summaries over a
 * bitmap. The sweep over a million ranges keeps the live rules in two of these. */
#ifndef MDC_FILTER_BITMAP_TREE_H
#define MDC_FILTER_BITMAP_TREE_H

#include <stdint.h>

#include "../api/error.h"

enum { MDC_RANKSET_LEVELS = 6 };
#define MDC_RANK_NONE UINT32_MAX

typedef struct mdc_rankset {
    uint64_t *level[MDC_RANKSET_LEVELS]; /* level 0 has a bit per number, level k a bit per word of level k - 1 */
    uint32_t levels;
} mdc_rankset;

mdc_status mdc_rankset_init(mdc_rankset *set, uint32_t bound, mdc_error *err);
void mdc_rankset_fini(mdc_rankset *set);
void mdc_rankset_add(mdc_rankset *set, uint32_t x);
void mdc_rankset_remove(mdc_rankset *set, uint32_t x);
/* The largest member <= x, or MDC_RANK_NONE. */
uint32_t mdc_rankset_floor(const mdc_rankset *set, uint32_t x);

#endif
