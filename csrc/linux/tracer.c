/* The tracer (see tracer.h): what ptrace does is in ptrace_threads.c, when it does it is here, what the process of its
 * own is in clone_vm.c. */
#include "tracer.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "../base/vec.h"
#include "access.h"
#include "clone_vm.h"
#include "fork_child.h"
#include "futexes.h"
#include "mutual.h"
#include "ptrace_threads.h"

#define STOP_TIMEOUT_NS UINT64_C(250000000)
#define TICK_NS UINT64_C(10000000)                   /* how often a stopped target and the dump control are checked */
#define REAP_AFTER_NS UINT64_C(20000000)             /* a seize takes this long: perhaps an exec waits for us */
#define ABORT_NS UINT64_C(1000000000)                /* how long a stop may take to end by itself */
#define MUTUAL_AFTER_NS UINT64_C(100000000)          /* as long without progress: perhaps the target dumps us */
enum { STACK_BYTES = 512 * 1024, KCMP_VM_TYPE = 1 }; /* linux/kcmp.h is not installed everywhere */

/* mdc_tracer.stage */
enum {
    STAGE_NEW,
    STAGE_STOPPING,
    STAGE_STANDING,
    STAGE_FAILED,
    STAGE_OVER,
    STAGE_FROZEN, /* there is a child, and the threads run */
    STAGE_WHOLE   /* there is none, and they are stopped as before */
};
/* mdc_tracer.wanted */
enum { WANT_NOTHING, WANT_RESUME, WANT_CHILD };

struct mdc_tracer {
    mdc_tracees tracees;
    mdc_dump_control *control;
    int pidfd;
    mdc_vec held; /* mdc_held; the owner's */

    pthread_t thread;
    bool running;            /* started and not joined; the owner's */
    _Atomic uint32_t wanted; /* a futex: WANT_* */
    mdc_fork_child *child;   /* NULL: none was asked for; the tracer's until the join */
    _Atomic int32_t parent;  /* the thread that started the tracer */
    _Atomic uint32_t stage;  /* a futex */
    _Atomic bool by_thread;  /* our own thread traces, no process of its own */
    mdc_own_files own;       /* of our process, the parent of a tracer that is one of its own */
    _Atomic int32_t tid;     /* its number, 0: not begun */
    bool goes_first;         /* of two that dump each other we may try again */
    uint32_t rings;          /* how often in a row it found one */
    uint64_t looked;         /* when the tracer last looked for a ring */
    bool refused;            /* the process of its own may not trace; perhaps our thread may */
    bool early;              /* resumed, or dead, before it was asked for; read after the join, as the rest */
    uint64_t stop_time_ns;
};

mdc_tracer *mdc_tracer_new(const mdc_live_options *options, int32_t pid, int pidfd, int proc, mdc_dump_control *control,
                           mdc_error *err) {
    mdc_tracer *tracer = mdc_alloc(1, sizeof *tracer, err);
    if (tracer == NULL) return NULL;
    tracer->control = control;
    tracer->pidfd = pidfd;
    tracer->own.reader = tracer->own.leader = -1;
    atomic_init(&tracer->wanted, WANT_NOTHING);
    atomic_init(&tracer->parent, 0);
    atomic_init(&tracer->stage, STAGE_NEW);
    atomic_init(&tracer->by_thread, false);
    atomic_init(&tracer->tid, 0);
    mdc_vec_init(&tracer->held, sizeof(mdc_held));
    if (mdc_tracees_init(&tracer->tracees, pid, proc, err) != MDC_OK) {
        mdc_dealloc(tracer);
        return NULL;
    }
    tracer->tracees.control = control;
    tracer->tracees.max_stop_ns = options->max_stop_ns;
    tracer->tracees.layout = mdc_registers_describe(options->xstate != 0);
    tracer->tracees.stop_timeout_ns = options->stop_timeout_ns != 0 ? options->stop_timeout_ns : STOP_TIMEOUT_NS;
    return tracer;
}

/* -- the tracer ---------------------------------------------------------------------------------------------------- */

static void enter(mdc_tracer *tracer, uint32_t stage) {
    atomic_store(&tracer->stage, stage);
    mdc_futex_wake(&tracer->stage);
}

static void reap(int number) {
    (void)number;
    mdc_tracees_reap_all();
}

