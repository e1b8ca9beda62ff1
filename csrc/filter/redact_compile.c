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
    SPAN_MAX = MDC_PATTERN_SPAN_MAX,
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
        const mdc_pattern_tail *tail = spec->tails != NULL ? &spec->tails[i] : NULL;
        if (tail == NULL || tail->up_to == 0) continue;
        if (tail->wide > 1) return bad(err, "pattern", i, "wide is 0 or 1");
        if (tail->up_to > (SPAN_MAX - pattern->size) >> tail->wide)
            return bad(err, "pattern", i, "with its tail it is longer than 16384 bytes");
    }
    if (spec->values_everywhere > 1 || spec->reserved != 0)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "values_everywhere is 0 or 1");
    if (spec->values_everywhere != 0 && spec->environ_keep_count == 0 && spec->environ_drop_count == 0)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0,
                        "values_everywhere needs variables to keep or to drop");
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

/* A pattern as it is given. */
typedef struct given {
    mdc_bytes bytes;
    mdc_pattern_tail tail; /* all 0: none */
} given;

static int by_bytes(const void *left, const void *right) {
    const given *a = left, *b = right;
    size_t size = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
    int order = memcmp(a->bytes.data, b->bytes.data, size);
    if (order == 0) order = a->bytes.size < b->bytes.size ? -1 : a->bytes.size > b->bytes.size;
    return order != 0 ? order : memcmp(&a->tail, &b->tail, sizeof a->tail); /* it has no padding */
}

/* Numbers the set of a tail. */
static mdc_status set_of(mdc_redactor *r, const mdc_pattern_tail *tail, uint16_t *number, mdc_error *err) {
    for (size_t i = 0; i < r->set_count; i++) {
        const mdc_tail_set *set = &r->sets[i];
        if (set->wide != tail->wide || memcmp(set->bytes, tail->bytes, sizeof set->bytes) != 0) continue;
        *number = (uint16_t)i;
        return MDC_OK;
    }
    if (r->set_count == MDC_TAIL_SETS_MAX)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "tails of patterns have more than %d distinct sets",
                        (int)MDC_TAIL_SETS_MAX);
    mdc_tail_set *set = &r->sets[r->set_count];
    memcpy(set->bytes, tail->bytes, sizeof set->bytes);
    set->wide = tail->wide;
    *number = (uint16_t)r->set_count++;
    return MDC_OK;
}

static mdc_status add_pattern(mdc_redactor *r, const given *pattern, mdc_error *err) {
    size_t size = pattern->bytes.size, at = r->start[r->pattern_count];
    mdc_pattern_end *end = &r->ends[r->pattern_count];
    if (pattern->tail.up_to != 0) {
        if (set_of(r, &pattern->tail, &end->set, err) != MDC_OK) return err->code;
        end->most = (uint16_t)(pattern->tail.up_to << pattern->tail.wide); /* at most SPAN_MAX */
    }
    memcpy(r->pool + at, pattern->bytes.data, size);
    r->start[++r->pattern_count] = at + size;
    if (r->shortest == 0 || size < r->shortest) r->shortest = size;
    if (size + end->most > r->longest) r->longest = size + end->most;
    return MDC_OK;
}

static size_t length_of(const mdc_redactor *r, size_t number) { return r->start[number] - r->start[number - 1]; }

/* How many bytes two patterns begin with. */
static size_t common(const mdc_redactor *r, size_t a, size_t b) {
    size_t of_a = length_of(r, a), of_b = length_of(r, b);
    return mdc_common(r->pool + r->start[a - 1], r->pool + r->start[b - 1], of_a < of_b ? of_a : of_b);
}

/* In the order of their bytes, what a pattern begins with comes before it: it is the one before, or one that this
 * begins with. */
static void link_prefixes(mdc_redactor *r) {
    mdc_prefixes *all = r->prefixes;
    for (size_t i = 1; i <= r->pattern_count; i++) {
        size_t parent = i - 1;
        while (parent != 0 && common(r, parent, i) < length_of(r, parent)) parent = all[parent].parent;
        const mdc_prefixes *up = &all[parent], *over = &all[up->jump];
        bool tailed = r->ends[i - 1].most != 0;
        /* Jumps of equal length, one after the other, become one: Myers, "An applicative random-access stack". */
        bool joined = up->depth - over->depth == over->depth - all[over->jump].depth;
        all[i] = (mdc_prefixes){.parent = (uint16_t)parent,
                                .jump = joined ? over->jump : (uint16_t)parent,
                                .depth = (uint16_t)(up->depth + 1),
                                .plain = (uint16_t)(up->plain + !tailed),
                                .tailed = tailed ? (uint16_t)i : up->tailed};
    }
}

