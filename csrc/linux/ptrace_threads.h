/* The threads of a process as ptrace sees them: seized, stopped, read, resumed. All functions but mdc_tracees_reap,
 * _init, _fini, _forget and _explain belong to the tracer, a thread or a process that shares our memory: ptrace works
 * only from the thread that seized, and the kernel detaches everything when that thread ends.
 *
 * The tracer can be killed at any instruction. So its functions take no lock, call nothing of the C library that takes
 * one (malloc, qsort, opendir, stdio, strerror) and keep their lists in pages of their own. Instead of an error they
 * leave a fault, which the owner explains. A file they open is named in `scratch` for the owner to close.
 *
 * Traps: PTRACE_SEIZE is called with no options (EXITKILL would kill the target with us). A signal that arrived after
 * the seize holds its thread in a signal-delivery stop: it must be detached with that signal or the signal is lost. A
 * thread that dies while traced stays a zombie until its tracer waits for it or ends, and an exec in the target waits
 * for that zombie while it holds the lock PTRACE_SEIZE needs: so the tracer's process must be able to reap meanwhile,
 * from another thread or from a signal handler (seen on Linux 6.18; PTRACE_SEIZE begins again after a handler). */
#ifndef MDC_LINUX_PTRACE_THREADS_H
#define MDC_LINUX_PTRACE_THREADS_H

#include "../base/dump_control.h"
#include "pages.h"
#include "registers.h"

/* mdc_tracee.state */
enum {
    MDC_TRACEE_SEIZED = 1, /* traced and perhaps running */
    MDC_TRACEE_STOPPED = 2,
    MDC_TRACEE_STUCK = 3,  /* did not stop in time */
    MDC_TRACEE_DEAD = 4,   /* exited, or never traced because it was a zombie */
    MDC_TRACEE_FOREIGN = 5 /* its number now belongs to another process: ignored */
};

typedef struct mdc_tracee {
    int32_t tid;
    uint32_t listed;     /* number of the last listing that showed it */
    uint8_t state;       /* MDC_TRACEE_* */
    bool traced;         /* was seized; never changes */
    _Atomic bool reaped; /* waited for: the number may belong to another process by now */
    bool stuck;          /* did not stop in time: the context is empty; does not change when it is resumed */
    bool discard;        /* the signal that it is stopped by was caused by us, and is not delivered */
    uint8_t *context;    /* context_size bytes; NULL unless stopped or stuck */
    mdc_registers_summary summary;
} mdc_tracee;

/* mdc_fault.kind: why the tracer could not do its work. */
enum {
    MDC_FAULT_NONE = 0,
    MDC_FAULT_CONTROL = 1, /* the dump control has the reason */
    MDC_FAULT_NOMEM = 2,
    MDC_FAULT_SEIZE = 3,     /* thread `tid` cannot be traced: os_errno */
    MDC_FAULT_TRACED = 4,    /* thread `tid` is traced by thread `tracer`, 0: by one we cannot see */
    MDC_FAULT_LISTING = 5,   /* the threads cannot be listed: os_errno */
    MDC_FAULT_REGISTERS = 6, /* of thread `tid`: os_errno */
    MDC_FAULT_32_BIT = 7,    /* thread `tid` runs 32-bit code */
    MDC_FAULT_GONE = 8,
    MDC_FAULT_RESTLESS = 9, /* threads are made faster than they can be stopped */
    MDC_FAULT_KILLED = 10,  /* the tracer itself was */
    MDC_FAULT_MUTUAL = 11   /* the target dumps us */
};

typedef struct mdc_fault {
    int32_t kind;
    int32_t os_errno;
    int32_t tid;
    int32_t tracer;
} mdc_fault;

enum { MDC_TRACEE_SEGMENTS = 17 }; /* of 64, 128, 256, ... threads: more than PID_MAX_LIMIT in all */

typedef struct mdc_tracees {
    int32_t pid;
    uint64_t stop_timeout_ns;
    mdc_dump_control *control;
    mdc_registers_layout layout;
    uint64_t alarm_ns;      /* a seize that takes longer is interrupted by SIGALRM, for the reaper; 0: no alarm */
    uint64_t max_stop_ns;   /* 0: no limit */
    uint64_t stopped_from;  /* mdc_clock_ns of the first interrupt, 0: not yet */
    uint64_t stopped_until; /* when max_stop passes, UINT64_MAX: never */
    mdc_fault fault;        /* of the function that returned false */
    /* Private. */
    int proc;            /* /proc/PID, borrowed */
    int task;            /* /proc/PID/task */
    int stat;            /* /proc/PID/stat */
    _Atomic int scratch; /* scratch.h */
    mdc_pages pages;
    mdc_tracee *segments[MDC_TRACEE_SEGMENTS];
    _Atomic size_t count; /* tracees; what is below it stays where it is */
    uint32_t *slots;      /* hash index by tid: number of the tracee + 1, 0: empty */
    size_t slot_count;    /* power of two */
    uint32_t listing;     /* number of the listing */
    size_t alarm_seizes;  /* since the alarm was off */
    size_t sentinel;      /* index of the thread that is asked whether the target lives */
    uint8_t *room;        /* next free context */
    size_t room_count;    /* contexts left there */
} mdc_tracees;

mdc_status mdc_tracees_init(mdc_tracees *tracees, int32_t pid, int proc, mdc_error *err);
void mdc_tracees_fini(mdc_tracees *tracees);

/* Seizes every thread there is; they go on running. */
bool mdc_tracees_seize(mdc_tracees *tracees);
/* After that failed: whether it was for lack of permission, and nothing was seized. */
bool mdc_tracees_refused(const mdc_tracees *tracees);
/* Stops every thread, also those born meanwhile, then reads all registers. On failure some may be stopped: release.
 * Aborts the dump control when max_stop passes. */
bool mdc_tracees_stop(mdc_tracees *tracees);
/* Whether what was stopped still is: false after SIGKILL (only that ends a stop without us). */
bool mdc_tracees_alive(const mdc_tracees *tracees);
/* Resumes what is stopped; the rest the kernel detaches when the tracer ends. false if a stopped thread was gone. */
bool mdc_tracees_release(mdc_tracees *tracees);

/* Whether a thread that does not answer has exited. Its exit status is not taken. */
bool mdc_tracee_has_exited(int32_t tid);

/* Resumes it, with the signal that stopped it. false: it has not stopped, or is gone. */
bool mdc_tracee_detach(const mdc_tracee *thread);

/* In no order; the owner may look at them while the tracer waits, and after it. */
mdc_tracee *mdc_tracees_at(const mdc_tracees *tracees, size_t index);
/* The fault as an error. Not for the tracer. */
mdc_status mdc_tracees_explain(const mdc_tracees *tracees, mdc_error *err);

/* From any thread of the tracer's process: waits for dead threads of the target (never for its leader, whose exit
 * status belongs to its parent, and we may be that), so that an exec in it can go on. */
void mdc_tracees_reap(mdc_tracees *tracees);
/* The same for a tracer that is a process with no children of its own, from a signal handler: waits for all dead there
 * are. That looks at every tracee each time: only where a seize hangs. A leader's exit status is then handed to its
 * parent, another process. */
void mdc_tracees_reap_all(void);
/* After a tracer that ended: nothing is seized any more. */
void mdc_tracees_forget(mdc_tracees *tracees);

#endif
