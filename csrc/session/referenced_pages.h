/* Pages of a plan that registers and words on stacks point to. A bounded look at the stacks, while the target is
 * stopped. */
#ifndef MDC_SESSION_REFERENCED_PAGES_H
#define MDC_SESSION_REFERENCED_PAGES_H

#include "../engine/budget.h"

typedef struct mdc_referenced {
    mdc_vec crashed; /* mdc_set_range, whole pages: by the thread the dump is about */
    mdc_vec others;  /* by all other threads */
} mdc_referenced;

void mdc_referenced_init(mdc_referenced *referenced);
void mdc_referenced_fini(mdc_referenced *referenced);
mdc_status mdc_referenced_find(mdc_referenced *referenced, const mdc_cut_request *request, mdc_error *err);

#endif
