/* The compiled redaction: what redact_compile.c makes and redact.c reads. Private to filter/. */
#ifndef MDC_FILTER_REDACT_TABLE_H
#define MDC_FILTER_REDACT_TABLE_H

#include "redact.h"

/* A place of a pattern that the search may land on. Sorted by bucket, in it by falling offset: occurrences found at
 * one place come in rising order of their beginnings. */
typedef struct mdc_window {
    uint32_t window;  /* its bytes, little endian */
    uint16_t pattern; /* number */
    uint16_t offset;  /* in the pattern */
} mdc_window;

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
    uint8_t *pool; /* the patterns, concatenated */
    size_t *start; /* pattern_count + 1, into pool */
    mdc_pattern_end *ends;
    mdc_tail_set *sets; /* of bytes, of tails */
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

#endif
