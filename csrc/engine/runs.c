/* Sorted, disjoint runs of addresses (see runs.h). */
#include "runs.h"

#include <stdlib.h>

#include "../base/bound.h"

static int by_first(const void *left, const void *right) {
    const mdc_run *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

void mdc_runs_normalise(mdc_vec *runs) {
    if (runs->count == 0) return;
    mdc_run *all = runs->data;
    qsort(all, runs->count, sizeof *all, by_first);
    size_t last = 0;
    for (size_t i = 1; i < runs->count; i++) {
        if (all[i].first > all[last].end)
            all[++last] = all[i];
        else if (all[i].end > all[last].end)
            all[last].end = all[i].end;
    }
    runs->count = last + 1;
}

mdc_status mdc_runs_subtract(mdc_vec *out, const mdc_vec *a, const mdc_vec *b, mdc_error *err) {
    const mdc_run *minus = b->data;
    size_t j = 0;
    for (size_t i = 0; i < a->count; i++) {
        mdc_run run = mdc_vec_at(a, const mdc_run, i);
        while (j < b->count && minus[j].end <= run.first) j++;
        for (size_t k = j; k < b->count && minus[k].first < run.end; k++) {
            mdc_run head = {run.first, minus[k].first};
            run.first = minus[k].end;
            if (head.first < head.end && mdc_vec_push(out, &head, 1, NULL, err) != MDC_OK) return err->code;
        }
        if (run.first < run.end && mdc_vec_push(out, &run, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

bool mdc_runs_touch(const mdc_vec *runs, uint64_t first, uint64_t end) {
    const mdc_run *all = runs->data;
    size_t at; /* the first run that ends behind `first` */
    mdc_lower_bound(at, 0, runs->count, all[at].end <= first);
    return at < runs->count && all[at].first < end;
}
