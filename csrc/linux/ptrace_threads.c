/* Seizing, stopping and resuming the threads of a process (see ptrace_threads.h). */
#include "ptrace_threads.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "process.h"
#include "scratch.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum {
    SEIZE_ATTEMPTS = 10, /* while the reason for a refusal may be a tracer that is gone already */
    SEIZE_ROUNDS = 8,    /* before the freeze; threads that come later are found in it */
    STOP_ROUNDS = 1000,  /* each round all threads known before it are stopped: only the unknown can make more */
    QUIET_ROUNDS = 50,   /* as many without a new thread: the count is wrong (a zombie that another process traces) */
    EAGER_PASSES = 20,   /* passes over what has not stopped yet before the first sleep */
    PAUSE_MIN_NS = 20000,
    PAUSE_MAX_NS = 1000000,
    LOOK_CLOSELY_NS = 10000000, /* after that long /proc is asked why a thread does not stop */
    SEGMENT_FIRST = 64,         /* tracees in the first segment */
    SEIZES_PER_ALARM = 64,      /* microseconds each, unless one hangs */
    LISTING_BYTES = 32 * 1024
};

/* -- the list ------------------------------------------------------------------------------------------------------ */

/* Segment k holds SEGMENT_FIRST << k tracees. */
static mdc_tracee *thread_at(const mdc_tracees *tracees, size_t i) {
    size_t position = i / SEGMENT_FIRST + 1;
    unsigned k = 63U - (unsigned)__builtin_clzll(position);
    return &tracees->segments[k][i - SEGMENT_FIRST * (((size_t)1 << k) - 1)];
}

static size_t count_of(const mdc_tracees *tracees) {
    return atomic_load_explicit(&tracees->count, memory_order_acquire);
}

mdc_tracee *mdc_tracees_at(const mdc_tracees *tracees, size_t index) { return thread_at(tracees, index); }

static bool fail(mdc_tracees *tracees, mdc_fault fault) {
    tracees->fault = fault;
    return false;
}

static bool no_memory(mdc_tracees *tracees) { return fail(tracees, (mdc_fault){.kind = MDC_FAULT_NOMEM}); }

static uint32_t *slot_of(const mdc_tracees *tracees, int32_t tid) {
    size_t mask = tracees->slot_count - 1, i = ((uint32_t)tid * 2654435769U) & mask;
    /* At most half of them are used. */
    while (tracees->slots[i] != 0 && thread_at(tracees, tracees->slots[i] - 1)->tid != tid) i = (i + 1) & mask;
    return &tracees->slots[i];
}

static mdc_tracee *find(const mdc_tracees *tracees, int32_t tid) {
    uint32_t slot = tracees->slot_count == 0 ? 0 : *slot_of(tracees, tid);
    return slot == 0 ? NULL : thread_at(tracees, slot - 1);
}

/* Room for one more, so that entering it cannot fail. */
static bool reserve(mdc_tracees *tracees) {
    size_t count = count_of(tracees), position = count / SEGMENT_FIRST + 1;
    unsigned k = 63U - (unsigned)__builtin_clzll(position);
    if (k >= MDC_TRACEE_SEGMENTS) return no_memory(tracees);
    if (tracees->segments[k] == NULL)
        tracees->segments[k] = mdc_pages_alloc(&tracees->pages, (size_t)SEGMENT_FIRST << k, sizeof(mdc_tracee));
    if (tracees->segments[k] == NULL) return no_memory(tracees);
    if ((count + 1) * 2 <= tracees->slot_count) return true;
    size_t slot_count = tracees->slot_count == 0 ? 4 * SEGMENT_FIRST : tracees->slot_count * 2;
    uint32_t *slots = mdc_pages_alloc(&tracees->pages, slot_count, sizeof *slots);
    if (slots == NULL) return no_memory(tracees);
    tracees->slots = slots;
    tracees->slot_count = slot_count;
    for (size_t i = 0; i < count; i++) *slot_of(tracees, thread_at(tracees, i)->tid) = (uint32_t)i + 1;
    return true;
}

