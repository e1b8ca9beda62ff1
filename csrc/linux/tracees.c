/* Seizing, stopping and letting go the threads of a process (see tracees.h). */
#include "tracees.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "access.h"
#include "process.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum {
    SEIZE_ATTEMPTS = 3,
    SEIZE_ROUNDS = 8,   /* before the freeze; threads that come later are found in it */
    STOP_ROUNDS = 1000, /* each round all threads known before it stand: only the unknown can make more */
    QUIET_ROUNDS = 50,  /* as many without a new thread: the count is wrong (a zombie that somebody else traces) */
    EAGER_PASSES = 20,  /* passes over what has not stopped yet before the first sleep */
    PAUSE_MIN_NS = 20000,
    PAUSE_MAX_NS = 1000000,
    LOOK_CLOSELY_NS = 10000000 /* after that long /proc is asked why a thread does not stop */
};

static mdc_tracee *thread_at(const mdc_tracees *tracees, size_t i) {
    return &mdc_vec_at(&tracees->threads, mdc_tracee, i);
}

mdc_status mdc_tracees_init(mdc_tracees *tracees, int32_t pid, int proc, mdc_error *err) {
    memset(tracees, 0, sizeof *tracees);
    tracees->pid = pid;
    tracees->proc = proc;
    mdc_vec_init(&tracees->threads, sizeof(mdc_tracee));
    mdc_vec_init(&tracees->blocks, sizeof(uint8_t *));
    int rc = pthread_mutex_init(&tracees->lock, NULL);
    return rc == 0 ? MDC_OK : mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, rc, "cannot make a lock");
}

void mdc_tracees_fini(mdc_tracees *tracees) {
    for (size_t i = 0; i < tracees->blocks.count; i++) mdc_dealloc(mdc_vec_at(&tracees->blocks, uint8_t *, i));
    mdc_vec_fini(&tracees->blocks);
    mdc_vec_fini(&tracees->threads);
    pthread_mutex_destroy(&tracees->lock);
}

void mdc_tracees_forget(mdc_tracees *tracees) {
    pthread_mutex_lock(&tracees->lock);
    tracees->threads.count = 0;
    pthread_mutex_unlock(&tracees->lock);
    tracees->sentinel = 0;
}

static int by_tid(const void *a, const void *b) {
    int32_t x = ((const mdc_tracee *)a)->tid, y = ((const mdc_tracee *)b)->tid;
    return x < y ? -1 : x > y;
}

static int by_number(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* The state letter of a thread: 'Z' also for one that is no longer there, '?' if it cannot be told. */
static char thread_state(const mdc_tracees *tracees, int32_t tid) {
    char path[32];
    mdc_process_stat stat;
    mdc_error err;
    mdc_error_clear(&err);
    snprintf(path, sizeof path, "task/%d", (int)tid);
    int directory = openat(tracees->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return errno == ENOENT || errno == ESRCH ? 'Z' : '?';
    mdc_status status = mdc_process_read_stat(directory, &stat, &err);
    close(directory);
    if (status != MDC_OK) return status == MDC_ERR_TARGET_GONE ? 'Z' : '?';
    return stat.state == 'X' ? 'Z' : stat.state;
}

/* Whether to go on: not cancelled, and neither deadline nor max_stop has passed. */
static mdc_status check_time(mdc_tracees *tracees, mdc_error *err) {
    if (tracees->frozen_from != 0 && mdc_clock_ns() >= tracees->frozen_until)
        mdc_monitor_abort(tracees->monitor, MDC_ABORT_MAX_STOP);
    return mdc_monitor_check(tracees->monitor, err);
}

static mdc_status seize_one(mdc_tracees *tracees, int32_t tid, uint8_t *state, mdc_error *err) {
    int failpoint = MDC_FAILPOINT("stop:thread"), saved = failpoint;
    /* A zombie (a dead leader, say) cannot be traced: EPERM as well. One that an exec replaces right then is a zombie
     * when the kernel looks and alive when we do: so ask again. */
    for (int attempt = 0; failpoint == 0 && attempt < SEIZE_ATTEMPTS; attempt++) {
        *state = MDC_TRACEE_SEIZED;
        if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0) return MDC_OK;
        saved = errno;
        *state = MDC_TRACEE_DEAD;
        if (saved == ESRCH || thread_state(tracees, tid) == 'Z') return MDC_OK;
    }
    if (failpoint == 0 && saved == EPERM) {
        mdc_access_facts facts;
        mdc_access_gather(tid, saved, &facts);
        if (facts.tracer_pid == (int32_t)syscall(SYS_gettid)) {
            *state = MDC_TRACEE_SEIZED; /* a thread of ours took the dead leader's number by exec */
            return MDC_OK;
        }
    }
    *state = MDC_TRACEE_DEAD;
    if (saved == EPERM || saved == EACCES) return mdc_access_refuse(tid, saved, MDC_PHASE_STOP, "trace", err);
    mdc_status status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, saved, "cannot trace thread %d", (int)tid);
    err->index = tid;
    return status;
}