/* Each pattern once, into the pool. */
static mdc_status gather(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    size_t count = spec->pattern_count, total = 0;
    given *sorted = mdc_alloc(count, sizeof *sorted, err);
    if (sorted == NULL) return err->code;
    for (size_t i = 0; i < count; i++) {
        sorted[i].bytes = spec->patterns[i];
        if (spec->tails != NULL && spec->tails[i].up_to != 0) sorted[i].tail = spec->tails[i];
        total += sorted[i].bytes.size;
    }
    if (count > 0) qsort(sorted, count, sizeof *sorted, by_bytes);
    r->pool = mdc_alloc(total, 1, err);
    r->start = mdc_alloc(count + 1, sizeof *r->start, err);
    r->ends = mdc_alloc(count, sizeof *r->ends, err);
    r->sets = mdc_alloc(MDC_TAIL_SETS_MAX, sizeof *r->sets, err);
    r->prefixes = mdc_alloc(count + 1, sizeof *r->prefixes, err);
    bool enough = r->pool != NULL && r->start != NULL && r->ends != NULL && r->sets != NULL && r->prefixes != NULL;
    mdc_status status = enough ? MDC_OK : err->code;
    for (size_t i = 0; status == MDC_OK && i < count; i++)
        if (i == 0 || by_bytes(&sorted[i - 1], &sorted[i]) != 0) status = add_pattern(r, &sorted[i], err);
    if (status == MDC_OK) link_prefixes(r);
    r->bytes += total + count * (sizeof *r->start + sizeof *r->ends + sizeof *r->prefixes) +
                MDC_TAIL_SETS_MAX * sizeof *r->sets;
    mdc_dealloc(sorted);
    return status;
}

/* One window of one pattern. */
typedef struct hashed {
    uint32_t bucket;
    uint32_t window;
    uint16_t offset;
    uint16_t pattern; /* from 1 */
} hashed;

static int by_window(const hashed *a, const hashed *b) {
    if (a->bucket != b->bucket) return a->bucket < b->bucket ? -1 : 1;
    if (a->window != b->window) return a->window < b->window ? -1 : 1;
    return a->offset > b->offset ? -1 : a->offset < b->offset;
}

static int by_bucket(const void *left, const void *right) {
    const hashed *a = left, *b = right;
    int order = by_window(a, b);
    return order != 0 ? order : a->pattern < b->pattern ? -1 : a->pattern > b->pattern;
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

/* What the members between two others have in common with both, as longest_of bisects; members count from 1. */
static void compare_members(const mdc_redactor *r, mdc_member *members, size_t low, size_t high, size_t count) {
    if (high - low < 2) return;
    size_t middle = low + (high - low) / 2, pattern = members[middle - 1].pattern;
    if (low != 0) members[middle - 1].low = (uint16_t)common(r, members[low - 1].pattern, pattern);
    if (high <= count) members[middle - 1].high = (uint16_t)common(r, members[high - 1].pattern, pattern);
    compare_members(r, members, low, middle, count); /* as deep as a number of patterns has bits */
    compare_members(r, members, middle, high, count);
}

static void fill_tables(mdc_redactor *r, hashed *all, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < r->pattern_count; i++)
        for (size_t k = 0; k < r->stride; k++) {
            uint32_t window = window_of(r, i, k), hash = mdc_window_hash(window);
            mdc_set_bit(r->bitmap, hash >> r->bitmap_shift);
            all[n++] = (hashed){hash >> (32 - r->bucket_bits), window, (uint16_t)k, (uint16_t)(i + 1)};
        }
    qsort(all, count, sizeof *all, by_bucket);
    uint32_t bucket = 0, buckets = UINT32_C(1) << r->bucket_bits, windows = 0;
    for (size_t i = 0; i < count; i++) {
        r->members[i].pattern = all[i].pattern;
        if (i > 0 && by_window(&all[i - 1], &all[i]) == 0) continue;
        while (bucket <= all[i].bucket) r->bucket[bucket++] = windows;
        r->windows[windows++] = (mdc_window){all[i].window, (uint32_t)i, all[i].offset};
    }
    while (bucket <= buckets) r->bucket[bucket++] = windows;
    r->windows[windows].first = (uint32_t)count;
    for (uint32_t i = 0; i < windows; i++) {
        size_t first = r->windows[i].first, members = r->windows[i + 1].first - first;
        compare_members(r, r->members + first, 0, members + 1, members);
    }
}

static mdc_status make_patterns(mdc_redactor *r, const mdc_filter_spec *spec, mdc_error *err) {
    if (gather(r, spec, err) != MDC_OK) return err->code;
    if (r->pattern_count == 0) return MDC_OK;
    size_t window = r->shortest >= LONG_WINDOW ? 4 : 3, most = WINDOWS_MAX / r->pattern_count;
    r->window_mask = window == 4 ? UINT32_MAX : UINT32_C(0xFFFFFF);
    r->stride = r->shortest - window + 1;
    if (r->stride > STRIDE_MAX) r->stride = STRIDE_MAX;
    if (r->stride > most) r->stride = most; /* at least 4: a filter's patterns and as many values */
    size_t count = r->pattern_count * r->stride;
    uint32_t bits = bits_for(count);
    uint32_t bitmap_bits = clamp(bits + 5, 12, 20); /* at most one place in 32 is marked */
    r->bitmap_shift = 32 - bitmap_bits;
    r->bucket_bits = clamp(bits, 4, 16);
    r->bitmap = mdc_alloc((size_t)1 << (bitmap_bits - 6), sizeof *r->bitmap, err);
    r->bucket = mdc_alloc(((size_t)1 << r->bucket_bits) + 1, sizeof *r->bucket, err);
    r->windows = mdc_alloc(count + 1, sizeof *r->windows, err); /* the last one is only where members end */
    r->members = mdc_alloc(count, sizeof *r->members, err);
    hashed *all = mdc_alloc(count, sizeof *all, err);
    bool enough = r->bitmap != NULL && r->bucket != NULL && r->windows != NULL && r->members != NULL && all != NULL;
    if (enough) {
        fill_tables(r, all, count);
        r->bytes += ((uint64_t)1 << (bitmap_bits - 3)) + ((((uint64_t)1 << r->bucket_bits) + 1) * sizeof *r->bucket) +
                    (count + 1) * sizeof *r->windows + count * sizeof *r->members;
    }
    mdc_dealloc(all);
    return enough ? MDC_OK : err->code;
}