/* In a process of its own: PTRACE_SEIZE may be waiting for an exec that waits for us to reap. A signal gets through to
 * us there; its handler reaps, and the call begins again. */
static void reap_by_alarm(bool on) {
    struct sigaction action;
    sigset_t alarm;
    memset(&action, 0, sizeof action);
    action.sa_handler = reap;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    if (on) sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(on ? SIG_UNBLOCK : SIG_BLOCK, &alarm, NULL);
}

/* Whether the target was killed. The pidfd says nothing while dead threads of it wait for their tracer: so a thread is
 * asked as well, and is enough where ppoll is forbidden. */
static bool is_gone(const mdc_tracer *tracer) {
    struct pollfd file = {tracer->pidfd, POLLIN, 0};
    struct timespec at_once = {0, 0};
    return ppoll(&file, 1, &at_once, NULL) > 0 || !mdc_tracees_alive(&tracer->tracees);
}

/* How it is with our own process; true if the target dumps it. */
static bool look(mdc_tracer *tracer, mdc_own_stop *own) {
    *own = mdc_mutual_look(&tracer->own, &tracer->tracees.scratch, tracer->tracees.pid);
    return own->ring;
}

/* What hangs: what our thread does, unless it does not run at all. */
static mdc_activity hung(mdc_tracer *tracer) {
    mdc_own_stop own;
    look(tracer, &own);
    if (!own.stopped) return mdc_control_doing(tracer->control);
    return (mdc_activity){
        .kind = MDC_DOING_STOPPED, .callback_type = -1, .address = (uint64_t)(own.tracer > 0 ? own.tracer : 0)};
}

/* Why a stopped target has to be resumed before that was asked for, MDC_ABORT_NONE if it need not. */
static int32_t reason_to_resume(mdc_tracer *tracer, mdc_stall *stall, uint64_t now) {
    int32_t reason = mdc_control_reason(tracer->control);
    if (reason != MDC_ABORT_NONE) return reason;
    if (now >= tracer->tracees.stopped_until) return MDC_ABORT_MAX_STOP;
    if (is_gone(tracer)) return MDC_ABORT_TARGET_GONE;
    if (mdc_stall_over(stall, tracer->control, now)) {
        mdc_control_stalled(tracer->control, hung(tracer));
        return MDC_ABORT_STALL;
    }
    /* Dumpers of ours see that before they stop a target; others do not look. */
    mdc_own_stop own;
    uint64_t since = mdc_stall_ns(stall, tracer->control, now);
    if (since < MUTUAL_AFTER_NS || now - tracer->looked < MUTUAL_AFTER_NS) return MDC_ABORT_NONE;
    tracer->looked = now;
    tracer->rings = look(tracer, &own) && own.stopped ? tracer->rings + 1 : 0;
    /* Since Linux 5.16 its threads end, and we with them, only when the core is complete. */
    if (own.crashed) return MDC_ABORT_CANCEL;
    if (tracer->rings == 2) return MDC_ABORT_MUTUAL; /* twice: the other is not about to give up */
    return MDC_ABORT_NONE;
}

/* Has the process that started the tracer, which is one of its own, ended or become another program? */
static bool orphaned(const mdc_tracer *tracer) {
    if (atomic_load(&tracer->by_thread)) return false;
    const int32_t owner = tracer->own.owner;
    return getppid() != owner || syscall(SYS_tgkill, owner, atomic_load(&tracer->parent), 0) != 0;
}

/* Whether the tracer dies with that process, at once. */
static void die_with_owner(const mdc_tracer *tracer, bool on) {
    if (!atomic_load(&tracer->by_thread)) prctl(PR_SET_PDEATHSIG, on ? SIGKILL : 0);
}

/* Waits while the target is stopped. Returns false if it has to be resumed before that was asked for, and the dump has
 * failed. */
static bool keep_stopped(mdc_tracer *tracer) {
    mdc_dump_control *control = tracer->control;
    uint64_t until = tracer->tracees.stopped_until;
    mdc_stall stall;
    mdc_stall_init(&stall, control, mdc_clock_ns());
    if (control->deadline_ns != 0) until = mdc_min_u64(until, control->deadline_ns);
    for (;;) {
        uint64_t now = mdc_clock_ns();
        int32_t reason = reason_to_resume(tracer, &stall, now);
        if (reason == MDC_ABORT_MAX_STOP && mdc_control_end_stop(control)) return true;
        if (reason != MDC_ABORT_NONE) {
            mdc_control_abort(control, reason);
            return false;
        }
        if (!atomic_load(&tracer->by_thread) && getppid() != tracer->own.owner) return false; /* it has ended */
        if (atomic_load(&tracer->wanted) != WANT_NOTHING) return true;
        if (mdc_futex_wait(&tracer->wanted, WANT_NOTHING, until > now ? mdc_min_u64(TICK_NS, until - now) : 0) != 0) {
            mdc_control_abort(control, MDC_ABORT_TRACER);
            return false;
        }
    }
}

