/* Scrubbing in place (see redact.h): the hot part. */
#include "redact.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "bits.h"
#include "glob.h"
#include "redact_table.h"
#include "table.h"

/* What was found and is not overwritten yet: [first, end). Later occurrences may begin in it, so it waits until one
 * begins after it. */
typedef struct pending {
    size_t first;
    size_t end;
} pending;

static void overwrite(const mdc_redactor *r, uint8_t *bytes, size_t first, size_t end, size_t fresh,
                      mdc_redact_counts *counts) {
    if (end <= first) return;
    memset(bytes + first, r->fill, end - first);
    if (end > fresh) counts->bytes += end - (first > fresh ? first : fresh);
}

static MDC_COLD void verify(const mdc_redactor *r, uint8_t *bytes, size_t size, size_t at, uint32_t window,
                            size_t fresh, pending *wait, mdc_redact_counts *counts) {
    uint32_t bucket = mdc_window_hash(window) >> (32 - r->bucket_bits);
    for (uint32_t i = r->bucket[bucket]; i < r->bucket[bucket + 1]; i++) {
        const mdc_window *entry = &r->windows[i];
        if (entry->window != window || entry->offset > at) continue;
        const uint8_t *pattern = r->pool + r->start[entry->pattern];
        size_t length = r->start[entry->pattern + 1] - r->start[entry->pattern], first = at - entry->offset;
        if (length > size - first || memcmp(bytes + first, pattern, length) != 0) continue;
        size_t end = first + length;
        counts->hits += end > fresh;
        if (first > wait->end) {
            overwrite(r, bytes, wait->first, wait->end, fresh, counts);
            *wait = (pending){first, end};
        } else if (end > wait->end) {
            wait->end = end;
        }
    }
}

MDC_HOT uint32_t window_at(const uint8_t *bytes, uint32_t mask) {
    uint32_t window;
    memcpy(&window, bytes, sizeof window);
    return window & mask;
}

MDC_HOT uint32_t marked(const uint64_t *bitmap, uint32_t shift, uint32_t window) {
    uint32_t hash = mdc_window_hash(window) >> shift;
    return (uint32_t)(bitmap[hash >> 6] >> (hash & 63)) & 1;
}

void mdc_redact_patterns(const mdc_redactor *r, uint8_t *bytes, size_t size, size_t fresh, mdc_redact_counts *counts) {
    if (r->pattern_count == 0 || size < r->shortest) return;
    const uint64_t *bitmap = r->bitmap;
    uint32_t shift = r->bitmap_shift, mask = r->window_mask;
    size_t stride = r->stride, at = 0, last = size - sizeof(uint32_t); /* size is at least the shortest: 4 */
    pending wait = {0, 0};
    /* Eight looks at once: they do not depend on each other, and mostly all of them say no. */
    if (size / 8 >= stride + 1) {
        size_t block = stride * 8, stop = size - stride * 7 - sizeof(uint32_t);
        for (; at <= stop; at += block) {
            const uint8_t *p = bytes + at;
            uint32_t hit = 0;
            hit |= marked(bitmap, shift, window_at(p, mask)) | marked(bitmap, shift, window_at(p + stride, mask)) << 1;
            p += 2 * stride;
            hit |= marked(bitmap, shift, window_at(p, mask)) << 2 | marked(bitmap, shift, window_at(p + stride, mask))
                                                                        << 3;
            p += 2 * stride;
            hit |= marked(bitmap, shift, window_at(p, mask)) << 4 | marked(bitmap, shift, window_at(p + stride, mask))
                                                                        << 5;
            p += 2 * stride;
            hit |= marked(bitmap, shift, window_at(p, mask)) << 6 | marked(bitmap, shift, window_at(p + stride, mask))
                                                                        << 7;
            while (hit != 0) {
                size_t place = at + mdc_lowest_bit(hit) * stride;
                verify(r, bytes, size, place, window_at(bytes + place, mask), fresh, &wait, counts);
                hit &= hit - 1;
            }
        }
    }
    for (; at <= last; at += stride) {
        uint32_t window = window_at(bytes + at, mask);
        if (marked(bitmap, shift, window)) verify(r, bytes, size, at, window, fresh, &wait, counts);
    }
    if (mask != UINT32_MAX && at + 3 <= size) { /* the last window of 3 bytes */
        uint32_t window = window_at(bytes + size - 4, UINT32_MAX) >> 8;
        verify(r, bytes, size, at, window, fresh, &wait, counts);
    }
    overwrite(r, bytes, wait.first, wait.end, fresh, counts);
}

void mdc_redact_ranges(const mdc_redactor *r, uint64_t address, uint8_t *bytes, size_t size, size_t fresh,
                       mdc_redact_counts *counts) {
    if (r->range_count == 0 || size == 0) return;
    uint64_t last = address + (size - 1);
    if (last < address) last = UINT64_MAX; /* the address space ends there */
    size_t at;
    /* from the first that ends after the beginning */
    mdc_lower_bound(at, 0, r->range_count, r->ranges[at].last < address);
    for (; at < r->range_count && r->ranges[at].first <= last; at++) {
        uint64_t first = mdc_max_u64(r->ranges[at].first, address), end = mdc_min_u64(r->ranges[at].last, last);
        overwrite(r, bytes, (size_t)(first - address), (size_t)(end - address) + 1, fresh, counts);
    }
}

uint8_t mdc_filter_fill(const mdc_filter *filter) { return filter->fill; }

bool mdc_redact_sanitizes(const mdc_redactor *r) { return r->sanitize; }

const mdc_redactor *mdc_filter_redactor(const mdc_filter *filter) {
    const mdc_redactor *r = filter->redactor;
    return r != NULL && (r->pattern_count != 0 || r->range_count != 0 || r->sanitize) ? r : NULL;
}

uint64_t mdc_filter_hold(const mdc_filter *filter) {
    const mdc_redactor *r = mdc_filter_redactor(filter);
    if (r == NULL) return 0;
    uint64_t hold = r->longest != 0 ? r->longest - 1 : 0;
    return r->sanitize && hold < 7 ? 7 : hold; /* a word may lie across two reads */
}

static bool any_matches(const mdc_redactor *r, const mdc_environ_globs *globs, bool nocase, const uint8_t *name,
                        size_t size) {
    for (size_t i = 0; i < globs->count; i++)
        if (mdc_glob_match(r->glob_pool + globs->globs[i].at, globs->globs[i].size, nocase, name, size)) return true;
    return false;
}

bool mdc_filter_decides_environ(const mdc_filter *filter) {
    const mdc_redactor *r = filter->redactor;
    return r != NULL && (r->keep.count != 0 || r->drop.count != 0);
}

bool mdc_filter_hides_variable(const mdc_filter *filter, const uint8_t *name, size_t size) {
    const mdc_redactor *r = filter->redactor;
    if (!mdc_filter_decides_environ(filter)) return false;
    bool nocase = filter->nocase != 0;
    if (r->keep.count != 0 && !any_matches(r, &r->keep, nocase, name, size)) return true;
    return any_matches(r, &r->drop, nocase, name, size);
}