/* Lists the threads and seizes those not known; with `interrupt` asks them to stop. */
static mdc_status find_new(mdc_tracees *tracees, bool interrupt, size_t *found, mdc_error *err) {
    mdc_vec tids;
    *found = 0;
    mdc_vec_init(&tids, sizeof(int32_t));
    mdc_status status = mdc_process_threads(tracees->proc, &tids, err);
    size_t known = tracees->threads.count, at = 0;
    for (size_t i = 0; i < known; i++) thread_at(tracees, i)->listed = false;
    if (status == MDC_OK) {
        qsort(tids.data, tids.count, sizeof(int32_t), by_number);
        pthread_mutex_lock(&tracees->lock);
        status = mdc_vec_reserve(&tracees->threads, known + tids.count, err);
        pthread_mutex_unlock(&tracees->lock);
    }
    for (size_t i = 0; status == MDC_OK && i < tids.count; i++) {
        mdc_tracee new = {.tid = mdc_vec_at(&tids, int32_t, i), .listed = true};
        while (at < known && thread_at(tracees, at)->tid < new.tid) at++;
        if (at < known && thread_at(tracees, at)->tid == new.tid) {
            thread_at(tracees, at)->listed = true;
            continue;
        }
        status = seize_one(tracees, new.tid, &new.state, err);
        new.traced = new.state == MDC_TRACEE_SEIZED;
        if (interrupt && new.traced) ptrace(PTRACE_INTERRUPT, new.tid, NULL, NULL);
        *found += new.traced;
        /* Entered whatever happened: what was seized must be let go again. There is room. */
        pthread_mutex_lock(&tracees->lock);
        ((mdc_tracee *)tracees->threads.data)[tracees->threads.count++] = new;
        pthread_mutex_unlock(&tracees->lock);
        if (status == MDC_OK) status = check_time(tracees, err);
    }
    if (tracees->threads.count > known) {
        pthread_mutex_lock(&tracees->lock);
        qsort(tracees->threads.data, tracees->threads.count, sizeof(mdc_tracee), by_tid);
        pthread_mutex_unlock(&tracees->lock);
    }
    mdc_vec_fini(&tids);
    return status;
}

/* Contexts for `count` threads, touched here so that no page fault falls into the freeze. */
static mdc_status make_room(mdc_tracees *tracees, size_t count, mdc_error *err) {
    if (count <= tracees->room_count) return MDC_OK;
    mdc_status status = mdc_vec_reserve(&tracees->blocks, tracees->blocks.count + 1, err);
    if (status != MDC_OK) return status;
    uint8_t *block = mdc_alloc(count, tracees->layout.context_size, err);
    if (block == NULL) return err->code;
    memset(block, 0xFF, count * tracees->layout.context_size);
    status = mdc_vec_push(&tracees->blocks, &block, 1, NULL, err);
    tracees->room = block;
    tracees->room_count = count;
    return status;
}

static uint8_t *take_room(mdc_tracees *tracees) {
    uint8_t *context = tracees->room;
    tracees->room += tracees->layout.context_size;
    tracees->room_count--;
    return context;
}

mdc_status mdc_tracees_seize(mdc_tracees *tracees, mdc_error *err) {
    size_t found = 1;
    mdc_status status = MDC_OK;
    for (int round = 0; status == MDC_OK && found > 0 && round < SEIZE_ROUNDS; round++)
        status = find_new(tracees, false, &found, err);
    if (status == MDC_OK) status = make_room(tracees, tracees->threads.count + tracees->threads.count / 8 + 8, err);
    return status;
}

