/* A copy-on-write copy of a stopped process: one of its threads calls clone (inject.h), and the child is traced and
 * stopped for good. It runs no code of the target: the two calls it makes itself are ours.
 *
 * What the target can notice: it has a child that wait(2) does not show without __WALL or __WCLONE (no exit signal),
 * that counts as a process of its user and cgroup, and shows in the number of attachments of System V shared memory.
 * The child has none of its descriptors: the table is shared for as long as the target is stopped, and left before it
 * runs again. It is killed with the tracer (PTRACE_O_EXITKILL), and is what the out-of-memory killer takes first. At
 * the end a thread of the target waits for it, as briefly as that takes; if that is not possible it stays a zombie.
 *
 * For the tracer: no lock, no allocation (ptrace_threads.h). */
#ifndef MDC_LINUX_FORK_CHILD_H
#define MDC_LINUX_FORK_CHILD_H

#include "inject.h"
#include "ptrace_threads.h"

typedef struct mdc_fork_child {
    mdc_gadgets gadgets;   /* set by the owner */
    int maps;              /* /proc/PID/maps, -1: not open; the owner's */
    uint64_t absent_pages; /* of the target, that a child is known not to have; set by the owner */
    int32_t pid;           /* of the child, 0: none */
    int32_t inner;         /* in the target's pid namespace; negative: waited for */
    int32_t thread;        /* that made it */
    uint32_t reason;       /* MDC_STOP_REASON_*: why there is none */
    int32_t os_errno;
    uint64_t stopped_ns; /* for how long threads were stopped to wait for it */
    bool zombie;         /* it could not be waited for in the target */
    mdc_injection injection;
} mdc_fork_child;

/* While all threads are stopped, which they are afterwards. false: the reason is set, and nothing remains. */
bool mdc_fork_child_make(mdc_fork_child *self, mdc_tracees *tracees);
/* Whether it is still there and stopped. */
bool mdc_fork_child_alive(const mdc_fork_child *self);
/* Ends it. `stopped`: the target's threads are, as they were when it was made; otherwise one is stopped for that. */
void mdc_fork_child_end(mdc_fork_child *self, mdc_tracees *tracees, bool stopped);

#endif