static void enter(mdc_tracees *tracees, int32_t tid, uint8_t state) {
    size_t count = count_of(tracees);
    mdc_tracee *thread = thread_at(tracees, count);
    memset(thread, 0, sizeof *thread);
    thread->tid = tid;
    thread->listed = tracees->listing;
    thread->state = state;
    thread->traced = state == MDC_TRACEE_SEIZED;
    uint32_t *slot = slot_of(tracees, tid);
    atomic_store_explicit(&tracees->count, count + 1, memory_order_release);
    *slot = (uint32_t)count + 1;
}

mdc_status mdc_tracees_init(mdc_tracees *tracees, int32_t pid, int proc, mdc_error *err) {
    memset(tracees, 0, sizeof *tracees);
    tracees->pid = pid;
    tracees->proc = proc;
    mdc_pages_init(&tracees->pages);
    atomic_init(&tracees->count, 0);
    atomic_init(&tracees->scratch, -1);
    tracees->task = openat(proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int os_errno = errno;
    tracees->stat = tracees->task < 0 ? -1 : openat(proc, "stat", O_RDONLY | O_CLOEXEC);
    if (tracees->stat >= 0) return MDC_OK;
    if (tracees->task >= 0) {
        os_errno = errno;
        close(tracees->task);
        tracees->task = -1;
    }
    bool gone = os_errno == ENOENT || os_errno == ESRCH;
    if (mdc_is_shortage_number(os_errno))
        return mdc_fail_short(err, MDC_PHASE_OPEN, os_errno, "cannot list the threads of the target");
    return mdc_fail(err, gone ? MDC_ERR_TARGET_GONE : MDC_ERR_TARGET, MDC_PHASE_OPEN, os_errno,
                    "cannot list the threads of process %d", (int)pid);
}

void mdc_tracees_fini(mdc_tracees *tracees) {
    mdc_tracees_forget(tracees);
    if (tracees->task >= 0) close(tracees->task);
    if (tracees->stat >= 0) close(tracees->stat);
}

void mdc_tracees_forget(mdc_tracees *tracees) {
    mdc_scratch_close(&tracees->scratch);
    atomic_store(&tracees->count, 0);
    mdc_pages_fini(&tracees->pages);
    memset(tracees->segments, 0, sizeof tracees->segments);
    tracees->slots = NULL;
    tracees->slot_count = 0;
    tracees->room = NULL;
    tracees->room_count = 0;
    tracees->sentinel = 0;
    tracees->fault = (mdc_fault){0};
}

/* -- what /proc says of one thread --------------------------------------------------------------------------------- */

/* The status file of a thread. 0, or an error number. */
static int read_status(mdc_tracees *tracees, int32_t tid, char *status) {
    char path[48];
    snprintf(path, sizeof path, "task/%d/status", (int)tid);
    return mdc_scratch_read(&tracees->scratch, tracees->proc, path, status, MDC_SCRATCH_STATUS);
}

/* The state letter of a thread: 'Z' also for one that is no longer there, '?' if it is unknown. */
static char thread_state(mdc_tracees *tracees, int32_t tid) {
    char status[MDC_SCRATCH_STATUS];
    int os_errno = read_status(tracees, tid, status);
    if (os_errno != 0) return os_errno == ENOENT || os_errno == ESRCH ? 'Z' : '?';
    char state = mdc_scratch_state(status);
    return state == 'X' ? 'Z' : state;
}

/* The number of the thread that traces it; 0: none, or one of another pid namespace. */
static int32_t tracer_of(mdc_tracees *tracees, int32_t tid) {
    char status[MDC_SCRATCH_STATUS];
    return read_status(tracees, tid, status) == 0 ? mdc_scratch_number(status, "\nTracerPid:") : 0;
}

static void pause_ns(uint64_t ns) {
    struct timespec time = {(time_t)(ns / 1000000000U), (long)(ns % 1000000000U)};
    nanosleep(&time, NULL);
}

/* -- seizing ------------------------------------------------------------------------------------------------------- */

/* Whether to go on: not cancelled, and neither deadline nor max_stop has passed. */
static bool check_time(mdc_tracees *tracees) {
    if (tracees->stopped_from != 0 && mdc_clock_ns() >= tracees->stopped_until)
        mdc_control_abort(tracees->control, MDC_ABORT_MAX_STOP);
    return mdc_control_reason(tracees->control) == MDC_ABORT_NONE ||
           fail(tracees, (mdc_fault){.kind = MDC_FAULT_CONTROL});
}

static bool seize_one(mdc_tracees *tracees, int32_t tid, uint8_t *state) {
    mdc_fault fault = {.kind = MDC_FAULT_SEIZE, .os_errno = MDC_FAILPOINT("stop:thread"), .tid = tid};
    /* EPERM means: no permission, a zombie (a dead leader, for example), or traced
     * already. A thread that an exec replaces right then is a zombie for the kernel and alive when we check, and a
     * tracer may be gone when we look for it: so try again. */
    uint64_t pause = PAUSE_MIN_NS;
    for (int attempt = 1; fault.os_errno == 0; attempt++) {
        *state = MDC_TRACEE_SEIZED;
        if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0) return true;
        int os_errno = errno;
        bool last = os_errno != EPERM || attempt == SEIZE_ATTEMPTS;
        int32_t tracer = os_errno == EPERM ? tracer_of(tracees, tid) : 0;
        if (tracer == (int32_t)syscall(SYS_gettid)) return true; /* ours took the dead leader's number by exec */
        *state = MDC_TRACEE_DEAD;
        char letter = os_errno == ESRCH ? 'Z' : thread_state(tracees, tid);
        if (letter == 'Z') return true;
        if (tracer > 0 || (last && letter == 't'))
            return fail(tracees, (mdc_fault){.kind = MDC_FAULT_TRACED, .tid = tid, .tracer = tracer});
        if (last) fault.os_errno = os_errno;
        if (last || attempt < 3) continue;
        pause_ns(pause);
        if (pause < PAUSE_MAX_NS) pause *= 2;
    }
    *state = MDC_TRACEE_DEAD;
    return fail(tracees, fault);
}