/* ---- variables ---- */

static void copy_globs(mdc_redactor *r, const mdc_bytes *from, size_t count, mdc_environ_globs *to, size_t *at) {
    to->count = count;
    for (size_t i = 0; i < count; i++) {
        to->globs[i] = (mdc_pool_glob){*at, from[i].size, mdc_glob_least(from[i].data, from[i].size)};
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
    r->everywhere = spec->values_everywhere != 0;
    r->fill = mdc_fill_of(spec);
    if (make_ranges(r, spec, err) != MDC_OK || make_patterns(r, spec, err) != MDC_OK ||
        make_globs(r, spec, err) != MDC_OK) {
        mdc_redactor_free(r);
        return err->code;
    }
    *made = r;
    return MDC_OK;
}

/* What of a spec makes the patterns of `base`, and after them `more`. */
static mdc_status list_patterns(const mdc_redactor *base, const mdc_bytes *more, size_t count, mdc_bytes *patterns,
                                mdc_pattern_tail *tails, mdc_error *err) {
    for (size_t i = 0; i < base->pattern_count; i++) {
        const mdc_pattern_end *end = &base->ends[i];
        patterns[i] = (mdc_bytes){base->pool + base->start[i], base->start[i + 1] - base->start[i]};
        if (end->most == 0) continue;
        const mdc_tail_set *set = &base->sets[end->set];
        memcpy(tails[i].bytes, set->bytes, sizeof tails[i].bytes);
        tails[i].wide = set->wide;
        tails[i].up_to = (uint32_t)end->most >> set->wide;
    }
    for (size_t i = 0; i < count; i++) {
        if (more[i].size < PATTERN_MIN || more[i].size > PATTERN_MAX)
            return bad(err, "value", i, "it cannot be a pattern");
        patterns[base->pattern_count + i] = more[i];
    }
    return MDC_OK;
}

mdc_status mdc_redactor_extend(const mdc_redactor *base, const mdc_bytes *patterns, size_t count, mdc_redactor **made,
                               mdc_error *err) {
    *made = NULL;
    if (count > MDC_VALUES_MAX)
        return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0,
                        "%zu values are more than the %d that can be searched", count, (int)MDC_VALUES_MAX);
    size_t all = base->pattern_count + count;
    mdc_bytes *list = mdc_alloc(all, sizeof *list, err);
    mdc_pattern_tail *tails = mdc_alloc(all, sizeof *tails, err);
    mdc_redactor *r = mdc_alloc(1, sizeof *r, err);
    mdc_status status = list != NULL && tails != NULL && r != NULL ? MDC_OK : err->code;
    if (status == MDC_OK) {
        r->bytes = sizeof *r;
        r->sanitize = base->sanitize;
        r->everywhere = base->everywhere;
        r->fill = base->fill;
        status = list_patterns(base, patterns, count, list, tails, err);
    }
    mdc_filter_spec spec = {.patterns = list, .tails = tails, .pattern_count = all};
    if (status == MDC_OK) status = make_patterns(r, &spec, err);
    if (status == MDC_OK) {
        r->ranges = mdc_alloc(base->range_count, sizeof *r->ranges, err);
        if (r->ranges == NULL) status = err->code;
    }
    if (status == MDC_OK && base->range_count != 0) {
        memcpy(r->ranges, base->ranges, base->range_count * sizeof *r->ranges);
        r->range_count = base->range_count;
        r->bytes += base->range_count * sizeof *r->ranges;
    }
    mdc_dealloc(list);
    mdc_dealloc(tails);
    if (status == MDC_OK)
        *made = r;
    else
        mdc_redactor_free(r);
    return status;
}

void mdc_redactor_free(mdc_redactor *r) {
    if (r == NULL) return;
    void *blocks[] = {r->bitmap,   r->bucket, r->windows, r->members,   r->pool,       r->start,     r->ends,
                      r->prefixes, r->sets,   r->ranges,  r->glob_pool, r->keep.globs, r->drop.globs};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) mdc_dealloc(blocks[i]);
    mdc_dealloc(r);
}

uint64_t mdc_redactor_bytes(const mdc_redactor *r) { return r != NULL ? r->bytes : 0; }
