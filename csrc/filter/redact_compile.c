/* Makes the tables of redact_table.h: checks, sorts the ranges, chooses stride and bitmap for the patterns. Cold. */
#include <stdlib.h>
#include <string.h>

#include "../base/fail.h"
#include "../base/vec.h"
#include "bits.h"
#include "check.h"
#include "glob.h"
#include "redact_table.h"

enum {
    PATTERN_MIN = MDC_PATTERN_MIN,
    PATTERN_MAX = MDC_PATTERN_MAX,
    PATTERNS_MAX = MDC_PATTERNS_MAX,
    GLOBS_MAX = 4096,
    LONG_WINDOW = 8,    /* patterns of at least this many bytes are searched by windows of 4 bytes, not 3 */
    STRIDE_MAX = 64,    /* a longer one gains nothing: a cache line is fetched anyway */
    WINDOWS_MAX = 32768 /* marked in the bitmap: more would need one that no inner cache holds */
};

static mdc_status bad(mdc_error *err, const char *what, size_t index, const char *why) {
    return mdc_fail_at(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, (int64_t)index, "%s %zu: %s", what, index, why);
}

static mdc_status check_lists(const mdc_filter_spec *spec, mdc_error *err) {
    const struct {
        const void *data;
        size_t count, most;
        const char *what;
    } lists[] = {{spec->scrub, spec->scrub_count, MDC_FILTER_RULES_MAX, "ranges to scrub"},
                 {spec->patterns, spec->pattern_count, PATTERNS_MAX, "patterns"},
                 {spec->environ_keep, spec->environ_keep_count, GLOBS_MAX, "variables to keep"},
                 {spec->environ_drop, spec->environ_drop_count, GLOBS_MAX, "variables to drop"}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lists[i].count > lists[i].most)
            return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "%zu %s are more than the %zu a filter can have",
                            lists[i].count, lists[i].what, lists[i].most);
        if (lists[i].data == NULL && lists[i].count > 0)
            return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "the list of %s is missing", lists[i].what);
    }
    return MDC_OK;
}

static mdc_status check_globs(const mdc_bytes *globs, size_t count, const char *what, mdc_error *err) {
    for (size_t i = 0; i < count; i++) {
        const char *why = globs[i].data == NULL && globs[i].size != 0 ? "the pattern is missing"
                                                                      : mdc_glob_check(globs[i].data, globs[i].size);
        if (why != NULL) return bad(err, what, i, why);
    }
    return MDC_OK;
}

static mdc_status check(const mdc_filter_spec *spec, mdc_error *err) {
    if (check_lists(spec, err) != MDC_OK) return err->code;
    if (spec->sanitize_stacks > 1)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "sanitize_stacks is 0 or 1");
    if ((spec->fill & ~(MDC_FILL_GIVEN | 0xFFu)) != 0 || (spec->fill != 0 && (spec->fill & MDC_FILL_GIVEN) == 0))
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "fill is a byte with MDC_FILL_GIVEN, or 0");
    for (size_t i = 0; i < spec->scrub_count; i++) {
        const mdc_range *range = &spec->scrub[i];
        bool to_top = range->end == 0 && range->first != 0;
        if (!to_top && range->first >= range->end)
            return bad(err, "range to scrub", i,
                       range->first == range->end ? "the range is empty" : "the range runs backwards");
    }
    for (size_t i = 0; i < spec->pattern_count; i++) {
        const mdc_bytes *pattern = &spec->patterns[i];
        if (pattern->data == NULL) return bad(err, "pattern", i, "the bytes are missing");
        if (pattern->size < PATTERN_MIN)
            return bad(err, "pattern", i, "it is shorter than 4 bytes, which would match everywhere");
        if (pattern->size > PATTERN_MAX) return bad(err, "pattern", i, "it is longer than 4096 bytes");
    }
    if (check_globs(spec->environ_keep, spec->environ_keep_count, "variable to keep", err) != MDC_OK) return err->code;
    return check_globs(spec->environ_drop, spec->environ_drop_count, "variable to drop", err);
}

/* ---- ranges ---- */

static int by_first(const void *left, const void *right) {
    const mdc_scrub_range *a = left, *b = right;
    return a->first < b->first ? -1 : a->first > b->first;
}

