/* The threads of a process as ptrace sees them: seized, stopped, read, let go. All functions but mdc_tracees_reap
 * belong to one thread, the tracer's: ptrace works only from the thread that seized, and the kernel lets everything go
 * when that thread ends.
 *
 * Traps: PTRACE_SEIZE is called with no options (EXITKILL would kill the target with us). A signal that arrived after
 * the seize holds its thread in a signal-delivery stop: it must be detached with that signal or the signal is lost. A
 * thread that dies while traced stays a zombie until its tracer waits for it or ends, and an exec in the target waits
 * for that zombie while it holds the lock PTRACE_SEIZE needs: so the tracer's process must be able to reap meanwhile,
 * from another thread or from a signal handler (seen on Linux 6.18; PTRACE_SEIZE begins again after a handler). */
#ifndef MDC_LINUX_TRACEES_H
#define MDC_LINUX_TRACEES_H

#include <pthread.h>

#include "../base/monitor.h"
#include "../base/vec.h"
#include "registers.h"

/* mdc_tracee.state */
enum {
    MDC_TRACEE_SEIZED = 1,  /* traced and perhaps running */
    MDC_TRACEE_STOPPED = 2, /* stands */
    MDC_TRACEE_STUCK = 3,   /* did not stop in time */
    MDC_TRACEE_DEAD = 4,    /* exited, or never traced because it was a zombie */
    MDC_TRACEE_FOREIGN = 5  /* its number has come to belong to somebody else: not looked at */
};

typedef struct mdc_tracee {
    int32_t tid;
    uint8_t state;    /* MDC_TRACEE_* */
    bool listed;      /* seen in the last listing */
    bool traced;      /* was seized; never changes */
    bool reaped;      /* waited for: the number may be somebody else's by now; under lock */
    uint8_t *context; /* context_size bytes; NULL unless stopped or stuck */
    mdc_registers_summary summary;
} mdc_tracee;

typedef struct mdc_tracees {
    int32_t pid;
    int proc; /* /proc/PID, borrowed */
    uint64_t stop_timeout_ns;
    mdc_monitor *monitor;
    mdc_registers_layout layout;
    uint64_t max_stop_ns;  /* 0: no limit */
    uint64_t frozen_from;  /* mdc_clock_ns of the first interrupt, 0: not yet */
    uint64_t frozen_until; /* when max_stop passes, UINT64_MAX: never */
    size_t sentinel;       /* index of the thread whose life is watched */
    /* Private. */
    mdc_vec threads;      /* mdc_tracee, by tid */
    mdc_vec blocks;       /* uint8_t *: what the contexts are in */
    uint8_t *room;        /* next free context in the last block */
    size_t room_count;    /* contexts left there */
    pthread_mutex_t lock; /* threads' growth, against mdc_tracees_reap */
} mdc_tracees;

mdc_status mdc_tracees_init(mdc_tracees *tracees, int32_t pid, int proc, mdc_error *err);
void mdc_tracees_fini(mdc_tracees *tracees);

/* Seizes every thread there is; they go on running. MDC_ERR_ACCESS, MDC_ERR_TARGET (traced already), _GONE. */
mdc_status mdc_tracees_seize(mdc_tracees *tracees, mdc_error *err);
/* Stops every thread, also those born meanwhile, then reads all registers. On failure some may stand: release.
 * Aborts the monitor when max_stop passes. */
mdc_status mdc_tracees_stop(mdc_tracees *tracees, mdc_error *err);
/* Whether what stood still stands: false after SIGKILL (only that ends a stop without us). */
bool mdc_tracees_alive(mdc_tracees *tracees);
/* Lets go what stands; the rest the kernel lets go when this thread ends. false if a thread that stood was gone. */
bool mdc_tracees_release(mdc_tracees *tracees);

/* From any thread of the tracer's process: waits for dead threads of the target (never for its leader, whose exit
 * status belongs to its parent, and we may be that), so that an exec in it can go on. */
void mdc_tracees_reap(mdc_tracees *tracees);
/* The same for a tracer that is a process with no children of its own, from a signal handler: waits for all dead there
 * are. A leader's exit status is then handed to its parent, which is somebody else. */
void mdc_tracees_reap_all(void);
/* After a tracer that ended: nothing is seized any more. */
void mdc_tracees_forget(mdc_tracees *tracees);

#endif