/* Whether a thread that does not answer has exited. Its exit status is not taken. */
static bool has_exited(int32_t tid) {
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return errno == ECHILD;
    return info.si_pid == tid &&
           (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
}

void mdc_tracees_reap(mdc_tracees *tracees) {
    pthread_mutex_lock(&tracees->lock);
    for (size_t i = 0; i < tracees->threads.count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        siginfo_t info;
        if (thread->tid == tracees->pid || !thread->traced || thread->reaped || !has_exited(thread->tid)) continue;
        waitid(P_PID, (id_t)thread->tid, &info, WEXITED | WNOHANG | __WALL);
        thread->reaped = true;
    }
    pthread_mutex_unlock(&tracees->lock);
}

void mdc_tracees_reap_all(void) {
    int saved = errno;
    siginfo_t info;
    do info.si_pid = 0;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid != 0);
    errno = saved;
}

static void pause_ns(uint64_t ns) {
    struct timespec time = {(time_t)(ns / 1000000000U), (long)(ns % 1000000000U)};
    nanosleep(&time, NULL);
}

/* Waits until every seized thread stands, is dead, or has had its time. */
static mdc_status settle(mdc_tracees *tracees, mdc_error *err) {
    uint64_t start = mdc_clock_ns(), pause = PAUSE_MIN_NS;
    for (unsigned pass = 0;; pass++) {
        size_t pending = 0;
        uint64_t waited = mdc_clock_ns() - start;
        bool look = pass >= EAGER_PASSES, late = look && waited >= tracees->stop_timeout_ns;
        bool closely = look && pass % 8 == 0 && waited >= LOOK_CLOSELY_NS;
        for (size_t i = 0; i < tracees->threads.count; i++) {
            mdc_tracee *thread = thread_at(tracees, i);
            if (thread->state != MDC_TRACEE_SEIZED) continue;
            if (mdc_registers_readable(thread->tid)) {
                thread->state = MDC_TRACEE_STOPPED;
            } else if (look && has_exited(thread->tid)) {
                thread->state = MDC_TRACEE_DEAD;
            } else if ((late || closely) && thread_state(tracees, thread->tid) == 'Z') {
                thread->state = MDC_TRACEE_DEAD; /* a dead leader is not reported as long as others live */
            } else if (late) {
                thread->state = MDC_TRACEE_STUCK;
            } else {
                pending++;
            }
        }
        if (pending == 0) return MDC_OK;
        mdc_status status = check_time(tracees, err);
        if (status != MDC_OK) return status;
        if (!look) {
            sched_yield();
            continue;
        }
        mdc_tracees_reap(tracees);
        pause_ns(pause);
        if (pause < PAUSE_MAX_NS) pause *= 2;
    }
}

/* The signal a standing thread was about to receive, 0 if it stands for another reason. A stop that PTRACE_INTERRUPT or
 * job control made has PTRACE_EVENT_STOP in si_code (ptrace_do_notify in kernel/signal.c). */
static uintptr_t pending_signal(int32_t tid) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) != 0) return 0;
    if (info.si_code == (info.si_signo | PTRACE_EVENT_STOP << 8)) return 0;
    return (uintptr_t)info.si_signo;
}

static bool detach(const mdc_tracee *thread) {
    return ptrace(PTRACE_DETACH, thread->tid, NULL, (void *)pending_signal(thread->tid)) == 0;
}

static mdc_status gone(const mdc_tracees *tracees, mdc_error *err) {
    return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_STOP, ESRCH,
                    "process %d ended, or became another program, while it was being stopped", (int)tracees->pid);
}