static void set_timer(uint64_t ns) {
    struct timeval after = {0, (suseconds_t)(ns / 1000)};
    setitimer(ITIMER_REAL, &(struct itimerval){after, after}, NULL);
}

/* Before a seize: starts the alarm, and anew every few, so that it does not ring as long as seizes come back. */
static void set_alarm(mdc_tracees *tracees) {
    if (tracees->alarm_ns == 0) return;
    if (tracees->alarm_seizes++ % SEIZES_PER_ALARM == 0) set_timer(tracees->alarm_ns);
}

static void end_alarm(mdc_tracees *tracees) {
    if (tracees->alarm_seizes != 0) set_timer(0);
    tracees->alarm_seizes = 0;
}

/* linux_dirent64 of getdents64(2): d_ino 8 bytes, d_off 8, d_reclen 2, d_type 1, d_name. */
enum { DIRENT_LENGTH = 16, DIRENT_NAME = 19 };

/* Whether the number of a thread that died while traced may be that of a new thread by now: it was waited for, perhaps
 * by the signal handler, which notes nothing. The leader's number is never free. */
static bool is_free(const mdc_tracees *tracees, const mdc_tracee *thread) {
    siginfo_t info;
    if (thread->state != MDC_TRACEE_DEAD || !thread->traced || thread->tid == tracees->pid) return false;
    return waitid(P_PID, (id_t)thread->tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0 && errno == ECHILD;
}

/* Seizes those of one batch of directory entries that are not known; with `interrupt` asks them to stop. */
static bool seize_entries(mdc_tracees *tracees, const char *entries, size_t size, bool interrupt, size_t *found) {
    uint16_t length;
    for (size_t at = 0; at + DIRENT_NAME < size; at += length) {
        memcpy(&length, entries + at + DIRENT_LENGTH, sizeof length);
        long tid = strtol(entries + at + DIRENT_NAME, NULL, 10);
        if (length == 0) break;
        if (tid <= 0 || tid > INT32_MAX) continue; /* "." and ".." */
        mdc_tracee *known = find(tracees, (int32_t)tid);
        if (known != NULL && !is_free(tracees, known)) {
            known->listed = tracees->listing;
            continue;
        }
        uint8_t state = MDC_TRACEE_DEAD;
        if (!reserve(tracees)) return false;
        set_alarm(tracees);
        bool seized = seize_one(tracees, (int32_t)tid, &state);
        if (interrupt && state == MDC_TRACEE_SEIZED) ptrace(PTRACE_INTERRUPT, (pid_t)tid, NULL, NULL);
        *found += state == MDC_TRACEE_SEIZED;
        enter(tracees, (int32_t)tid, state); /* whatever happened: what was seized must be detached again */
        if (!seized || !check_time(tracees)) return false;
    }
    return true;
}

/* Lists the threads and seizes those not known. */
static bool find_new(mdc_tracees *tracees, bool interrupt, size_t *found) {
    char entries[LISTING_BYTES] __attribute__((aligned(8)));
    *found = 0;
    tracees->listing++;
    if (lseek(tracees->task, 0, SEEK_SET) != 0)
        return fail(tracees, (mdc_fault){.kind = MDC_FAULT_LISTING, .os_errno = errno});
    for (size_t listed = 0;; listed++) {
        long got = syscall(SYS_getdents64, tracees->task, entries, sizeof entries);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 || (got == 0 && listed == 0)) /* it has no threads any more */
            return fail(tracees, (mdc_fault){.kind = MDC_FAULT_LISTING, .os_errno = got < 0 ? errno : ESRCH});
        if (got == 0) return true;
        bool well = seize_entries(tracees, entries, (size_t)got, interrupt, found);
        end_alarm(tracees);
        if (!well) return false;
    }
}

