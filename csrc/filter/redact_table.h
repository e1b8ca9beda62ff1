/* The compiled redaction: what redact_compile.c makes and redact.c reads. Private to filter/. */
#ifndef MDC_FILTER_REDACT_TABLE_H
#define MDC_FILTER_REDACT_TABLE_H

#include <string.h>

#include "../base/failpoint.h"
#include "redact.h"

/* A window that patterns have at one offset: a place the search may land on. Sorted by bucket, in it by the window,
 * then by falling offset: occurrences found at one place come in rising order of their beginnings. */
typedef struct mdc_window {
    uint32_t window; /* its bytes, little endian */
    uint32_t first;  /* of its patterns in `members`, which end where those of the next window begin */
    uint16_t offset; /* in each of them */
} mdc_window;

/* A pattern of a window. They are sorted by their bytes and searched by bisection, in which each is the middle of one
 * interval. Known beforehand: how many bytes it has in common with the members at both ends of that interval, so that
 * no byte of the text is compared twice (as in Manber and Myers' suffix arrays). */
typedef struct mdc_member {
    uint16_t pattern; /* its number, from 1 */
    uint16_t low;     /* bytes; 0 where there is no member at that end */
    uint16_t high;
} mdc_member;

/* The patterns that a pattern begins with: where it occurs they do too. Numbers are from 1; 0 is the empty one, which
 * all begin with. */
typedef struct mdc_prefixes {
    uint16_t parent; /* the longest of them; it may be the same bytes with another tail */
    uint16_t jump;   /* one further up: each of them is reached in a logarithmic number of steps */
    uint16_t depth;  /* how many, itself included */
    uint16_t plain;  /* how many of these have no tail */
    uint16_t tailed; /* the longest of these that has one */
} mdc_prefixes;

typedef struct mdc_tail_set {
    uint64_t bytes[4];
    uint32_t wide;
} mdc_tail_set;

/* What follows a pattern: at most `most` bytes of a set; 0: nothing. */
typedef struct mdc_pattern_end {
    uint16_t set;
    uint16_t most;
} mdc_pattern_end;

typedef struct mdc_scrub_range {
    uint64_t first;
    uint64_t last; /* inclusive */
} mdc_scrub_range;

typedef struct mdc_pool_glob {
    size_t at; /* in glob_pool */
    size_t size;
    size_t least; /* bytes of a name that matches */
} mdc_pool_glob;

typedef struct mdc_environ_globs {
    mdc_pool_glob *globs;
    size_t count;
} mdc_environ_globs;

struct mdc_redactor {
    /* What the search touches. */
    uint64_t *bitmap; /* by the upper bits of the hash */
    uint32_t *bucket; /* 2**bucket_bits + 1, into windows */
    mdc_window *windows;
    mdc_member *members;
    uint8_t *pool; /* the patterns, concatenated, in the order of their bytes */
    size_t *start; /* pattern_count + 1, into pool */
    mdc_pattern_end *ends;
    mdc_prefixes *prefixes; /* pattern_count + 1: by number from 1 */
    mdc_tail_set *sets;     /* of bytes, of tails */
    size_t pattern_count;
    size_t shortest;  /* bytes */
    size_t longest;   /* bytes, with the tail; 0 without patterns */
    size_t set_count; /* at most MDC_TAIL_SETS_MAX */
    size_t stride;
    uint32_t bitmap_shift; /* 32 - bits of an index into bitmap */
    uint32_t bucket_bits;
    uint32_t window_mask; /* 3 bytes or all 4 */
    uint8_t fill;
    bool sanitize;
    bool everywhere; /* values of hidden variables are patterns too: mdc_redactor_extend */

    mdc_scrub_range *ranges; /* sorted, disjoint */
    size_t range_count;

    mdc_environ_globs keep, drop;
    uint8_t *glob_pool;
    uint64_t bytes; /* that all of it occupies */
};

static inline uint8_t mdc_fill_of(const mdc_filter_spec *spec) {
    return spec->fill != 0 ? (uint8_t)spec->fill : (uint8_t)'X';
}

/* Fibonacci hashing: the upper bits depend on all bytes. */
static inline uint32_t mdc_window_hash(uint32_t window) { return window * UINT32_C(0x9E3779B1); }

/* How many bytes both begin with, at most `size`. */
static inline size_t mdc_common(const uint8_t *a, const uint8_t *b, size_t size) {
    size_t at = 0;
    for (size_t step = 256; step > 0; step /= 16) { /* blocks, parts of a block, bytes: memcmp does not say where */
        while (size - at >= step && memcmp(a + at, b + at, step) == 0) {
            (void)MDC_FAILPOINT("redact:compare");
            at += step;
        }
        (void)MDC_FAILPOINT("redact:compare");
    }
    return at;
}

#endif
