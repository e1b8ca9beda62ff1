/* Crashes of this very process: handlers of the signals that end a program, which ask a helper process for a dump. The
 * helper was started beforehand (minidump_cffi/crash), because a process that crashes can neither fork nor allocate.
 *
 * What runs in a handler is async-signal-safe: it sends one record, waits for the answer for a bounded time, and hands
 * the signal on to what was there before, so that the process ends as it would have without us. */
#ifndef MDC_CRASH_CRASH_POSIX_H
#define MDC_CRASH_CRASH_POSIX_H

#include <stdint.h>

#include "../api/error.h"

/* cdef: begin */
/* What a handler sends, in one message. */
typedef struct mdc_crash_request {
    int32_t tid;
    int32_t signal;
    int32_t code;      /* si_code */
    uint64_t address;  /* si_addr; 0 where the signal has none */
    uint64_t ucontext; /* addresses in this process: of the ucontext_t and the siginfo_t of the handler */
    uint64_t siginfo;
} mdc_crash_request;

/* What the helper answers, in one message. */
typedef struct mdc_crash_answer {
    int32_t failed;    /* there is no dump, and the message says why */
    char message[508]; /* UTF-8, NUL-terminated */
} mdc_crash_answer;

typedef struct mdc_crash_spec {
    int32_t socket;    /* SOCK_SEQPACKET, to the helper; stays the caller's */
    int32_t helper_fd; /* pidfd of the helper; stays the caller's */
    int32_t helper;    /* its pid */
    int32_t chain;     /* after the dump comes what was there before; 0: the default action */
    int32_t dumpable;  /* set PR_SET_DUMPABLE for the time of the dump */
    uint64_t signals;  /* bit N - 1: signal N */
    uint64_t wait_ns;  /* longest wait for the answer */
} mdc_crash_spec;

/* Installs the handlers. MDC_ERR_BUSY: they are installed already, by another interpreter of this process. */
mdc_status mdc_crash_arm(const mdc_crash_spec *spec, mdc_error *err);
/* Removes them, where they are still the installed ones. Those that others have saved as the previous ones hand signals
 * on from now on. Also for a forked child, which has its parent's. */
void mdc_crash_disarm(void);
/* Whether this process has them. */
int32_t mdc_crash_is_armed(void);
/* How many crashes the process has survived that are in a dump. */
int32_t mdc_crash_dumps(void);
/* Lets that process trace us where Yama asks for it (prctl(2), PR_SET_PTRACER); 0 takes that back. */
void mdc_crash_allow(int32_t pid);
/* Takes that back after a dump without a crash, and PR_SET_DUMPABLE too if that was set for it. A thread that crashes
 * meanwhile keeps both. */
void mdc_crash_end_access(int32_t undumpable);
/* PR_GET_DUMPABLE, PR_SET_DUMPABLE. */
int32_t mdc_crash_dumpable(void);
int32_t mdc_crash_set_dumpable(int32_t value);

typedef struct mdc_crash_program {
    char **arguments;   /* the first is the path of the program */
    char **environment; /* both end with NULL */
    int32_t errors;     /* becomes descriptor 2; 0 and 1 are /dev/null */
    int32_t control;    /* becomes descriptor 3 */
    int32_t crashes;    /* becomes descriptor 4; the program has no others */
} mdc_crash_program;

/* Starts the helper: a process that is not our child (unless we are the process that orphans go to), in a session
 * of its own, with default signal actions and / as working directory. */
mdc_status mdc_crash_start(const mdc_crash_program *program, int32_t *pid, mdc_error *err);
/* A pidfd of a process (CLOEXEC), and SIGKILL to it: not every Python has os.pidfd_open. */
mdc_status mdc_crash_watch(int32_t pid, int32_t *pidfd, mdc_error *err);
void mdc_crash_kill(int32_t pidfd);
int32_t mdc_crash_is_pidfd(int32_t fd);

typedef struct mdc_crash_stacks mdc_crash_stacks;

/* Alternate stacks for threads, without which a stack overflow cannot be handled. NULL with err. Is never freed: the
 * threads that have one may outlive all else. */
mdc_crash_stacks *mdc_crash_stacks_new(mdc_error *err);
/* Gives the calling thread one, with a guard page, which goes with the thread; a thread that has one keeps that. */
mdc_status mdc_crash_stacks_cover(mdc_crash_stacks *stacks, mdc_error *err);
/* How many threads were covered and live. */
int32_t mdc_crash_stacks_count(const mdc_crash_stacks *stacks);
/* In a forked child only the calling thread is left. */
void mdc_crash_stacks_forked(mdc_crash_stacks *stacks);
/* cdef: end */

#endif