/* Contexts for `count` threads, touched here so that no page fault falls into the freeze. */
static bool make_room(mdc_tracees *tracees, size_t count) {
    if (count <= tracees->room_count) return true;
    uint8_t *room = mdc_pages_alloc(&tracees->pages, count, tracees->layout.context_size);
    if (room == NULL) return no_memory(tracees);
    memset(room, 0xFF, count * tracees->layout.context_size);
    tracees->room = room;
    tracees->room_count = count;
    return true;
}

static uint8_t *take_room(mdc_tracees *tracees) {
    uint8_t *context = tracees->room;
    tracees->room += tracees->layout.context_size;
    tracees->room_count--;
    return context;
}

bool mdc_tracees_seize(mdc_tracees *tracees) {
    size_t found = 1;
    while (MDC_FAILPOINT("stop:hang") != 0) pause_ns(PAUSE_MAX_NS);
    for (int round = 0; found > 0 && round < SEIZE_ROUNDS; round++)
        if (!find_new(tracees, false, &found)) return false;
    size_t count = count_of(tracees);
    return make_room(tracees, count + count / 8 + 8);
}

bool mdc_tracees_refused(const mdc_tracees *tracees) {
    const mdc_fault *fault = &tracees->fault;
    return fault->kind == MDC_FAULT_SEIZE && (fault->os_errno == EPERM || fault->os_errno == EACCES) &&
           count_of(tracees) == 1;
}

/* -- waiting for the stops ----------------------------------------------------------------------------------------- */

/* Whether a thread that does not answer has exited. Its exit status is not taken. */
bool mdc_tracee_has_exited(int32_t tid) {
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return errno == ECHILD;
    return info.si_pid == tid &&
           (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
}

void mdc_tracees_reap(mdc_tracees *tracees) {
    size_t count = count_of(tracees);
    for (size_t i = 0; i < count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        siginfo_t info;
        if (thread->tid == tracees->pid || !thread->traced || atomic_load(&thread->reaped)) continue;
        if (!mdc_tracee_has_exited(thread->tid) || atomic_exchange(&thread->reaped, true)) continue;
        waitid(P_PID, (id_t)thread->tid, &info, WEXITED | WNOHANG | __WALL);
    }
}

void mdc_tracees_reap_all(void) {
    int saved = errno;
    siginfo_t info;
    do info.si_pid = 0;
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid != 0);
    errno = saved;
}

