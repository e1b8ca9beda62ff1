/* A plan made to fit into max_bytes: the only stage between plan and layout, and only with a budget.
 *
 * Takes a finished plan whose streams have been read. What everything but memory takes is found by laying it out; what
 * of the memory goes is chosen by options.choose_cut, which is asked again if its choice does not fit, and no byte of
 * that memory is read before. What was cut is a gap with reason MDC_GAP_BUDGET. Promises: no dump is longer than
 * max_bytes, whatever is found while it is written. */
#ifndef MDC_ENGINE_BUDGET_H
#define MDC_ENGINE_BUDGET_H

#include "cut_request.h"
#include "report.h"

struct mdc_cut_list {
    mdc_vec ranges; /* mdc_set_range: a set */
};

/* now: as mdc_layout.now. Leaves the plan as it is if all of it fits. MDC_ERR_BUDGET: even without memory it does not.
 */
mdc_status mdc_budget_fit(mdc_plan *plan, mdc_gaps *gaps, mdc_report_rows *rows, int64_t now, mdc_error *err);
/* Of the final layout, with a budget: limits the gaps that may be found while it is written to what there is room for.
 */
mdc_status mdc_budget_check(const mdc_layout *layout, mdc_gaps *gaps, mdc_error *err);

#endif
