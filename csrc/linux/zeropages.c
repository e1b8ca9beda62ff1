/* Finding the kernel's page of zeros (see zeropages.h). */
#include "zeropages.h"

#include "../base/arith.h"
#include "pagemap.h"

enum { ZEROS_MAX = 256 * 1024 }; /* runs remembered; the rest is read */
static const uint64_t worth = UINT64_C(64) << 10;

static mdc_status take(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    mdc_vec *zeros = context;
    (void)categories;
    mdc_content *last = zeros->count > 0 ? &mdc_vec_at(zeros, mdc_content, zeros->count - 1) : NULL;
    if (last != NULL && last->end == first) {
        last->end = end;
        return MDC_OK;
    }
    if (zeros->count >= ZEROS_MAX) return MDC_OK;
    mdc_content run = {.first = first, .end = end, .what = MDC_CONTENT_ZERO};
    /* Short runs are of no use: the place of one is free again. */
    if (last != NULL && last->end - last->first < worth) {
        *last = run;
        return MDC_OK;
    }
    return mdc_vec_push(zeros, &run, 1, NULL, err);
}

/* The runs, with zeros in runs of data separated from them. */
static mdc_status split(mdc_vec *runs, const mdc_vec *zeros, mdc_vec *out, mdc_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < runs->count; i++) {
        mdc_content rest = mdc_vec_at(runs, mdc_content, i);
        while (at < zeros->count && mdc_vec_at(zeros, mdc_content, at).end <= rest.first) at++;
        for (size_t z = at; z < zeros->count && rest.what == MDC_CONTENT_DATA; z++) {
            mdc_content zero = mdc_vec_at(zeros, mdc_content, z);
            if (zero.first >= rest.end) break;
            zero.first = mdc_max_u64(zero.first, rest.first);
            zero.end = mdc_min_u64(zero.end, rest.end);
            if (zero.end - zero.first < worth) continue;
            mdc_content before = {.first = rest.first, .end = zero.first, .what = MDC_CONTENT_DATA};
            if ((before.first < before.end && mdc_vec_push(out, &before, 1, NULL, err) != MDC_OK) ||
                mdc_vec_push(out, &zero, 1, NULL, err) != MDC_OK)
                return err->code;
            rest.first = zero.end;
        }
        if (rest.first < rest.end && mdc_vec_push(out, &rest, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status list(const mdc_vec *runs, int pagemap, const mdc_region *regions, size_t count, mdc_vec *zeros,
                       mdc_dump_control *control, mdc_error *err) {
    const mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PFNZERO, .reported = MDC_PAGE_IS_PFNZERO, .control = control};
    int os_errno = 0;
    size_t at = 0;
    for (size_t i = 0; i < count && os_errno == 0; i++) {
        const mdc_region *region = &regions[i];
        uint64_t end = region->base + region->size, there = 0;
        for (; at < runs->count && mdc_vec_at(runs, mdc_content, at).first < end; at++) {
            const mdc_content *run = &mdc_vec_at(runs, mdc_content, at);
            if (run->what == MDC_CONTENT_DATA) there += run->end - run->first;
        }
        if ((region->flags & MDC_REGION_UNTOUCHED) == 0 || there < worth || there - worth < region->resident) continue;
        if (mdc_pagemap_scan(pagemap, region->base, end, &query, take, zeros, &os_errno, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_zeropages_find(mdc_vec *runs, int pagemap, const mdc_region *regions, size_t count,
                              mdc_dump_control *control, mdc_error *err) {
    mdc_vec zeros, out;
    mdc_vec_init(&zeros, sizeof(mdc_content));
    mdc_vec_init(&out, sizeof(mdc_content));
    mdc_status status = list(runs, pagemap, regions, count, &zeros, control, err);
    if (status == MDC_OK && zeros.count > 0) {
        status = split(runs, &zeros, &out, err);
        if (status == MDC_OK) {
            mdc_vec whole = *runs;
            *runs = out;
            out = whole;
        }
    }
    mdc_vec_fini(&zeros);
    mdc_vec_fini(&out);
    return status;
}
