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

/* What is known of the bytes of a set, so that no byte is looked at again for every occurrence before it: all units of
 * [first, end) are in the set. One for each set, and for units of two bytes one for each parity of their places. */
typedef struct known_run {
    size_t first;
    size_t end;
} known_run;

typedef struct search {
    pending wait;
    known_run runs[MDC_TAIL_SETS_MAX][2];
} search;

static bool has(const mdc_tail_set *set, uint8_t byte) { return (set->bytes[byte >> 6] >> (byte & 63) & 1) != 0; }

/* Where the tail that begins at `first` ends. */
static size_t tail_end(const mdc_redactor *r, const mdc_pattern_end *tail, const uint8_t *bytes, size_t size,
                       size_t first, search *s) {
    const mdc_tail_set *set = &r->sets[tail->set];
    size_t unit = set->wide != 0 ? 2 : 1, stop = size - first < tail->most ? size : first + tail->most;
    known_run *run = &s->runs[tail->set][first & (unit - 1)];
    /* Of patterns that begin at one place the longer ones come first: what is known may begin in what is not. */
    bool known = first >= run->first && first <= run->end;
    size_t at = known ? run->end : first, met = first < run->first ? run->first : SIZE_MAX;
    while (at < stop && stop - at >= unit && has(set, bytes[at]) && (unit == 1 || bytes[at + 1] == 0)) {
        at += unit;
        if (at == met) at = run->end;
    }
    *run = (known_run){known ? run->first : first, at};
    return at < stop ? at : stop - (stop - first) % unit;
}

static size_t length_of(const mdc_redactor *r, uint32_t number) {
    return number == 0 ? 0 : r->start[number] - r->start[number - 1];
}

/* The longest of at most so many bytes, of a pattern and those it begins with. */
static uint32_t prefix_of(const mdc_redactor *r, uint32_t number, size_t most) {
    while (length_of(r, number) > most) {
        const mdc_prefixes *prefixes = &r->prefixes[number];
        number = length_of(r, prefixes->jump) > most ? prefixes->jump : prefixes->parent;
    }
    return number;
}

/* The longest pattern of a window that the text begins with; 0: none. All others it begins with are prefixes of that.
 */
static uint32_t longest_of(const mdc_redactor *r, const mdc_window *window, const uint8_t *text, size_t size) {
    const mdc_member *members = r->members + window->first;
    /* low: not after the text, high: after it; members count from 1, and what they have in common with the text */
    size_t low = 0, high = window[1].first - window->first + 1, at_low = 0, at_high = 0;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        const mdc_member *member = &members[middle - 1];
        bool by_low = at_low >= at_high, after;
        size_t known = by_low ? at_low : at_high, shared = by_low ? member->low : member->high, same = known;
        if (shared > known) {
            after = by_low; /* as that end does, it differs from the text there */
        } else if (shared < known) {
            after = !by_low; /* it differs from that end where the text does not */
            same = shared;
        } else {
            const uint8_t *pattern = r->pool + r->start[member->pattern - 1];
            size_t length = length_of(r, member->pattern), most = length < size ? length : size;
            same += mdc_common(text + known, pattern + known, most - known);
            after = same == length || (same < size && text[same] > pattern[same]);
        }
        if (after) {
            low = middle;
            at_low = same;
        } else {
            high = middle;
            at_high = same;
        }
    }
    return low == 0 ? 0 : prefix_of(r, members[low - 1].pattern, at_low);
}

/* Hides every pattern that begins at `first` and has the window. */
static MDC_OUTLINE void hide_at(const mdc_redactor *r, const mdc_window *window, uint8_t *bytes, size_t size,
                                size_t first, size_t fresh, search *s, mdc_redact_counts *counts) {
    uint32_t longest = longest_of(r, window, bytes + first, size - first);
    if (longest == 0) return;
    const mdc_prefixes *prefixes = r->prefixes;
    pending *wait = &s->wait;
    size_t end = first + length_of(r, longest);
    counts->hits += prefixes[longest].plain;
    if (first < fresh) counts->hits -= prefixes[prefix_of(r, longest, fresh - first)].plain;
    for (uint32_t i = prefixes[longest].tailed; i != 0; i = prefixes[prefixes[i].parent].tailed) {
        size_t with = tail_end(r, &r->ends[i - 1], bytes, size, first + length_of(r, i), s);
        counts->hits += with > fresh;
        if (with > end) end = with;
    }
    if (first > wait->end) {
        overwrite(r, bytes, wait->first, wait->end, fresh, counts);
        *wait = (pending){first, end};
    } else if (end > wait->end) {
        wait->end = end;
    }
}

