/* The compiled filter: what compile.c makes and match.c reads. Private to filter/.
 *
 * Every rule has a `code`: (number + 1) << 2 | action, so that comparing codes compares rules, and the winner brings
 * its action along. Code 0 or 1 is the default. All RemoveMemory ranges share the number rule_count.
 *
 * Conditions other than the address range are gathered in condition sets; rules with equal conditions share one. A
 * condition set is a bit; a question is turned into a few rows of bits, and the AND of the rows says which condition
 * sets hold.
 * - Rules without a range: only the highest rule of each condition set can ever win. Their condition sets have the
 * first bits, highest rule first, so the first bit set is the winner. The one without conditions is floor_code.
 * - Rules with a range: the address space is cut into elementary intervals, one entry each: the code of the one rule
 *   without conditions (0: none), or MDC_ENTRY_LIST and the place of a list of (code, condition set) in falling order.
 */
#ifndef MDC_FILTER_TABLE_H
#define MDC_FILTER_TABLE_H

#include <stdatomic.h>

#include "../api/filter.h"

#define MDC_ENTRY_LIST UINT32_C(0x80000000)
#define MDC_CODE_ACTION UINT32_C(3)
/* In a list: no condition, the list ends here. */
#define MDC_CONDITIONS_ALWAYS UINT32_MAX

enum {
    MDC_PROTECT_ROWS = 128,   /* base protection (0: in doubt, else its bit number + 1) << 3 | modifiers */
    MDC_PROTECT_NONE = 9,     /* the base of protection 0 */
    MDC_STATE_VALUES = 5,     /* 0: none; 1 to 3: the known ones; MDC_STATE_DOUBT */
    MDC_STATE_DOUBT = 4,      /* see match.h */
    MDC_STATE_ROWS = 25,      /* state * 5 + type */
    MDC_SIZE_ROWS = 64,       /* binary digits of the size but one; 0 counts as 1 */
    MDC_KIND_ROWS = 256,      /* MDC_KIND_*, MDC_KIND_DOUBT */
    MDC_PROTECT_WORDS = 2048, /* values of Protect without unknown bits */
    MDC_STATE_WORDS = 64      /* of State and Type: mdc_state_place */
};

typedef struct mdc_item {
    uint32_t code;
    uint32_t conditions;
} mdc_item;

typedef struct mdc_bounds {
    uint64_t min;
    uint64_t max;
} mdc_bounds;

/* Distinct patterns, and for each the condition sets that ask for it. */
typedef struct mdc_patterns {
    uint8_t *pool;
    uint64_t *offset; /* count + 1 */
    uint32_t *first;  /* count + 1, into bits */
    uint32_t *bits;
    uint64_t *base; /* row: condition sets that do not ask */
    uint32_t count;
} mdc_patterns;

struct mdc_redactor;

struct mdc_filter {
    /* What a question touches. */
    uint64_t *start; /* interval_count + 1; [0] is 0, the last one is 0 too and means 2**64 */
    uint32_t *entry;
    mdc_item *items;
    uint64_t *protect_rows; /* rows of `words` words each */
    uint64_t *state_rows;
    uint64_t *size_rows;
    uint64_t *kind_rows;
    uint64_t *attributes;  /* where words is 1: the protect rows by Protect, then the state rows by State and Type */
    uint32_t *global_code; /* by bit, for the words that hold rules without a range; 0 for other bits */
    mdc_bounds *bounds;    /* by bit; NULL if no rule asks for a size */
    uint64_t *head_bytes;  /* by rule; NULL if there is no head rule */
    uint64_t global_bits;  /* the first 64 bits of which are rules without a range */
    uint64_t inexact_bits; /* those of the first 64 whose bounds size_rows do not express exactly */
    uint32_t interval_count;
    uint32_t floor_code; /* of the highest rule without range and conditions, else the default action */
    uint32_t words;
    uint32_t global_words;

    /* Names and modules. */
    mdc_patterns names;
    mdc_patterns modules;

    /* Threads, modules of the list, memory lists. */
    mdc_thread_rule *threads; /* sorted, one per tid */
    size_t thread_count;
    mdc_module_rule *module_rules; /* globs point into module_pool */
    size_t module_count;
    uint8_t *module_pool;
    mdc_range *memory_add;
    size_t memory_add_count;
    mdc_range *memory_remove;
    size_t memory_remove_count;
    uint32_t threads_default_keep;
    uint32_t modules_default_keep;
    uint32_t tolerate_read_failures;
    uint32_t secondary_flags;
    uint32_t nocase;
    struct mdc_redactor *redactor; /* NULL: nothing is overwritten or hidden */
    uint32_t kinds;                /* MDC_KIND_* that rules ask for */
    uint8_t fill;

    uint32_t rule_count;
    uint32_t *dead;
    size_t dead_count;
    uint64_t bytes;
    atomic_size_t references;
};

#endif
