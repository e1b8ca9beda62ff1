/* Sets of addresses: a vector of ranges [first, end), sorted and apart from each other. The last address of all is in
 * no set. */
#ifndef MDC_BASE_RANGE_SET_H
#define MDC_BASE_RANGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

typedef struct mdc_set_range {
    uint64_t first;
    uint64_t end;
} mdc_set_range;

void mdc_range_set_init(mdc_vec *set);
/* Sorts and joins what overlaps or touches: afterwards the ranges that were pushed, in any order, are a set. */
void mdc_range_set_normalise(mdc_vec *set);
/* out = a without b; both sets. out is empty before and must not be one of them. */
mdc_status mdc_range_set_subtract(mdc_vec *out, const mdc_vec *a, const mdc_vec *b, mdc_error *err);
/* Index of the first range that ends after the address; the count if there is none. */
size_t mdc_range_set_find(const mdc_vec *set, uint64_t address);
/* Whether any byte of [first, end) is in the set. */
bool mdc_range_set_touches(const mdc_vec *set, uint64_t first, uint64_t end);

#endif