/* The same while the child is, and the target runs: false if the dump has to end. */
static bool keep_child(mdc_tracer *tracer) {
    for (;;) {
        if (mdc_control_reason(tracer->control) != MDC_ABORT_NONE || orphaned(tracer)) return false;
        if (!mdc_fork_child_alive(tracer->child)) {
            mdc_control_abort(tracer->control, MDC_ABORT_TARGET_GONE);
            return false;
        }
        if (atomic_load(&tracer->wanted) != WANT_NOTHING) return true;
        if (mdc_futex_wait(&tracer->wanted, WANT_NOTHING, TICK_NS) != 0) sched_yield();
    }
}

/* Makes the child, and lets the threads run until it is no longer needed. Meanwhile the tracer outlives the process
 * that started it by as long as it takes to end the child. Returns false, with nothing changed, if there is none. */
static bool freeze(mdc_tracer *tracer) {
    mdc_tracees *tracees = &tracer->tracees;
    mdc_fork_child *child = tracer->child;
    atomic_store(&tracer->wanted, WANT_NOTHING);
    die_with_owner(tracer, false);
    if (!mdc_fork_child_make(child, tracees)) {
        die_with_owner(tracer, true);
        enter(tracer, STAGE_WHOLE);
        tracer->early = orphaned(tracer) || !keep_stopped(tracer);
        return false;
    }
    bool there = mdc_tracees_release(tracees);
    tracer->stop_time_ns = mdc_clock_ns() - tracees->stopped_from;
    atomic_store(&tracer->control->stopped, 0);
    if (!there) mdc_control_abort(tracer->control, MDC_ABORT_TARGET_GONE);
    enter(tracer, STAGE_FROZEN);
    tracer->early = !keep_child(tracer);
    mdc_fork_child_end(child, tracees, false);
    tracer->stop_time_ns += child->stopped_ns;
    enter(tracer, STAGE_OVER);
    return true;
}

/* One hold from beginning to end, by whichever traces. */
static void hold(mdc_tracer *tracer) {
    mdc_own_stop own;
    atomic_store(&tracer->tid, (int32_t)syscall(SYS_gettid));
    mdc_tracees *tracees = &tracer->tracees;
    bool by_thread = atomic_load(&tracer->by_thread), stopped = mdc_tracees_seize(tracees);
    if (!stopped && !by_thread && mdc_tracees_refused(tracees)) {
        atomic_store(&tracer->tid, 0);
        tracer->refused = true; /* at once: as by Yama, which allows an ancestor to trace, and our thread may be one */
        return;
    }
    if (stopped && look(tracer, &own)) {
        tracees->fault = (mdc_fault){.kind = MDC_FAULT_MUTUAL};
        tracer->goes_first = own.lowest;
        stopped = false;
    }
    if (stopped) {
        atomic_store(&tracer->control->stopped, 1);
        stopped = mdc_tracees_stop(tracees);
    }
    if (stopped) {
        if (!by_thread) reap_by_alarm(false);
        enter(tracer, STAGE_STANDING);
        tracer->early = !keep_stopped(tracer);
        while (!tracer->early && atomic_load(&tracer->wanted) == WANT_CHILD)
            if (freeze(tracer)) return;
    }
    if (!mdc_tracees_release(tracees) && stopped) {
        mdc_control_abort(tracer->control, MDC_ABORT_TARGET_GONE);
        tracer->early = true;
    }
    if (tracees->stopped_from != 0) tracer->stop_time_ns = mdc_clock_ns() - tracees->stopped_from;
    atomic_store(&tracer->control->stopped, 0);
    enter(tracer, stopped ? STAGE_OVER : STAGE_FAILED);
    /* The kernel detaches whatever has not stopped. */
}

