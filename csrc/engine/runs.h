/* Sets of addresses as sorted, disjoint runs [first, end): what a Normal dump adds and takes away. */
#ifndef MDC_ENGINE_RUNS_H
#define MDC_ENGINE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/vec.h"

typedef struct mdc_run {
    uint64_t first;
    uint64_t end;
} mdc_run;

/* Sorts and joins what overlaps or touches: afterwards it is a set. */
void mdc_runs_normalise(mdc_vec *runs);
/* out = a without b; both sets. out is empty before and must not be one of them. */
mdc_status mdc_runs_subtract(mdc_vec *out, const mdc_vec *a, const mdc_vec *b, mdc_error *err);
/* true if any byte of [first, end) is in the set. */
bool mdc_runs_touch(const mdc_vec *runs, uint64_t first, uint64_t end);

#endif
