/* The suspender: suspends all threads of a process, reads their registers and resumes them.
 *
 * The engine's thread suspends; a watchdog, a thread of our own, resumes: when it is asked to, and by itself when
 * max_stop or the dump control's deadline passes, when the dump control is aborted or when the target ends, whatever
 * the engine's thread is doing then. The dump control's abort reason is set BEFORE the first thread is resumed, so if
 * there is no reason after a read of memory, the target was stopped during the read.
 *
 * Each thread is resumed exactly as often as it was suspended here, which is once: a thread that other code had
 * suspended stays so, and its count is reported. A thread that cannot be suspended or read is listed without registers.
 *
 * What Windows cannot promise: suspending is a count in the target, which is not undone when we are killed
 * (TerminateProcess, Task Manager). Then its threads stay suspended until another program resumes them (a debugger that
 * attaches and detaches, Resource Monitor). On every other way out of a dump they run on. */
#ifndef MDC_WINDOWS_WIN_SUSPENDER_H
#define MDC_WINDOWS_WIN_SUSPENDER_H

#include <stddef.h>

#include "../base/dump_control.h"
#include "win_context.h"
#include "win_process.h"

typedef struct mdc_win_suspender mdc_win_suspender;

/* One thread of the target as the suspender left it. */
typedef struct mdc_win_held {
    uint32_t tid;
    uint32_t flags;         /* MDC_THREAD_NO_REGISTERS */
    uint32_t suspend_count; /* before we suspended it */
    uint32_t suspended;     /* 1: by us, and not yet resumed */
    void *handle;           /* HANDLE, NULL if it could not be opened at all; lives as long as the suspender */
    mdc_win_context *context;
} mdc_win_held;

/* Limits as in mdc_win_live_options. All is borrowed until mdc_win_suspender_free. */
mdc_win_suspender *mdc_win_suspender_new(const mdc_win_process *process, uint64_t stop_timeout_ns, uint64_t max_stop_ns,
                                         mdc_dump_control *control, mdc_error *err);
/* Suspends every thread, also those born meanwhile, and reads all registers. Once. On failure nothing stays stopped. */
mdc_status mdc_win_suspender_stop(mdc_win_suspender *suspender, mdc_error *err);
const mdc_win_held *mdc_win_suspender_threads(const mdc_win_suspender *suspender, size_t *count);
/* Resumes all threads; idempotent, always the same result. Fails with MDC_ERR_DEADLINE, MDC_ERR_CANCELLED or
 * MDC_ERR_TARGET_GONE if they were resumed, or died, before. */
mdc_status mdc_win_suspender_resume(mdc_win_suspender *suspender, uint64_t *stop_time_ns, mdc_error *err);
void mdc_win_suspender_free(mdc_win_suspender *suspender); /* resumes; NULL is allowed */

#endif
