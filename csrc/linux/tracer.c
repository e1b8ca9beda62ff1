/* The holder (see tracer.h): what ptrace does is in ptrace_threads.c, when it does it is here, what the process of its
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
#include "futexes.h"
#include "mutual.h"
#include "ptrace_threads.h"

#define STOP_TIMEOUT_NS UINT64_C(250000000)
#define TICK_NS UINT64_C(10000000)                   /* how often a stopped target and the monitor are checked */
#define REAP_AFTER_NS UINT64_C(20000000)             /* a seize takes this long: perhaps an exec waits for us */
#define ABORT_NS UINT64_C(1000000000)                /* how long a stop may take to end by itself */
#define MUTUAL_AFTER_NS UINT64_C(100000000)          /* as long without progress: perhaps the target dumps us */
enum { STACK_BYTES = 512 * 1024, KCMP_VM_TYPE = 1 }; /* linux/kcmp.h is not installed everywhere */

/* mdc_holder.stage */
enum { STAGE_NEW, STAGE_STOPPING, STAGE_STANDING, STAGE_FAILED, STAGE_OVER };

struct mdc_holder {
    mdc_tracees tracees;
    mdc_monitor *monitor;
    int pidfd;
    mdc_vec held; /* mdc_held; the owner's */

    pthread_t thread;
    bool running;            /* started and not joined; the owner's */
    _Atomic uint32_t wanted; /* a futex: 1 once resume is asked for */
    _Atomic uint32_t stage;  /* a futex */
    _Atomic bool by_thread;  /* our own thread traces, no process of its own */
    mdc_own_files own;       /* of our process, the parent of a tracer that is one of its own */
    _Atomic int32_t tracer;  /* its number, 0: not begun */
    bool goes_first;         /* of two that dump each other we may try again */
    uint32_t rings;          /* how often in a row it found one */
    uint64_t looked;         /* when the tracer last looked for a ring */
    bool refused;            /* the process of its own may not trace; perhaps our thread may */
    bool early;              /* resumed, or dead, before it was asked for; read after the join, as the rest */
    uint64_t frozen_ns;
};

mdc_holder *mdc_holder_new(const mdc_live_options *options, int32_t pid, int pidfd, int proc, mdc_monitor *monitor,
                           mdc_error *err) {
    mdc_holder *holder = mdc_alloc(1, sizeof *holder, err);
    if (holder == NULL) return NULL;
    holder->monitor = monitor;
    holder->pidfd = pidfd;
    holder->own.reader = holder->own.leader = -1;
    atomic_init(&holder->wanted, 0);
    atomic_init(&holder->stage, STAGE_NEW);
    atomic_init(&holder->by_thread, false);
    atomic_init(&holder->tracer, 0);
    mdc_vec_init(&holder->held, sizeof(mdc_held));
    if (mdc_tracees_init(&holder->tracees, pid, proc, err) != MDC_OK) {
        mdc_dealloc(holder);
        return NULL;
    }
    holder->tracees.monitor = monitor;
    holder->tracees.max_stop_ns = options->max_stop_ns;
    holder->tracees.layout = mdc_registers_describe(options->xstate != 0);
    holder->tracees.stop_timeout_ns = options->stop_timeout_ns != 0 ? options->stop_timeout_ns : STOP_TIMEOUT_NS;
    return holder;
}

/* -- the tracer ---------------------------------------------------------------------------------------------------- */