/* Waits until every seized thread is stopped, is dead, or has had its time. */
static bool wait_for_stops(mdc_tracees *tracees) {
    uint64_t start = mdc_clock_ns(), pause = PAUSE_MIN_NS;
    size_t count = count_of(tracees);
    for (unsigned pass = 0;; pass++) {
        size_t pending = 0;
        uint64_t waited = mdc_clock_ns() - start;
        bool look = pass >= EAGER_PASSES, late = look && waited >= tracees->stop_timeout_ns;
        bool closely = look && pass % 8 == 0 && waited >= LOOK_CLOSELY_NS;
        for (size_t i = 0; i < count; i++) {
            mdc_tracee *thread = thread_at(tracees, i);
            if (thread->state != MDC_TRACEE_SEIZED) continue;
            if (mdc_registers_readable(thread->tid)) {
                thread->state = MDC_TRACEE_STOPPED;
            } else if (look && mdc_tracee_has_exited(thread->tid)) {
                thread->state = MDC_TRACEE_DEAD;
            } else if ((late || closely) && thread_state(tracees, thread->tid) == 'Z') {
                thread->state = MDC_TRACEE_DEAD; /* a dead leader is not reported as long as others live */
            } else if (late) {
                thread->state = MDC_TRACEE_STUCK;
            } else {
                pending++;
            }
        }
        if (pending == 0) return true;
        if (!check_time(tracees)) return false;
        if (!look) {
            sched_yield();
            continue;
        }
        if (pass % 8 == 0) mdc_tracees_reap(tracees); /* those that are stopped may be killed */
        pause_ns(pause);
        if (pause < PAUSE_MAX_NS) pause *= 2;
    }
}

/* The signal a stopped thread was about to receive, 0 if it is stopped for another reason. A stop that PTRACE_INTERRUPT
 * or session control made has PTRACE_EVENT_STOP in si_code (ptrace_do_notify in kernel/signal.c). */
static uintptr_t pending_signal(int32_t tid) {
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) != 0) return 0;
    if (info.si_code == (info.si_signo | PTRACE_EVENT_STOP << 8)) return 0;
    return (uintptr_t)info.si_signo;
}

bool mdc_tracee_detach(const mdc_tracee *thread) {
    uintptr_t signal = thread->discard ? 0 : pending_signal(thread->tid);
    return ptrace(PTRACE_DETACH, thread->tid, NULL, (void *)signal) == 0;
}

static bool read_one(mdc_tracees *tracees, size_t i) {
    mdc_tracee *thread = thread_at(tracees, i);
    thread->context = take_room(tracees);
    thread->stuck = thread->state == MDC_TRACEE_STUCK;
    if (thread->stuck) {
        mdc_registers_none(&tracees->layout, thread->context);
        return true;
    }
    tracees->sentinel = i;
    int rc = mdc_registers_read(thread->tid, &tracees->layout, thread->context, &thread->summary);
    if (rc == 0) return true;
    if (rc == ESRCH && !mdc_tracees_alive(tracees)) return fail(tracees, (mdc_fault){.kind = MDC_FAULT_GONE});
    return fail(tracees, (mdc_fault){.kind = rc == MDC_REGISTERS_32_BIT ? MDC_FAULT_32_BIT : MDC_FAULT_REGISTERS,
                                     .os_errno = rc == MDC_REGISTERS_32_BIT ? 0 : rc,
                                     .tid = thread->tid});
}

static bool is_held(const mdc_tracee *thread) {
    return thread->state == MDC_TRACEE_STOPPED || thread->state == MDC_TRACEE_STUCK;
}