static MDC_COLD void verify(const mdc_redactor *r, uint8_t *bytes, size_t size, size_t at, uint32_t window,
                            size_t fresh, search *s, mdc_redact_counts *counts) {
    uint32_t bucket = mdc_window_hash(window) >> (32 - r->bucket_bits);
    const size_t end = r->bucket[bucket + 1];
    size_t i;
    mdc_lower_bound(i, r->bucket[bucket], end, r->windows[i].window < window);
    for (; i < end && r->windows[i].window == window; i++)
        if (r->windows[i].offset <= at)
            hide_at(r, &r->windows[i], bytes, size, at - r->windows[i].offset, fresh, s, counts);
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
    search s;
    s.wait = (pending){0, 0};
    memset(s.runs, 0, r->set_count * sizeof s.runs[0]);
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
                verify(r, bytes, size, place, window_at(bytes + place, mask), fresh, &s, counts);
                hit &= hit - 1;
            }
        }
    }
    for (; at <= last; at += stride) {
        uint32_t window = window_at(bytes + at, mask);
        if (marked(bitmap, shift, window)) verify(r, bytes, size, at, window, fresh, &s, counts);
    }
    if (mask != UINT32_MAX && at + 3 <= size) { /* the last window of 3 bytes */
        uint32_t window = window_at(bytes + size - 4, UINT32_MAX) >> 8;
        verify(r, bytes, size, at, window, fresh, &s, counts);
    }
    overwrite(r, bytes, s.wait.first, s.wait.end, fresh, counts);
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

bool mdc_redact_everywhere(const mdc_redactor *r) { return r->everywhere; }

const mdc_redactor *mdc_filter_redactor(const mdc_filter *filter) {
    const mdc_redactor *r = filter->redactor;
    return r != NULL && (r->pattern_count != 0 || r->range_count != 0 || r->sanitize || r->everywhere) ? r : NULL;
}

uint64_t mdc_filter_hold(const mdc_filter *filter) {
    const mdc_redactor *r = mdc_filter_redactor(filter);
    if (r == NULL) return 0;
    uint64_t hold = r->longest != 0 ? r->longest - 1 : 0;
    if (r->everywhere && hold < MDC_VALUE_PIECE - 1) hold = MDC_VALUE_PIECE - 1;
    return r->sanitize && hold < 7 ? 7 : hold; /* a word may lie across two reads */
}

static bool any_matches(const mdc_redactor *r, const mdc_environ_globs *globs, bool nocase, const uint8_t *name,
                        size_t size) {
    for (size_t i = 0; i < globs->count; i++) {
        const mdc_pool_glob *glob = &globs->globs[i];
        /* A target may have millions of variables with short names. */
        if (size >= glob->least && mdc_glob_match(r->glob_pool + glob->at, glob->size, nocase, name, size)) return true;
    }
    return false;
}

bool mdc_filter_decides_environ(const mdc_filter *filter) {
    const mdc_redactor *r = filter->redactor;
    return r != NULL && (r->keep.count != 0 || r->drop.count != 0);
}

bool mdc_filter_drops_variable(const mdc_filter *filter, const uint8_t *name, size_t size) {
    const mdc_redactor *r = filter->redactor;
    return r != NULL && any_matches(r, &r->drop, filter->nocase != 0, name, size);
}

bool mdc_filter_hides_variable(const mdc_filter *filter, const uint8_t *name, size_t size) {
    const mdc_redactor *r = filter->redactor;
    if (!mdc_filter_decides_environ(filter)) return false;
    bool nocase = filter->nocase != 0;
    if (r->keep.count != 0 && !any_matches(r, &r->keep, nocase, name, size)) return true;
    return any_matches(r, &r->drop, nocase, name, size);
}