static void hold_as_process(void *argument) {
    mdc_tracer *tracer = argument;
    reap_by_alarm(true);
    tracer->tracees.alarm_ns = REAP_AFTER_NS;
    hold(tracer);
}

/* -- the owner ----------------------------------------------------------------------------------------------------- */

/* The process that held the target was killed, and the target runs on: what was read since is worth nothing, and the
 * resume will say so. */
static void killed(mdc_tracer *tracer) {
    uint32_t stage = atomic_load(&tracer->stage);
    if (stage == STAGE_FAILED || stage == STAGE_OVER) return;
    if (tracer->child != NULL && tracer->child->pid != 0) tracer->child->zombie = true;
    if (tracer->tracees.stopped_from != 0 && stage != STAGE_FROZEN)
        tracer->stop_time_ns = mdc_clock_ns() - tracer->tracees.stopped_from;
    tracer->early = true;
    if (stage != STAGE_STOPPING) {
        mdc_control_abort(tracer->control, MDC_ABORT_CANCEL);
    } else {
        bool by_us = mdc_control_reason(tracer->control) != MDC_ABORT_NONE;
        tracer->tracees.fault = (mdc_fault){.kind = by_us ? MDC_FAULT_CONTROL : MDC_FAULT_KILLED};
    }
    atomic_store(&tracer->control->stopped, 0);
    enter(tracer, stage != STAGE_STOPPING ? STAGE_OVER : STAGE_FAILED);
}

static void *run(void *argument) {
    mdc_tracer *tracer = argument;
    bool finished;

    atomic_store(&tracer->parent, (int32_t)syscall(SYS_gettid));
    prctl(PR_SET_NAME, MDC_TRACER_NAME); /* both are inherited by a process of its own */
    prctl(PR_SET_TIMERSLACK, 1000UL);    /* ns; the default of 50 us would be added to every pause of a stop */

    int rc = MDC_FAILPOINT("spawn:clone_vm");
    if (rc == 0) rc = mdc_clone_vm_run(hold_as_process, tracer, &finished);
    if (rc == 0 && !finished) {
        killed(tracer);
    } else if (rc != 0 || tracer->refused) {
        mdc_tracees_forget(&tracer->tracees);
        tracer->tracees.alarm_ns = 0;
        atomic_store(&tracer->by_thread, true);
        hold(tracer);
    }
    return NULL;
}

