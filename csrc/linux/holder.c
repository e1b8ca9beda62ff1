/* The holder (see holder.h): what ptrace does is in tracees.c, when it does it is here, what the process of its own is
 * in twin.c. */
#include "holder.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "tracees.h"
#include "twin.h"

#define STOP_TIMEOUT_NS UINT64_C(250000000)
#define TICK_NS UINT64_C(10000000)                   /* how often a standing target and the monitor are looked at */
#define REAP_AFTER_NS UINT64_C(20000000)             /* the stop has lasted this long: perhaps an exec waits for us */
enum { STACK_BYTES = 512 * 1024, KCMP_VM_TYPE = 1 }; /* linux/kcmp.h is not installed everywhere */

/* mdc_holder.stage */
enum { STAGE_NEW, STAGE_STOPPING, STAGE_STANDING, STAGE_FAILED, STAGE_OVER };

struct mdc_holder {
    mdc_tracees tracees;
    mdc_monitor *monitor;
    int pidfd;
    int wake;     /* eventfd: resume is asked for */
    mdc_vec held; /* mdc_held */

    pthread_t thread;
    bool running; /* started and not joined; the owner's */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int stage;       /* under lock */
    bool by_thread;  /* our own thread traces, no process of its own; set under lock */
    pid_t owner;     /* our process: the parent of a tracer that is one of its own */
    bool refused;    /* the process of its own may not trace; perhaps our thread may */
    mdc_error error; /* of the stop; before STAGE_FAILED */
    bool early;      /* let go, or dead, before it was asked for; read after the join, as the rest */
    uint64_t frozen_ns;
};

mdc_holder *mdc_holder_new(const mdc_live_options *options, int32_t pid, int pidfd, int proc, mdc_monitor *monitor,
                           mdc_error *err) {
    mdc_holder *holder = mdc_alloc(1, sizeof *holder, err);
    if (holder == NULL) return NULL;
    holder->monitor = monitor;
    holder->pidfd = pidfd;
    mdc_error_clear(&holder->error);
    mdc_vec_init(&holder->held, sizeof(mdc_held));
    holder->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (holder->wake < 0) {
        mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, errno, "cannot make an eventfd");
        mdc_dealloc(holder);
        return NULL;
    }
    if (mdc_tracees_init(&holder->tracees, pid, proc, err) != MDC_OK) {
        close(holder->wake);
        mdc_dealloc(holder);
        return NULL;
    }
    holder->tracees.monitor = monitor;
    holder->tracees.max_stop_ns = options->max_stop_ns;
    holder->tracees.layout = mdc_registers_describe(options->xstate != 0);
    holder->tracees.stop_timeout_ns = options->stop_timeout_ns != 0 ? options->stop_timeout_ns : STOP_TIMEOUT_NS;

    pthread_condattr_t attr; /* cannot fail on Linux: no resources are behind them */
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&holder->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&holder->lock, NULL);
    return holder;
}

static void enter(mdc_holder *holder, int stage) {
    pthread_mutex_lock(&holder->lock);
    holder->stage = stage;
    pthread_cond_broadcast(&holder->changed);
    pthread_mutex_unlock(&holder->lock);
}

/* The list the engine's thread will see: the main thread first, then by number. */
static mdc_status publish(mdc_holder *holder, mdc_error *err) {
    const mdc_vec *threads = &holder->tracees.threads;
    mdc_status status = mdc_vec_reserve(&holder->held, threads->count, err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; status == MDC_OK && i < threads->count; i++) {
            const mdc_tracee *thread = &mdc_vec_at(threads, mdc_tracee, i);
            if (thread->context == NULL || (thread->tid == holder->tracees.pid) != (pass == 0)) continue;
            mdc_held held = {.tid = (uint32_t)thread->tid,
                             .flags = thread->state == MDC_TRACEE_STUCK ? MDC_THREAD_NO_REGISTERS : 0,
                             .context = thread->context,
                             .summary = thread->summary};
            status = mdc_vec_push(&holder->held, &held, 1, NULL, err);
        }
    }
    return status;
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
    struct itimerval timer = {{0, on ? REAP_AFTER_NS / 1000 : 0}, {0, on ? REAP_AFTER_NS / 1000 : 0}};
    if (on) sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    pthread_sigmask(on ? SIG_UNBLOCK : SIG_BLOCK, &alarm, NULL);
}

/* Waits while the target stands. Returns false if it has to be let go before that was asked for. */
static bool stand(mdc_holder *holder) {
    mdc_monitor *monitor = holder->monitor;
    uint64_t until = holder->tracees.frozen_until;
    bool by_deadline = monitor->deadline_ns != 0 && monitor->deadline_ns < until;
    if (by_deadline) until = monitor->deadline_ns;

    for (;;) {
        uint64_t now = mdc_clock_ns();
        if (atomic_load(&monitor->abort) != MDC_ABORT_NONE) return false;
        if (!holder->by_thread && getppid() != holder->owner) return false; /* it is no more */
        if (now >= until) {
            mdc_monitor_abort(monitor, by_deadline ? MDC_ABORT_DEADLINE : MDC_ABORT_MAX_STOP);
            return false;
        }
        uint64_t wait = mdc_min_u64(TICK_NS, until - now);
        struct timespec timeout = {0, (long)wait};
        struct pollfd fds[2] = {{holder->wake, POLLIN, 0}, {holder->pidfd, POLLIN, 0}};
        int ready = ppoll(fds, 2, &timeout, NULL);
        if (ready > 0 && fds[0].revents != 0) return true;
        /* The pidfd says nothing while dead threads of the target wait for their tracer: so ask a thread as well. */
        if ((ready > 0 && fds[1].revents != 0) || !mdc_tracees_alive(&holder->tracees)) {
            mdc_monitor_abort(monitor, MDC_ABORT_TARGET_GONE);
            return false;
        }
    }
}

