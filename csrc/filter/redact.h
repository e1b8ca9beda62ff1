/* Redaction: overwrites in a buffer what must not be seen. Addresses to scrub, byte patterns, and which variables of
 * the environment to hide; made once with the filter, then only read. The hot functions work in place, are pure, and
 * never allocate or change sizes.
 *
 * Patterns: every occurrence is overwritten, overlapping ones too: all are searched for in the bytes as given.
 * A tail is what follows an occurrence as long as it is in the set, whatever else was found there.
 * The search looks at one window of 3 or 4 bytes in every `stride` bytes. An occurrence of any pattern holds exactly
 * one such window in its first `stride` places, and those windows of all patterns are marked in a bitmap of hashes
 * that fits into the processor's inner caches: a buffer without hits costs one look at the bitmap per stride. */
#ifndef MDC_FILTER_REDACT_H
#define MDC_FILTER_REDACT_H

#include <stdbool.h>

#include "../api/filter.h"
#include "../base/sanitized.h"

typedef struct mdc_redactor mdc_redactor;

typedef struct mdc_redact_counts {
    uint64_t bytes; /* overwritten by ranges and patterns */
    uint64_t hits;  /* occurrences of patterns */
    uint64_t words; /* of stacks, replaced */
} mdc_redact_counts;

/* Checks and compiles; *made is NULL if the spec asks for no redaction. */
mdc_status mdc_redactor_new(const mdc_filter_spec *spec, mdc_redactor **made, mdc_error *err);
/* The same redactor with more patterns, which are copied; `base` without variables, which are the filter's. */
mdc_status mdc_redactor_extend(const mdc_redactor *base, const mdc_bytes *patterns, size_t count, mdc_redactor **made,
                               mdc_error *err);
void mdc_redactor_free(mdc_redactor *redactor);
uint64_t mdc_redactor_bytes(const mdc_redactor *redactor);

/* NULL if it edits no memory. Lives as long as the filter. */
const mdc_redactor *mdc_filter_redactor(const mdc_filter *filter);
bool mdc_redact_sanitizes(const mdc_redactor *redactor);
/* Whether values of variables that are hidden are to be patterns of it. */
bool mdc_redact_everywhere(const mdc_redactor *redactor);

/* Overwrites every occurrence of a pattern in bytes[0, size). The first `fresh` bytes were seen before: what lies
 * wholly in them is not counted again. */
void mdc_redact_patterns(const mdc_redactor *redactor, uint8_t *bytes, size_t size, size_t fresh,
                         mdc_redact_counts *counts);
/* Overwrites what is in the ranges to scrub; bytes[0] is at `address` in the target. */
void mdc_redact_ranges(const mdc_redactor *redactor, uint64_t address, uint8_t *bytes, size_t size, size_t fresh,
                       mdc_redact_counts *counts);

/* What hidden and excluded bytes are overwritten with; there is one without any redaction too. */
uint8_t mdc_filter_fill(const mdc_filter *filter);
/* Whether there are rules about variables of the environment, and whether they hide this one's value. */
bool mdc_filter_decides_environ(const mdc_filter *filter);
bool mdc_filter_hides_variable(const mdc_filter *filter, const uint8_t *name, size_t size);
/* Whether it is hidden by its own name, and not because it is none of those to keep. */
bool mdc_filter_drops_variable(const mdc_filter *filter, const uint8_t *name, size_t size);

#endif