static void enter(mdc_holder *holder, uint32_t stage) {
    atomic_store(&holder->stage, stage);
    mdc_futex_wake(&holder->stage);
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
static bool is_gone(const mdc_holder *holder) {
    struct pollfd file = {holder->pidfd, POLLIN, 0};
    struct timespec at_once = {0, 0};
    return ppoll(&file, 1, &at_once, NULL) > 0 || !mdc_tracees_alive(&holder->tracees);
}

/* How it is with our own process; true if the target dumps it. */
static bool look(mdc_holder *holder, mdc_own_stop *own) {
    *own = mdc_mutual_look(&holder->own, &holder->tracees.scratch, holder->tracees.pid);
    return own->ring;
}

/* What hangs: what our thread does, unless it does not run at all. */
static mdc_activity hung(mdc_holder *holder) {
    mdc_own_stop own;
    look(holder, &own);
    if (!own.stopped) return mdc_monitor_doing(holder->monitor);
    return (mdc_activity){
        .kind = MDC_DOING_STOPPED, .callback_type = -1, .address = (uint64_t)(own.tracer > 0 ? own.tracer : 0)};
}

/* Why a stopped target has to be resumed before that was asked for, MDC_ABORT_NONE if it need not. */
static int32_t reason_to_resume(mdc_holder *holder, mdc_stall *stall, uint64_t now) {
    int32_t reason = mdc_monitor_reason(holder->monitor);
    if (reason != MDC_ABORT_NONE) return reason;
    if (now >= holder->tracees.frozen_until) return MDC_ABORT_MAX_STOP;
    if (is_gone(holder)) return MDC_ABORT_TARGET_GONE;
    if (mdc_stall_over(stall, holder->monitor, now)) {
        mdc_monitor_stalled(holder->monitor, hung(holder));
        return MDC_ABORT_STALL;
    }
    /* Dumpers of ours see that before they stop a target; others do not look. */
    mdc_own_stop own;
    uint64_t since = mdc_stall_ns(stall, holder->monitor, now);
    if (since < MUTUAL_AFTER_NS || now - holder->looked < MUTUAL_AFTER_NS) return MDC_ABORT_NONE;
    holder->looked = now;
    holder->rings = look(holder, &own) && own.stopped ? holder->rings + 1 : 0;
    /* Since Linux 5.16 its threads end, and we with them, only when the core is complete. */
    if (own.crashed) return MDC_ABORT_CANCEL;
    if (holder->rings == 2) return MDC_ABORT_MUTUAL; /* twice: the other is not about to give up */
    return MDC_ABORT_NONE;
}

/* Waits while the target is stopped. Returns false if it has to be resumed before that was asked for. */
static bool stand(mdc_holder *holder) {
    mdc_monitor *monitor = holder->monitor;
    uint64_t until = holder->tracees.frozen_until;
    mdc_stall stall;
    mdc_stall_init(&stall, monitor, mdc_clock_ns());
    if (monitor->deadline_ns != 0) until = mdc_min_u64(until, monitor->deadline_ns);
    for (;;) {
        uint64_t now = mdc_clock_ns();
        int32_t reason = reason_to_resume(holder, &stall, now);
        if (reason != MDC_ABORT_NONE) {
            mdc_monitor_abort(monitor, reason);
            return false;
        }
        if (!atomic_load(&holder->by_thread) && getppid() != holder->own.owner) return false; /* it has ended */
        if (atomic_load(&holder->wanted) != 0) return true;
        if (mdc_futex_wait(&holder->wanted, 0, until > now ? mdc_min_u64(TICK_NS, until - now) : 0) != 0) {
            mdc_monitor_abort(monitor, MDC_ABORT_TRACER);
            return false;
        }
    }
}

/* One hold from beginning to end, by whichever traces. */
static void hold(mdc_holder *holder) {
    mdc_own_stop own;
    atomic_store(&holder->tracer, (int32_t)syscall(SYS_gettid));
    mdc_tracees *tracees = &holder->tracees;
    bool by_thread = atomic_load(&holder->by_thread), stopped = mdc_tracees_seize(tracees);
    if (!stopped && !by_thread && mdc_tracees_refused(tracees)) {
        atomic_store(&holder->tracer, 0);
        holder->refused = true; /* at once: as by Yama, which allows an ancestor to trace, and our thread may be one */
        return;
    }
    if (stopped && look(holder, &own)) {
        tracees->fault = (mdc_fault){.kind = MDC_FAULT_MUTUAL};
        holder->goes_first = own.lowest;
        stopped = false;
    }
    if (stopped) {
        atomic_store(&holder->monitor->stopped, 1);
        stopped = mdc_tracees_stop(tracees);
    }
    if (stopped) {
        if (!by_thread) reap_by_alarm(false);
        enter(holder, STAGE_STANDING);
        holder->early = !stand(holder);
    }
    if (!mdc_tracees_release(tracees) && stopped) {
        mdc_monitor_abort(holder->monitor, MDC_ABORT_TARGET_GONE);
        holder->early = true;
    }
    if (tracees->frozen_from != 0) holder->frozen_ns = mdc_clock_ns() - tracees->frozen_from;
    atomic_store(&holder->monitor->stopped, 0);
    enter(holder, stopped ? STAGE_OVER : STAGE_FAILED);
    /* The kernel detaches whatever has not stopped. */
}

static void hold_as_process(void *argument) {
    mdc_holder *holder = argument;
    reap_by_alarm(true);
    holder->tracees.alarm_ns = REAP_AFTER_NS;
    hold(holder);
}

/* -- the owner ----------------------------------------------------------------------------------------------------- */

/* The process that held the target was killed, and the target runs on: what was read since is worth nothing, and the
 * resume will say so. */
static void killed(mdc_holder *holder) {
    uint32_t stage = atomic_load(&holder->stage);
    if (stage != STAGE_STOPPING && stage != STAGE_STANDING) return;
    if (holder->tracees.frozen_from != 0) holder->frozen_ns = mdc_clock_ns() - holder->tracees.frozen_from;
    holder->early = true;
    if (stage == STAGE_STANDING) {
        mdc_monitor_abort(holder->monitor, MDC_ABORT_CANCEL);
    } else {
        bool by_us = mdc_monitor_reason(holder->monitor) != MDC_ABORT_NONE;
        holder->tracees.fault = (mdc_fault){.kind = by_us ? MDC_FAULT_MONITOR : MDC_FAULT_KILLED};
    }
    atomic_store(&holder->monitor->stopped, 0);
    enter(holder, stage == STAGE_STANDING ? STAGE_OVER : STAGE_FAILED);
}

static void *run(void *argument) {
    mdc_holder *holder = argument;
    bool finished;

    prctl(PR_SET_NAME, MDC_TRACER_NAME); /* both are inherited by a process of its own */
    prctl(PR_SET_TIMERSLACK, 1000UL);    /* ns; the default of 50 us would be added to every pause of a stop */

    int rc = MDC_FAILPOINT("spawn:twin");
    if (rc == 0) rc = mdc_twin_run(hold_as_process, holder, &finished);
    if (rc == 0 && !finished) {
        killed(holder);
    } else if (rc != 0 || holder->refused) {
        mdc_tracees_forget(&holder->tracees);
        holder->tracees.alarm_ns = 0;
        atomic_store(&holder->by_thread, true);
        hold(holder);
    }
    return NULL;
}

static int spawn(mdc_holder *holder) {
    pthread_attr_t attr;
    sigset_t all, before;
    int rc = MDC_FAILPOINT("spawn:holder");
    if (rc != 0) return rc;
    rc = pthread_attr_init(&attr);
    if (rc != 0) return rc;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    rc = pthread_create(&holder->thread, &attr, run, holder);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

static void join(mdc_holder *holder) {
    if (!holder->running) return;
    atomic_store(&holder->wanted, 1);
    mdc_futex_wake(&holder->wanted);
    pthread_join(holder->thread, NULL);
    holder->running = false;
}

/* The main thread first, then by number. */
static int by_rank(const void *left, const void *right) {
    const mdc_held *a = left, *b = right;
    if (a->leader != b->leader) return a->leader ? -1 : 1;
    return a->tid < b->tid ? -1 : a->tid > b->tid;
}

/* The list the engine's thread will see. */
static mdc_status publish(mdc_holder *holder, mdc_error *err) {
    const mdc_tracees *tracees = &holder->tracees;
    size_t count = atomic_load(&tracees->count);
    mdc_status status = mdc_vec_reserve(&holder->held, count, err);
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        const mdc_tracee *thread = mdc_tracees_at(tracees, i);
        if (thread->context == NULL) continue;
        mdc_held held = {.tid = (uint32_t)thread->tid,
                         .flags = thread->stuck ? MDC_THREAD_NO_REGISTERS : 0,
                         .leader = thread->tid == tracees->pid,
                         .context = thread->context,
                         .summary = thread->summary};
        status = mdc_vec_push(&holder->held, &held, 1, NULL, err);
    }
    if (status == MDC_OK && holder->held.count > 1)
        qsort(holder->held.data, holder->held.count, sizeof(mdc_held), by_rank);
    return status;
}

/* Ends a tracer that hangs in the stop: in PTRACE_SEIZE, while an exec in the target waits for a file system. One that
 * is a thread of ours cannot be ended. begun, *aborted: when, 0: not yet. */
static void end_hung_stop(mdc_holder *holder, uint64_t begun, uint64_t *aborted) {
    mdc_monitor *monitor = holder->monitor;
    uint64_t now = mdc_clock_ns();
    if (monitor->stall_ns != 0 && now - begun >= monitor->stall_ns + holder->tracees.stop_timeout_ns)
        mdc_monitor_stalled(monitor, (mdc_activity){.kind = MDC_DOING_STOP, .callback_type = -1});
    if (mdc_monitor_reason(monitor) == MDC_ABORT_NONE) return;
    if (*aborted == 0) *aborted = now;
    int32_t tracer = atomic_load(&holder->tracer);
    if (now - *aborted < ABORT_NS || tracer == 0 || atomic_load(&holder->by_thread)) return;
    if (atomic_load(&holder->stage) == STAGE_STOPPING) kill(tracer, SIGKILL);
}

mdc_status mdc_holder_stop(mdc_holder *holder, mdc_error *err) {
    if (atomic_load(&holder->stage) != STAGE_NEW)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "a holder can stop its target only once");
    atomic_store(&holder->stage, STAGE_STOPPING);
    pid_t pid = (pid_t)holder->tracees.pid;
    mdc_own_files_open(&holder->own);
    if (syscall(SYS_kcmp, holder->own.owner, pid, KCMP_VM_TYPE, 0, 0) == 0) {
        enter(holder, STAGE_FAILED);
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                        "process %d shares the memory of this one: stopping it may stop us", (int)pid);
    }
    int rc = spawn(holder);
    if (rc != 0) {
        enter(holder, STAGE_FAILED);
        return mdc_fail_start(err, MDC_PHASE_STOP, rc, "cannot start the thread that stops the target");
    }
    holder->running = true;
    uint64_t begun = mdc_clock_ns(), aborted = 0;
    while (atomic_load(&holder->stage) == STAGE_STOPPING) {
        end_hung_stop(holder, begun, &aborted);
        if (mdc_futex_wait(&holder->stage, STAGE_STOPPING, REAP_AFTER_NS) != 0) sched_yield();
        /* PTRACE_SEIZE may be waiting for an exec that waits for this. */
        if (atomic_load(&holder->by_thread) && atomic_load(&holder->stage) == STAGE_STOPPING)
            mdc_tracees_reap(&holder->tracees);
    }
    mdc_status status = MDC_OK;
    if (atomic_load(&holder->stage) != STAGE_FAILED) status = publish(holder, err);
    if (status == MDC_OK && atomic_load(&holder->stage) != STAGE_FAILED) return MDC_OK;
    join(holder);
    return status != MDC_OK ? status : mdc_tracees_explain(&holder->tracees, err);
}

const mdc_held *mdc_holder_threads(const mdc_holder *holder, size_t *count) {
    *count = holder->held.count;
    return holder->held.data;
}

const mdc_registers_layout *mdc_holder_layout(const mdc_holder *holder) { return &holder->tracees.layout; }

mdc_status mdc_holder_resume(mdc_holder *holder, uint64_t *frozen_ns, mdc_error *err) {
    join(holder);
    *frozen_ns = holder->frozen_ns;
    return holder->early ? mdc_monitor_check(holder->monitor, err) : MDC_OK;
}

bool mdc_holder_goes_first(const mdc_holder *holder) { return holder->goes_first; }

void mdc_holder_free(mdc_holder *holder) {
    if (holder == NULL) return;
    join(holder);
    mdc_own_files_close(&holder->own);
    mdc_tracees_fini(&holder->tracees);
    mdc_vec_fini(&holder->held);
    mdc_dealloc(holder);
}