/* One hold from beginning to end, by whoever traces. */
static void hold(mdc_holder *holder) {
    mdc_tracees *tracees = &holder->tracees;
    mdc_status status = mdc_tracees_seize(tracees, &holder->error);
    if (status == MDC_ERR_ACCESS && !holder->by_thread && tracees->threads.count == 1) {
        holder->refused = true; /* at once: as Yama does, who lets an ancestor trace, which our thread may be */
        return;
    }
    if (status == MDC_OK) {
        atomic_store(&holder->monitor->stopped, 1);
        status = mdc_tracees_stop(tracees, &holder->error);
    }
    if (status == MDC_OK) status = publish(holder, &holder->error);
    if (status == MDC_OK) {
        if (!holder->by_thread) reap_by_alarm(false);
        enter(holder, STAGE_STANDING);
        holder->early = !stand(holder);
    }
    if (!mdc_tracees_release(tracees) && status == MDC_OK) {
        mdc_monitor_abort(holder->monitor, MDC_ABORT_TARGET_GONE);
        holder->early = true;
    }
    if (tracees->frozen_from != 0) holder->frozen_ns = mdc_clock_ns() - tracees->frozen_from;
    atomic_store(&holder->monitor->stopped, 0);
    enter(holder, status == MDC_OK ? STAGE_OVER : STAGE_FAILED);
    /* The kernel lets go whatever has not stopped. */
}

static void hold_as_process(void *argument) {
    reap_by_alarm(true);
    hold(argument);
}

/* Somebody killed the process that held the target, which runs on: what was read since is worth nothing, and the resume
 * will say so. */
static void killed(mdc_holder *holder) {
    pthread_mutex_lock(&holder->lock);
    bool stood = holder->stage == STAGE_STANDING, over = holder->stage != STAGE_STOPPING && !stood;
    pthread_mutex_unlock(&holder->lock);
    if (over) return;
    atomic_store(&holder->monitor->stopped, 0);
    holder->early = true;
    if (stood) {
        mdc_monitor_abort(holder->monitor, MDC_ABORT_CANCEL);
    } else {
        mdc_error_clear(&holder->error);
        mdc_fail(&holder->error, MDC_ERR_CANCELLED, MDC_PHASE_STOP, 0,
                 "the process that was to hold the target was killed");
    }
    enter(holder, stood ? STAGE_OVER : STAGE_FAILED);
}

static void *run(void *argument) {
    mdc_holder *holder = argument;
    bool finished;

    prctl(PR_SET_NAME, "mdc-holder"); /* both are inherited by a process of its own */
    prctl(PR_SET_TIMERSLACK, 1000UL); /* ns; the default of 50 us would be added to every pause of a stop */

    int rc = MDC_FAILPOINT("spawn:twin");
    if (rc == 0) rc = mdc_twin_run(hold_as_process, holder, &finished);
    if (rc == 0 && !finished) {
        killed(holder);
    } else if (rc != 0 || holder->refused) {
        mdc_tracees_forget(&holder->tracees);
        mdc_error_clear(&holder->error);
        pthread_mutex_lock(&holder->lock);
        holder->by_thread = true;
        pthread_mutex_unlock(&holder->lock);
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
    uint64_t one = 1;
    ssize_t written;
    do written = write(holder->wake, &one, sizeof one);
    while (written < 0 && errno == EINTR); /* EAGAIN: it has been asked for very often already */
    pthread_join(holder->thread, NULL);
    holder->running = false;
}

mdc_status mdc_holder_stop(mdc_holder *holder, mdc_error *err) {
    pthread_mutex_lock(&holder->lock);
    bool fresh = holder->stage == STAGE_NEW;
    if (fresh) holder->stage = STAGE_STOPPING;
    pthread_mutex_unlock(&holder->lock);
    if (!fresh) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "a holder stops its target once");
    pid_t pid = (pid_t)holder->tracees.pid;
    holder->owner = getpid();
    if (syscall(SYS_kcmp, holder->owner, pid, KCMP_VM_TYPE, 0, 0) == 0) {
        enter(holder, STAGE_FAILED);
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                        "process %d shares the memory of this one: stopping it may stop us", (int)pid);
    }
    int rc = spawn(holder);
    if (rc != 0) {
        enter(holder, STAGE_FAILED);
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_STOP, rc, "cannot start the thread that holds the target");
    }
    holder->running = true;
    pthread_mutex_lock(&holder->lock);
    while (holder->stage == STAGE_STOPPING) {
        uint64_t until = mdc_clock_ns() + REAP_AFTER_NS;
        struct timespec time = {(time_t)(until / 1000000000U), (long)(until % 1000000000U)};
        int waited = pthread_cond_timedwait(&holder->changed, &holder->lock, &time);
        if (waited != ETIMEDOUT || !holder->by_thread) continue;
        pthread_mutex_unlock(&holder->lock);
        mdc_tracees_reap(&holder->tracees); /* PTRACE_SEIZE may be waiting for an exec that waits for this */
        pthread_mutex_lock(&holder->lock);
    }
    bool failed = holder->stage == STAGE_FAILED;
    pthread_mutex_unlock(&holder->lock);
    if (!failed) return MDC_OK;
    join(holder);
    if (err->code == MDC_OK) *err = holder->error;
    return err->code;
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

void mdc_holder_free(mdc_holder *holder) {
    if (holder == NULL) return;
    join(holder);
    mdc_tracees_fini(&holder->tracees);
    mdc_vec_fini(&holder->held);
    pthread_cond_destroy(&holder->changed);
    pthread_mutex_destroy(&holder->lock);
    close(holder->wake);
    mdc_dealloc(holder);
}