static int spawn(mdc_tracer *tracer) {
    pthread_attr_t attr;
    sigset_t all, before;
    int rc = MDC_FAILPOINT("spawn:tracer");
    if (rc != 0) return rc;
    rc = pthread_attr_init(&attr);
    if (rc != 0) return rc;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    rc = pthread_create(&tracer->thread, &attr, run, tracer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

static void join(mdc_tracer *tracer) {
    if (!tracer->running) return;
    atomic_store(&tracer->wanted, WANT_RESUME);
    mdc_futex_wake(&tracer->wanted);
    pthread_join(tracer->thread, NULL);
    tracer->running = false;
}

/* The main thread first, then by number. */
static int by_rank(const void *left, const void *right) {
    const mdc_held *a = left, *b = right;
    if (a->leader != b->leader) return a->leader ? -1 : 1;
    return a->tid < b->tid ? -1 : a->tid > b->tid;
}

/* The list the engine's thread will see. */
static mdc_status publish(mdc_tracer *tracer, mdc_error *err) {
    const mdc_tracees *tracees = &tracer->tracees;
    size_t count = atomic_load(&tracees->count);
    mdc_status status = mdc_vec_reserve(&tracer->held, count, err);
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        const mdc_tracee *thread = mdc_tracees_at(tracees, i);
        if (thread->context == NULL) continue;
        mdc_held held = {.tid = (uint32_t)thread->tid,
                         .flags = thread->stuck ? MDC_THREAD_NO_REGISTERS : 0,
                         .leader = thread->tid == tracees->pid,
                         .context = thread->context,
                         .summary = thread->summary};
        status = mdc_vec_push(&tracer->held, &held, 1, NULL, err);
    }
    if (status == MDC_OK && tracer->held.count > 1)
        qsort(tracer->held.data, tracer->held.count, sizeof(mdc_held), by_rank);
    return status;
}

/* Ends a tracer that hangs in the stop: in PTRACE_SEIZE, while an exec in the target waits for a file system. One that
 * is a thread of ours cannot be ended. begun, *aborted: when, 0: not yet. */
static void end_hung_stop(mdc_tracer *tracer, uint64_t begun, uint64_t *aborted) {
    mdc_dump_control *control = tracer->control;
    uint64_t now = mdc_clock_ns();
    if (control->stall_ns != 0 && now - begun >= control->stall_ns + tracer->tracees.stop_timeout_ns)
        mdc_control_stalled(control, (mdc_activity){.kind = MDC_DOING_STOP, .callback_type = -1});
    if (mdc_control_reason(control) == MDC_ABORT_NONE) return;
    if (*aborted == 0) *aborted = now;
    int32_t tid = atomic_load(&tracer->tid);
    if (now - *aborted < ABORT_NS || tid == 0 || atomic_load(&tracer->by_thread)) return;
    if (atomic_load(&tracer->stage) == STAGE_STOPPING) kill(tid, SIGKILL);
}

mdc_status mdc_tracer_stop(mdc_tracer *tracer, mdc_error *err) {
    if (atomic_load(&tracer->stage) != STAGE_NEW)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "a tracer can stop its target only once");
    atomic_store(&tracer->stage, STAGE_STOPPING);
    pid_t pid = (pid_t)tracer->tracees.pid;
    mdc_own_files_open(&tracer->own);
    if (syscall(SYS_kcmp, tracer->own.owner, pid, KCMP_VM_TYPE, 0, 0) == 0) {
        enter(tracer, STAGE_FAILED);
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                        "process %d shares the memory of this one: stopping it may stop us", (int)pid);
    }
    int rc = spawn(tracer);
    if (rc != 0) {
        enter(tracer, STAGE_FAILED);
        return mdc_fail_start(err, MDC_PHASE_STOP, rc, "cannot start the thread that stops the target");
    }
    tracer->running = true;
    uint64_t begun = mdc_clock_ns(), aborted = 0;
    while (atomic_load(&tracer->stage) == STAGE_STOPPING) {
        end_hung_stop(tracer, begun, &aborted);
        if (mdc_futex_wait(&tracer->stage, STAGE_STOPPING, REAP_AFTER_NS) != 0) sched_yield();
        /* PTRACE_SEIZE may be waiting for an exec that waits for this. */
        if (atomic_load(&tracer->by_thread) && atomic_load(&tracer->stage) == STAGE_STOPPING)
            mdc_tracees_reap(&tracer->tracees);
    }
    mdc_status status = MDC_OK;
    if (atomic_load(&tracer->stage) != STAGE_FAILED) status = publish(tracer, err);
    if (status == MDC_OK && atomic_load(&tracer->stage) != STAGE_FAILED) return MDC_OK;
    join(tracer);
    return status != MDC_OK ? status : mdc_tracees_explain(&tracer->tracees, err);
}

const mdc_held *mdc_tracer_threads(const mdc_tracer *tracer, size_t *count) {
    *count = tracer->held.count;
    return tracer->held.data;
}

const mdc_registers_layout *mdc_tracer_layout(const mdc_tracer *tracer) { return &tracer->tracees.layout; }

mdc_status mdc_tracer_resume(mdc_tracer *tracer, uint64_t *stop_time_ns, mdc_error *err) {
    join(tracer);
    *stop_time_ns = tracer->stop_time_ns;
    return tracer->early ? mdc_control_check(tracer->control, err) : MDC_OK;
}

bool mdc_tracer_freeze(mdc_tracer *tracer, mdc_fork_child *child) {
    uint32_t stage = atomic_load(&tracer->stage);
    if (stage != STAGE_STANDING) return false;
    tracer->child = child;
    atomic_store(&tracer->wanted, WANT_CHILD);
    mdc_futex_wake(&tracer->wanted);
    while ((stage = atomic_load(&tracer->stage)) == STAGE_STANDING)
        if (mdc_futex_wait(&tracer->stage, STAGE_STANDING, TICK_NS) != 0) sched_yield();
    return stage == STAGE_FROZEN;
}

bool mdc_tracer_goes_first(const mdc_tracer *tracer) { return tracer->goes_first; }

void mdc_tracer_free(mdc_tracer *tracer) {
    if (tracer == NULL) return;
    join(tracer);
    mdc_own_files_close(&tracer->own);
    mdc_tracees_fini(&tracer->tracees);
    mdc_vec_fini(&tracer->held);
    mdc_dealloc(tracer);
}
