/* The holder: one thread that seizes a process, stops all its threads, reads their registers and lets them go.
 *
 * ptrace works only from the thread that seized, and the kernel detaches everything when that thread ends: so the
 * target runs on whatever becomes of the rest of us. Correctness never rests on wait events (another thread's
 * waitpid(-1) may take them): "stopped" means that PTRACE_GETREGSET succeeds. A child of ours keeps its exit status. */
#ifndef MDC_LINUX_HOLDER_H
#define MDC_LINUX_HOLDER_H

#include "../base/monitor.h"
#include "live.h"
#include "registers.h"

typedef struct mdc_holder mdc_holder;

/* One thread of the target as the holder left it. */
typedef struct mdc_held {
    uint32_t tid;
    uint32_t flags;   /* MDC_THREAD_NO_REGISTERS */
    uint8_t *context; /* mdc_registers_context_size() bytes, owned by the holder */
    mdc_registers_summary summary;
} mdc_held;

mdc_holder *mdc_holder_new(const mdc_live_options *options, int pidfd, mdc_monitor *monitor, mdc_error *err);
/* Stops every thread, also those born meanwhile; returns when all have stopped or have had stop_timeout. */
mdc_status mdc_holder_stop(mdc_holder *holder, mdc_error *err);
const mdc_held *mdc_holder_threads(const mdc_holder *holder, size_t *count); /* the main thread first */
/* Lets all go; idempotent. Fails with MDC_ERR_DEADLINE or MDC_ERR_TARGET_GONE if they had been let go, or died, before.
 */
mdc_status mdc_holder_resume(mdc_holder *holder, uint64_t *frozen_ns, mdc_error *err);
void mdc_holder_free(mdc_holder *holder);

#endif
