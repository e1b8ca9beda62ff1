/* Conditions of rules as rows of bits (see table.h). Used while compiling only. */
#ifndef MDC_FILTER_CONDITIONS_H
#define MDC_FILTER_CONDITIONS_H

#include "../base/vec.h"
#include "table.h"

/* The conditions of a rule except its range; 0 where none is stated. No padding: compared as bytes. */
typedef struct mdc_condition_set {
    uint64_t min_size;
    uint64_t max_size;
    uint32_t state;
    uint32_t type;
    uint32_t protect_any;
    uint32_t protect_all;
    uint32_t kinds;
    uint32_t module;   /* pattern + 1 */
    uint32_t name;     /* pattern + 1 */
    uint32_t cautious; /* 1: of an exclude or head rule whose conditions a value in doubt meets (see match.h) */
} mdc_condition_set;

/* All distinct condition sets of a filter, and which one each rule has. */
typedef struct mdc_condition_sets {
    mdc_vec list;      /* mdc_condition_set; its index is the bit once mdc_condition_sets_order has run */
    uint32_t *of_rule; /* MDC_CONDITIONS_ALWAYS for rules without conditions */
    uint32_t *wider;   /* by rule: the cautious condition set with the conditions of an include rule, or ALWAYS: none */
} mdc_condition_sets;

/* Gathers condition sets and patterns of all rules (checked already). */
mdc_status mdc_condition_sets_gather(mdc_condition_sets *sets, mdc_filter *filter, const mdc_filter_spec *spec,
                                     mdc_error *err);
void mdc_condition_sets_fini(mdc_condition_sets *sets);

/* Gives the bits: condition sets of rules without a range first, highest rule first. top[condition set] is the highest
 * such rule + 1 (0: none) and is put into the new order too. */
mdc_status mdc_condition_sets_order(mdc_condition_sets *sets, uint32_t *top, size_t rule_count, mdc_error *err);

/* Fills the filter's rows, bounds and pattern lists. */
mdc_status mdc_condition_sets_rows(const mdc_condition_sets *sets, mdc_filter *filter, mdc_error *err);

/* Whether a protection (PAGE_* base and modifiers) meets the two conditions; 0 is no condition. */
int mdc_protect_meets(uint32_t protect, uint32_t any, uint32_t all);
/* The PAGE_* value of a row of protect_rows. */
uint32_t mdc_protect_of_row(uint32_t row);

#endif
