/* Sets of addresses (see range_set.h). */
#include "range_set.h"

#include <stdlib.h>

#include "bound.h"
#include "failpoint.h"

static int by_first(const void *left, const void *right) {
    const mdc_set_range *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

void mdc_range_set_init(mdc_vec *set) { mdc_vec_init(set, sizeof(mdc_set_range)); }

void mdc_range_set_normalise(mdc_vec *set) {
    (void)MDC_FAILPOINT("ranges:sort");
    if (set->count == 0) return;
    mdc_set_range *all = set->data;
    qsort(all, set->count, sizeof *all, by_first);
    size_t last = 0;
    for (size_t i = 1; i < set->count; i++) {
        if (all[i].first > all[last].end)
            all[++last] = all[i];
        else if (all[i].end > all[last].end)
            all[last].end = all[i].end;
    }
    set->count = last + 1;
}

mdc_status mdc_range_set_subtract(mdc_vec *out, const mdc_vec *a, const mdc_vec *b, mdc_error *err) {
    const mdc_set_range *minus = b->data;
    size_t j = 0;
    for (size_t i = 0; i < a->count; i++) {
        mdc_set_range range = mdc_vec_at(a, const mdc_set_range, i);
        while (j < b->count && minus[j].end <= range.first) j++;
        for (size_t k = j; k < b->count && minus[k].first < range.end; k++) {
            mdc_set_range head = {range.first, minus[k].first};
            range.first = minus[k].end;
            if (head.first < head.end && mdc_vec_push(out, &head, 1, NULL, err) != MDC_OK) return err->code;
        }
        if (range.first < range.end && mdc_vec_push(out, &range, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

size_t mdc_range_set_find(const mdc_vec *set, uint64_t address) {
    const mdc_set_range *all = set->data;
    size_t at;
    mdc_lower_bound(at, 0, set->count, all[at].end <= address);
    return at;
}

bool mdc_range_set_touches(const mdc_vec *set, uint64_t first, uint64_t end) {
    size_t at = mdc_range_set_find(set, first);
    return at < set->count && mdc_vec_at(set, const mdc_set_range, at).first < end;
}