static mdc_status read_registers(mdc_tracees *tracees, mdc_error *err) {
    size_t standing = 0, stuck = 0;
    for (size_t i = 0; i < tracees->threads.count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        bool held = thread->state == MDC_TRACEE_STOPPED || thread->state == MDC_TRACEE_STUCK;
        if (held && !thread->listed && thread_state(tracees, thread->tid) == 'Z') {
            /* Dead, or a thread of another process that got the number between the listing and the seize. */
            detach(thread);
            thread->state = MDC_TRACEE_FOREIGN;
        }
        if (thread->state == MDC_TRACEE_STUCK && mdc_registers_readable(thread->tid))
            thread->state = MDC_TRACEE_STOPPED; /* a little late */
        standing += thread->state == MDC_TRACEE_STOPPED;
        stuck += thread->state == MDC_TRACEE_STUCK;
    }
    if (standing + stuck == 0) return gone(tracees, err);
    mdc_status status = make_room(tracees, standing + stuck, err);
    for (size_t i = 0; status == MDC_OK && i < tracees->threads.count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        if (thread->state == MDC_TRACEE_STUCK) {
            thread->context = take_room(tracees);
            mdc_registers_none(&tracees->layout, thread->context);
        } else if (thread->state == MDC_TRACEE_STOPPED) {
            thread->context = take_room(tracees);
            tracees->sentinel = i;
            status = mdc_registers_read(thread->tid, &tracees->layout, thread->context, &thread->summary, err);
            if (status != MDC_OK && err->os_errno == ESRCH && !mdc_tracees_alive(tracees)) {
                mdc_error_clear(err);
                return gone(tracees, err);
            }
        }
    }
    return status;
}

/* Whether the last listing showed every thread. The kernel cuts the listing of task/ short when the thread it stands at
 * dies (next_tid in fs/proc/base.c), so the number of threads has to agree. It counts zombies that nobody has waited
 * for: those we trace, and a dead leader. */
static bool listing_complete(mdc_tracees *tracees) {
    mdc_process_stat stat;
    mdc_error ignored;
    size_t count = 0;
    mdc_error_clear(&ignored);
    if (mdc_process_read_stat(tracees->proc, &stat, &ignored) != MDC_OK) return false;
    pthread_mutex_lock(&tracees->lock);
    for (size_t i = 0; i < tracees->threads.count; i++) {
        const mdc_tracee *thread = thread_at(tracees, i);
        count += thread->listed && (thread->tid == tracees->pid || (thread->traced && !thread->reaped));
    }
    pthread_mutex_unlock(&tracees->lock);
    return count == stat.threads;
}

mdc_status mdc_tracees_stop(mdc_tracees *tracees, mdc_error *err) {
    tracees->frozen_from = mdc_clock_ns();
    tracees->frozen_until = UINT64_MAX;
    if (tracees->max_stop_ns != 0 && !mdc_add_u64(tracees->frozen_from, tracees->max_stop_ns, &tracees->frozen_until))
        tracees->frozen_until = UINT64_MAX;
    for (size_t i = 0; i < tracees->threads.count; i++)
        if (thread_at(tracees, i)->state == MDC_TRACEE_SEIZED)
            ptrace(PTRACE_INTERRUPT, thread_at(tracees, i)->tid, NULL, NULL);
    mdc_status status = settle(tracees, err);
    size_t found = 0;
    int quiet = 0;
    for (int round = 0; status == MDC_OK; round++) {
        if (round == STOP_ROUNDS)
            return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                            "process %d makes threads faster than they can be stopped", (int)tracees->pid);
        status = find_new(tracees, true, &found, err);
        if (status == MDC_OK && found > 0) status = settle(tracees, err);
        quiet = found > 0 ? 0 : quiet + 1;
        if (quiet > 0 && (quiet == QUIET_ROUNDS || listing_complete(tracees))) break;
        if (quiet > 1) pause_ns(PAUSE_MIN_NS);
        if (status == MDC_OK) status = check_time(tracees, err);
    }
    return status == MDC_OK ? read_registers(tracees, err) : status;
}

bool mdc_tracees_alive(mdc_tracees *tracees) {
    if (tracees->sentinel >= tracees->threads.count) return true;
    const mdc_tracee *thread = thread_at(tracees, tracees->sentinel);
    return thread->state != MDC_TRACEE_STOPPED || mdc_registers_readable(thread->tid);
}

bool mdc_tracees_release(mdc_tracees *tracees) {
    bool all = true;
    for (size_t i = 0; i < tracees->threads.count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        if (thread->state == MDC_TRACEE_DEAD) continue;
        if (!detach(thread) && thread->state == MDC_TRACEE_STOPPED) all = false;
        thread->state = MDC_TRACEE_DEAD;
    }
    return all;
}
