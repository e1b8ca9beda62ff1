/* Before the stop: whether a copy-on-write child of a process may be made, and what it would lack. */
#ifndef MDC_LINUX_FORK_PLAN_H
#define MDC_LINUX_FORK_PLAN_H

#include "inject.h"
#include "kept.h"
#include "mappings.h"

typedef struct mdc_fork_plan {
    uint32_t reason; /* MDC_STOP_REASON_*: why not; NONE: it may be */
    int32_t os_errno;
    mdc_gadgets gadgets;
    mdc_kept kept;         /* with room for what it is to keep */
    mdc_vec absent;        /* mdc_smaps_entry: mappings that a child does not have at all */
    uint64_t absent_pages; /* in them */
    bool shared;           /* there is shared memory that holds something */
} mdc_fork_plan;

void mdc_fork_plan_init(mdc_fork_plan *plan);
void mdc_fork_plan_fini(mdc_fork_plan *plan);
/* After mdc_mappings_prepare. proc as for it; process: /proc/PID. keep_max: bytes that may be copied under the stop,
 * 0: as many as are sensible; no more than 64 MiB are, so that the copy does not take as long as the clone. Fails only
 * for want of memory. */
mdc_status mdc_fork_plan_make(mdc_fork_plan *plan, mdc_mappings *mappings, int proc, int process, uint64_t keep_max,
                              mdc_error *err);

/* Under the stop: what the child lacks of a program that marks memory all the time (V8 does so with all of its heap),
 * and so was not what it is now when the plan was made. Nothing is done where that would take too long, or need not be.
 */
mdc_status mdc_fork_plan_again(mdc_fork_plan *plan, const mdc_mappings *mappings, int proc, mdc_error *err);

#endif
