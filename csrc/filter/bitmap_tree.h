/* A set of numbers below a bound that answers "the largest member not above x" in a few steps: 64-way summaries over a
 * bitmap. Cutting over a million ranges keeps the live rules in two of these. */
#ifndef MDC_FILTER_BITMAP_TREE_H
#define MDC_FILTER_BITMAP_TREE_H

#include <stdint.h>

#include "../api/error.h"

enum { MDC_BITMAP_TREE_LEVELS = 6 };
#define MDC_RANK_NONE UINT32_MAX

typedef struct mdc_bitmap_tree {
    uint64_t *level[MDC_BITMAP_TREE_LEVELS]; /* level 0 has a bit per number, level k a bit per word of level k - 1 */
    uint32_t levels;
} mdc_bitmap_tree;

mdc_status mdc_bitmap_tree_init(mdc_bitmap_tree *set, uint32_t bound, mdc_error *err);
void mdc_bitmap_tree_fini(mdc_bitmap_tree *set);
void mdc_bitmap_tree_add(mdc_bitmap_tree *set, uint32_t x);
void mdc_bitmap_tree_remove(mdc_bitmap_tree *set, uint32_t x);
/* The largest member <= x, or MDC_RANK_NONE. */
uint32_t mdc_bitmap_tree_floor(const mdc_bitmap_tree *set, uint32_t x);

#endif
