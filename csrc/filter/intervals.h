/* Cuts the address space into the elementary intervals of all rules that have a range (see table.h). Cold.
 *
 * Room: 12 bytes per interval (start 8, entry 4), at most 2 * ranges + 1 intervals. Where ranges state further
 * conditions, lists of 8-byte items follow them, equal lists once; a list ends at the first rule without
 * conditions and holds only the highest rule of each set of conditions. Rules whose lists would grow beyond
 * MDC_INTERVALS_ITEMS_PER_INTERVAL items per interval and MDC_INTERVALS_ITEMS_FREE in all are refused. */
#ifndef MDC_FILTER_INTERVALS_H
#define MDC_FILTER_INTERVALS_H

#include "table.h"

#define MDC_INTERVALS_ITEMS_PER_INTERVAL UINT64_C(16)
#define MDC_INTERVALS_ITEMS_FREE (UINT64_C(1) << 20)

/* One range as the builder takes it. */
typedef struct mdc_rule_range {
    uint64_t first;
    uint64_t end;        /* 0: 2**64 */
    uint32_t code;       /* falling codes decide; several ranges may share one */
    uint32_t conditions; /* bit, or MDC_CONDITIONS_ALWAYS */
    uint32_t rule;       /* whose `seen` is set when the range can decide something */
    uint32_t reserved;
} mdc_rule_range;

/* Fills filter->start, entry, items, interval_count. `ranges` are in rising order of code (equal codes beside each
 * other); seen[rule] becomes 1 for each rule that is in some interval's list. */
mdc_status mdc_intervals_build(mdc_filter *filter, const mdc_rule_range *ranges, size_t count, uint8_t *seen,
                               mdc_error *err);

#endif
