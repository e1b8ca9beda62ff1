#include <stdlib.h>

#include "../../base/bound.h"
#include "carried_tables.h"

static int by_key(const void *left, const void *right) {
    const mdc_choice *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* What has one id, or one base, has what all of it may have: which of them is meant is not known. */
static void sort(mdc_vec *vec) {
    mdc_choice *all = vec->data;
    if (vec->count > 0) qsort(all, vec->count, sizeof(mdc_choice), by_key);
    for (size_t first = 0, i = 1; i < vec->count; i++) {
        if (all[i].key != all[first].key)
            first = i;
        else
            all[first].write &= all[i].write;
    }
}

mdc_status mdc_choices_make(mdc_choices *choices, const mdc_capture *capture, mdc_error *err) {
    const mdc_snapshot *lists = capture->lists;
    mdc_vec_init(&choices->threads, sizeof(mdc_choice));
    mdc_vec_init(&choices->modules, sizeof(mdc_choice));
    for (size_t i = 0; i < lists->thread_count; i++) {
        mdc_choice choice = {lists->threads[i].tid, capture->threads[i].write, (uint32_t)i};
        if (mdc_vec_push(&choices->threads, &choice, 1, NULL, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < lists->module_count; i++) {
        mdc_choice choice = {lists->modules[i].base, capture->modules[i].write, (uint32_t)i};
        if (mdc_vec_push(&choices->modules, &choice, 1, NULL, err) != MDC_OK) return err->code;
    }
    sort(&choices->threads);
    sort(&choices->modules);
    return MDC_OK;
}

void mdc_choices_fini(mdc_choices *choices) {
    mdc_vec_fini(&choices->threads);
    mdc_vec_fini(&choices->modules);
}

static const mdc_choice *find(const mdc_vec *vec, uint64_t key) {
    const mdc_choice *all = vec->data;
    size_t at;
    mdc_lower_bound(at, 0, vec->count, all[at].key < key);
    return at < vec->count && all[at].key == key ? &all[at] : NULL;
}

const mdc_choice *mdc_choices_thread(const mdc_choices *choices, uint32_t tid) { return find(&choices->threads, tid); }

const mdc_choice *mdc_choices_module(const mdc_choices *choices, uint64_t base) {
    return find(&choices->modules, base);
}
