/* What of a plan that is longer than max_bytes is left out, and what is copied first where the stop may end early: the
 * priorities of memory.
 *
 * The engine knows memory, and the callee rules; here both are known, so that no number of a rule crosses the protocol.
 * The finished plan is divided into runs, each with a priority. Those of the highest come first, within one by the
 * order that is written beside each, then by address; the first that does not fit is kept up to a whole page. */
#ifndef MDC_SESSION_SESSION_BUDGET_H
#define MDC_SESSION_SESSION_BUDGET_H

#include "../engine/budget.h"
#include "../engine/copy_order.h"
#include "session_rule_stats.h"

/* Priorities of memory about which no rule says one; a rule may give any from 0 to 100. */
enum {
    MDC_PRIORITY_CRASHED_STACK = 90, /* of the thread the dump is about: nearest to the stack pointer first */
    MDC_PRIORITY_STACK = 80,         /* of the others, likewise: a page of each, then the next one of each, then two */
    MDC_PRIORITY_REFERENCED = 60,    /* pages around what registers and stacks point to, of that thread first */
    MDC_PRIORITY_WRITABLE = 40,      /* heap and all other private memory that may be written */
    MDC_PRIORITY_REST = 20
};

typedef struct mdc_session_budget {
    const mdc_callback *callback; /* NULL: a foreign callee, whose rules are not known */
    const mdc_engine_options *options;
    const int32_t *priorities; /* by rule, -1: none; NULL: no rule has one */
    size_t priority_count;
    mdc_vec runs;  /* in the order of the plan */
    mdc_vec ranks; /* the same by priority */
} mdc_session_budget;

void mdc_session_budget_init(mdc_session_budget *budget, const mdc_callback *callback,
                             const mdc_engine_options *options, const int32_t *priorities, size_t priority_count);
void mdc_session_budget_fini(mdc_session_budget *budget);
/* mdc_choose_cut; context: an mdc_session_budget. */
mdc_status mdc_session_budget_choose(void *context, const mdc_cut_request *request, mdc_cut_list *list, mdc_error *err);
/* mdc_choose_order; context: the same. A stack is not divided: thread descriptors refer to one range. */
mdc_status mdc_session_budget_order(void *context, const mdc_cut_request *request, mdc_order_list *list,
                                    mdc_error *err);

#endif