static bool read_registers(mdc_tracees *tracees) {
    size_t held = 0, count = count_of(tracees);
    for (size_t i = 0; i < count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        if (is_held(thread) && thread->listed != tracees->listing && thread_state(tracees, thread->tid) == 'Z') {
            /* Dead, or a thread of another process that got the number between the listing and the seize. */
            mdc_tracee_detach(thread);
            thread->state = MDC_TRACEE_FOREIGN;
        }
        if (thread->state == MDC_TRACEE_STUCK && mdc_registers_readable(thread->tid))
            thread->state = MDC_TRACEE_STOPPED; /* a little late */
        held += is_held(thread);
    }
    if (held == 0) return fail(tracees, (mdc_fault){.kind = MDC_FAULT_GONE});
    if (!make_room(tracees, held)) return false;
    for (size_t i = 0; i < count; i++)
        if (is_held(thread_at(tracees, i)) && !read_one(tracees, i)) return false;
    return true;
}

/* Whether the last listing showed every thread. The kernel cuts the listing of task/ short when the thread it has
 * reached dies (next_tid in fs/proc/base.c), so the number of threads must agree. It counts zombies not yet waited for:
 * those we trace, and a dead leader. */
static bool listing_complete(const mdc_tracees *tracees) {
    mdc_process_stat stat;
    size_t listed = 0, count = count_of(tracees);
    if (mdc_process_parse_stat(tracees->stat, &stat) != 0) return false;
    for (size_t i = 0; i < count; i++) {
        const mdc_tracee *thread = thread_at(tracees, i);
        listed += thread->listed == tracees->listing &&
                  (thread->tid == tracees->pid || (thread->traced && !atomic_load(&thread->reaped)));
    }
    return listed == stat.threads;
}

bool mdc_tracees_stop(mdc_tracees *tracees) {
    size_t count = count_of(tracees), found = 0;
    tracees->stopped_from = mdc_clock_ns();
    atomic_store(&tracees->control->stopped_since, tracees->stopped_from);
    tracees->stopped_until = UINT64_MAX;
    if (tracees->max_stop_ns != 0 && !mdc_add_u64(tracees->stopped_from, tracees->max_stop_ns, &tracees->stopped_until))
        tracees->stopped_until = UINT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (thread_at(tracees, i)->state == MDC_TRACEE_SEIZED)
            ptrace(PTRACE_INTERRUPT, thread_at(tracees, i)->tid, NULL, NULL);
    if (!wait_for_stops(tracees)) return false;
    int quiet = 0;
    for (int round = 0;; round++) {
        if (round == STOP_ROUNDS) return fail(tracees, (mdc_fault){.kind = MDC_FAULT_RESTLESS});
        if (!find_new(tracees, true, &found)) return false;
        if (found > 0 && !wait_for_stops(tracees)) return false;
        quiet = found > 0 ? 0 : quiet + 1;
        if (quiet > 0 && (quiet == QUIET_ROUNDS || listing_complete(tracees))) break;
        if (quiet > 1) pause_ns(PAUSE_MIN_NS);
        if (!check_time(tracees)) return false;
    }
    return read_registers(tracees);
}

bool mdc_tracees_alive(const mdc_tracees *tracees) {
    if (tracees->sentinel >= count_of(tracees)) return true;
    const mdc_tracee *thread = thread_at(tracees, tracees->sentinel);
    return thread->state != MDC_TRACEE_STOPPED || mdc_registers_readable(thread->tid);
}

bool mdc_tracees_release(mdc_tracees *tracees) {
    bool all = true;
    size_t count = count_of(tracees);
    for (size_t i = 0; i < count; i++) {
        mdc_tracee *thread = thread_at(tracees, i);
        if (thread->state == MDC_TRACEE_DEAD) continue;
        if (!mdc_tracee_detach(thread) && thread->state == MDC_TRACEE_STOPPED) all = false;
        thread->state = MDC_TRACEE_DEAD;
    }
    return all;
}