static mdc_status make_ranges(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    r->ranges = mdc_alloc(spec->scrub_count, sizeof *r->ranges, err);
    if (r->ranges == NULL) return err->code;
    if (spec->scrub_count == 0) return MDC_OK;
    for (size_t i = 0; i < spec->scrub_count; i++)
        r->ranges[i] = (mdc_scrub_range){spec->scrub[i].first, spec->scrub[i].end - 1}; /* end 0: 2**64 */
    qsort(r->ranges, spec->scrub_count, sizeof *r->ranges, by_first);
    size_t last = 0;
    for (size_t i = 1; i < spec->scrub_count; i++) {
        if (r->ranges[last].last == UINT64_MAX || r->ranges[i].first <= r->ranges[last].last + 1) {
            if (r->ranges[i].last > r->ranges[last].last) r->ranges[last].last = r->ranges[i].last;
        } else {
            r->ranges[++last] = r->ranges[i];
        }
    }
    r->range_count = last + 1;
    r->bytes += spec->scrub_count * sizeof *r->ranges;
    return MDC_OK;
}

/* ---- patterns ---- */

static int by_bytes(const void *left, const void *right) {
    const mdc_bytes *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

/* Each pattern once, into the pool. */
static mdc_status gather(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    size_t count = spec->pattern_count, total = 0;
    mdc_bytes *sorted = mdc_alloc(count, sizeof *sorted, err);
    if (sorted == NULL) return err->code;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = spec->patterns[i];
        total += sorted[i].size;
    }
    if (count > 0) qsort(sorted, count, sizeof *sorted, by_bytes);
    r->pool = mdc_alloc(total, 1, err);
    r->start = mdc_alloc(count + 1, sizeof *r->start, err);
    if (r->pool != NULL && r->start != NULL) {
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            if (i > 0 && by_bytes(&sorted[i - 1], &sorted[i]) == 0) continue;
            size_t size = sorted[i].size;
            memcpy(r->pool + at, sorted[i].data, size);
            at += size;
            r->start[++r->pattern_count] = at;
            if (r->shortest == 0 || size < r->shortest) r->shortest = size;
            if (size > r->longest) r->longest = size;
        }
        r->bytes += total + (count + 1) * sizeof *r->start;
    }
    mdc_dealloc(sorted);
    return r->pool != NULL && r->start != NULL ? MDC_OK : err->code;
}

typedef struct hashed {
    uint32_t bucket;
    mdc_window window;
} hashed;

static int by_bucket(const void *left, const void *right) {
    const hashed *a = left, *b = right;
    if (a->bucket != b->bucket) return a->bucket < b->bucket ? -1 : 1;
    if (a->window.offset != b->window.offset) return a->window.offset > b->window.offset ? -1 : 1;
    return a->window.pattern < b->window.pattern ? -1 : a->window.pattern > b->window.pattern;
}

static uint32_t bits_for(size_t count) {
    uint32_t bits = 0;
    while (((size_t)1 << bits) < count) bits++;
    return bits;
}

static uint32_t clamp(uint32_t value, uint32_t least, uint32_t most) {
    return value < least ? least : value > most ? most : value;
}

static uint32_t window_of(const mdc_redactor *r, size_t pattern, size_t offset) {
    uint32_t window = 0;
    size_t size = r->window_mask == UINT32_MAX ? 4 : 3;
    memcpy(&window, r->pool + r->start[pattern] + offset, size);
    return window;
}

static void fill_tables(mdc_redactor *r, hashed *all, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < r->pattern_count; i++)
        for (size_t k = 0; k < r->stride; k++) {
            uint32_t window = window_of(r, i, k), hash = mdc_window_hash(window);
            mdc_set_bit(r->bitmap, hash >> r->bitmap_shift);
            all[n++] = (hashed){hash >> (32 - r->bucket_bits), {window, (uint16_t)i, (uint16_t)k}};
        }
    qsort(all, count, sizeof *all, by_bucket);
    uint32_t bucket = 0, buckets = UINT32_C(1) << r->bucket_bits;
    for (size_t i = 0; i < count; i++) {
        r->windows[i] = all[i].window;
        while (bucket <= all[i].bucket) r->bucket[bucket++] = (uint32_t)i;
    }
    while (bucket <= buckets) r->bucket[bucket++] = (uint32_t)count;
}

