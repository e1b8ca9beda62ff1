/* The tracer: one thread that seizes a process, stops all its threads, reads their registers and resumes them.
 *
 * ptrace works only from the thread that seized, and the kernel detaches everything when that thread ends: so the
 * target runs on whatever happens to the rest of this process. Correctness never rests on wait events: "stopped" means
 * that PTRACE_GETREGSET succeeds.
 *
 * The kernel reports the stops of a tracee to every thread of the tracer's process. If this process is the target's
 * parent, it must see only the target's end (Popen.wait in another thread, SIGCHLD): so the tracer is a separate
 * process, called mdc-tracer, that shares our memory: clone_vm.h. It dies with us, waitpid without __WALL does not show
 * it, and a dump whose tracer is killed ends with MDC_ERR_CANCELLED. It can be killed at any instruction, so what both
 * sides share is atomics, futexes and pages (ptrace_threads.h): no lock, no allocator. Our own thread traces instead
 * where such a process is not possible (process limit, seccomp, ThreadSanitizer, Valgrind) or is refused: Yama with
 * ptrace_scope 1 allows only ancestors and processes with CAP_SYS_PTRACE to trace. Then, and only then, a thread of
 * ours that waits for the child while it is dumped may see it "stopped" by SIGTRAP; its exit status is not consumed.
 *
 * The tracer has all signals blocked and runs no Python. While the target is stopped it waits for mdc_tracer_resume,
 * and resumes the target by itself when max_stop or the dump control's deadline passes, when the dump control is
 * aborted, when nothing is read or written for the dump control's stall_ns, when the target dumps us (mutual.h) or is
 * killed; the dump control's abort reason is set BEFORE the first thread is resumed, so if there is no reason after a
 * read of memory, the target was stopped during the read (unless the tracer was killed: then resume fails). */
#ifndef MDC_LINUX_TRACER_H
#define MDC_LINUX_TRACER_H

#include "../base/dump_control.h"
#include "fork_child.h"
#include "live.h"
#include "registers.h"

typedef struct mdc_tracer mdc_tracer;

/* One thread of the target as the tracer left it. */
typedef struct mdc_held {
    uint32_t tid;
    uint32_t flags;   /* MDC_THREAD_NO_REGISTERS */
    bool leader;      /* the main thread */
    uint8_t *context; /* mdc_tracer_layout()->context_size bytes, owned by the tracer */
    mdc_registers_summary summary;
} mdc_held;

/* proc: /proc/PID. Both descriptors are borrowed until mdc_tracer_free, as is the dump control. */
mdc_tracer *mdc_tracer_new(const mdc_live_options *options, int32_t pid, int pidfd, int proc, mdc_dump_control *control,
                           mdc_error *err);
/* Stops every thread, also those born meanwhile; returns when all have stopped or have had stop_timeout. Once. */
mdc_status mdc_tracer_stop(mdc_tracer *tracer, mdc_error *err);
const mdc_held *mdc_tracer_threads(const mdc_tracer *tracer, size_t *count); /* the main thread first */
const mdc_registers_layout *mdc_tracer_layout(const mdc_tracer *tracer);
/* Makes a copy-on-write child and lets the threads run: true. They are resumed for good then; resume ends the child.
 * false: they are stopped as before, and child->reason says why; or they were resumed, which resume will say. Once.
 * child: with what its owner sets; stays where it is until the tracer is freed, and is the tracer's until the resume.
 */
bool mdc_tracer_freeze(mdc_tracer *tracer, mdc_fork_child *child);
/* Resumes all threads; idempotent, always the same result. Fails with MDC_ERR_DEADLINE, MDC_ERR_CANCELLED or
 * MDC_ERR_TARGET_GONE if they were resumed, or died, before. */
mdc_status mdc_tracer_resume(mdc_tracer *tracer, uint64_t *stop_time_ns, mdc_error *err);
/* Whether a stop that failed may be tried again at once, since the target, which dumps us, gives up. */
bool mdc_tracer_goes_first(const mdc_tracer *tracer);
void mdc_tracer_free(mdc_tracer *tracer); /* resumes; NULL is allowed */

#endif
