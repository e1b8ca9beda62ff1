/* Sets of ranks (see bitmap_tree.h). */
#include "bitmap_tree.h"

#include <stddef.h>

#include "../base/vec.h"
#include "bits.h"

mdc_status mdc_bitmap_tree_init(mdc_bitmap_tree *set, uint32_t bound, mdc_error *err) {
    *set = (mdc_bitmap_tree){.levels = 0};
    uint64_t count = bound > 0 ? bound : 1;
    do {
        count = (count + 63) / 64;
        set->level[set->levels] = mdc_alloc((size_t)count, sizeof(uint64_t), err);
        if (set->level[set->levels] == NULL) {
            mdc_bitmap_tree_fini(set);
            return err->code;
        }
        set->levels++;
    } while (count > 1);
    return MDC_OK;
}

void mdc_bitmap_tree_fini(mdc_bitmap_tree *set) {
    for (uint32_t k = 0; k < MDC_BITMAP_TREE_LEVELS; k++) {
        mdc_dealloc(set->level[k]);
        set->level[k] = NULL;
    }
    set->levels = 0;
}

void mdc_bitmap_tree_add(mdc_bitmap_tree *set, uint32_t x) {
    for (uint32_t k = 0; k < set->levels; k++, x >>= 6) mdc_set_bit(set->level[k], x);
}

void mdc_bitmap_tree_remove(mdc_bitmap_tree *set, uint32_t x) {
    for (uint32_t k = 0; k < set->levels; k++, x >>= 6) {
        mdc_clear_bit(set->level[k], x);
        if (set->level[k][x >> 6] != 0) return;
    }
}

uint32_t mdc_bitmap_tree_floor(const mdc_bitmap_tree *set, uint32_t x) {
    for (uint32_t k = 0; k < set->levels; k++) {
        /* Bits up to and including x; on the levels above, the words before the current one. */
        uint64_t word = set->level[k][x >> 6] & (UINT64_MAX >> (63 - (x & 63)));
        if (word != 0) {
            x = (x & ~UINT32_C(63)) | mdc_highest_bit(word);
            while (k-- > 0) x = x << 6 | mdc_highest_bit(set->level[k][x]);
            return x;
        }
        x >>= 6;
        if (x == 0) return MDC_RANK_NONE;
        x--;
    }
    return MDC_RANK_NONE;
}