static mdc_status make_patterns(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    if (gather(r, spec, err) != MDC_OK) return err->code;
    if (r->pattern_count == 0) return MDC_OK;
    size_t window = r->shortest >= LONG_WINDOW ? 4 : 3, most = WINDOWS_MAX / r->pattern_count;
    r->window_mask = window == 4 ? UINT32_MAX : UINT32_C(0xFFFFFF);
    r->stride = r->shortest - window + 1;
    if (r->stride > STRIDE_MAX) r->stride = STRIDE_MAX;
    if (r->stride > most) r->stride = most; /* at least 8: WINDOWS_MAX / PATTERNS_MAX */
    size_t count = r->pattern_count * r->stride;
    uint32_t bits = bits_for(count);
    uint32_t bitmap_bits = clamp(bits + 5, 12, 20); /* at most one place in 32 is marked */
    r->bitmap_shift = 32 - bitmap_bits;
    r->bucket_bits = clamp(bits, 4, 16);
    r->bitmap = mdc_alloc((size_t)1 << (bitmap_bits - 6), sizeof *r->bitmap, err);
    r->bucket = mdc_alloc(((size_t)1 << r->bucket_bits) + 1, sizeof *r->bucket, err);
    r->windows = mdc_alloc(count, sizeof *r->windows, err);
    hashed *all = mdc_alloc(count, sizeof *all, err);
    bool enough = r->bitmap != NULL && r->bucket != NULL && r->windows != NULL && all != NULL;
    if (enough) {
        fill_tables(r, all, count);
        r->bytes += ((uint64_t)1 << (bitmap_bits - 3)) + ((((uint64_t)1 << r->bucket_bits) + 1) * sizeof *r->bucket) +
                    count * sizeof *r->windows;
    }
    mdc_dealloc(all);
    return enough ? MDC_OK : err->code;
}

/* ---- variables ---- */

static void copy_globs(mdc_redactor *r, const mdc_bytes *from, size_t count, mdc_environ_globs *to, size_t *at) {
    to->count = count;
    for (size_t i = 0; i < count; i++) {
        to->globs[i] = (mdc_pool_glob){*at, from[i].size};
        if (from[i].size > 0) memcpy(r->glob_pool + *at, from[i].data, from[i].size);
        *at += from[i].size;
    }
}

static mdc_status make_globs(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    size_t size = 0, at = 0;
    for (size_t i = 0; i < spec->environ_keep_count; i++) size += spec->environ_keep[i].size;
    for (size_t i = 0; i < spec->environ_drop_count; i++) size += spec->environ_drop[i].size;
    r->glob_pool = mdc_alloc(size, 1, err);
    r->keep.globs = mdc_alloc(spec->environ_keep_count, sizeof *r->keep.globs, err);
    r->drop.globs = mdc_alloc(spec->environ_drop_count, sizeof *r->drop.globs, err);
    if (r->glob_pool == NULL || r->keep.globs == NULL || r->drop.globs == NULL) return err->code;
    copy_globs(r, spec->environ_keep, spec->environ_keep_count, &r->keep, &at);
    copy_globs(r, spec->environ_drop, spec->environ_drop_count, &r->drop, &at);
    r->bytes += size + (spec->environ_keep_count + spec->environ_drop_count) * sizeof(mdc_pool_glob);
    return MDC_OK;
}

mdc_status mdc_redactor_new(const mdc_filter_spec *spec, mdc_redactor **made, mdc_error *err) {
    *made = NULL;
    if (check(spec, err) != MDC_OK) return err->code;
    bool any = spec->scrub_count != 0 || spec->pattern_count != 0 || spec->sanitize_stacks != 0 ||
               spec->environ_keep_count != 0 || spec->environ_drop_count != 0;
    if (!any) return MDC_OK;
    mdc_redactor *r = mdc_alloc(1, sizeof *r, err);
    if (r == NULL) return err->code;
    r->bytes = sizeof *r;
    r->sanitize = spec->sanitize_stacks != 0;
    r->fill = mdc_fill_of(spec);
    if (make_ranges(r, spec, err) != MDC_OK || make_patterns(r, spec, err) != MDC_OK ||
        make_globs(r, spec, err) != MDC_OK) {
        mdc_redactor_free(r);
        return err->code;
    }
    *made = r;
    return MDC_OK;
}

void mdc_redactor_free(mdc_redactor *r) {
    if (r == NULL) return;
    void *blocks[] = {r->bitmap, r->bucket,    r->windows,    r->pool,      r->start,
                      r->ranges, r->glob_pool, r->keep.globs, r->drop.globs};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) mdc_dealloc(blocks[i]);
    mdc_dealloc(r);
}

uint64_t mdc_redactor_bytes(const mdc_redactor *r) { return r != NULL ? r->bytes : 0; }
