/* Making and ending the child (see fork_child.h). */
#include "fork_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../api/report.h"
#include "../base/clock.h"
#include "scratch.h"
#include "seccomp_check.h"
#include "stack_room.h"

/* One step: a clone takes 30 ms per GiB of small pages. */
#define STEP_NS UINT64_C(10000000000)
#define STOP_NS UINT64_C(250000000)   /* for one thread to stop, that waits for the child */
#define END_NS UINT64_C(5000000000)   /* for the child to end */
#define OTHER_NS UINT64_C(2000000000) /* for another dump of the target, or a debugger, to end */
/* No exit signal, and nothing shared but the descriptors. */
#define CLONE_FLAGS ((uint64_t)(CLONE_PTRACE | CLONE_FILES))
#define CALL_CLOSE_RANGE 436 /* Linux 5.9 */
enum {
    UNSHARE = 2, /* CLOSE_RANGE_UNSHARE */
    PAUSE_NS = 50000,
    OTHER_PAUSE_NS = 1000000,
    EAGER_POLLS = 100,
    WAITERS = 16, /* threads that are tried */
    ROUNDS = 50   /* while signals come in between */
};

static bool refuse(mdc_fork_child *self, uint32_t reason, int os_errno) {
    if (self->reason == MDC_STOP_REASON_NONE) {
        self->reason = reason;
        self->os_errno = os_errno;
    }
    return false;
}

/* -- which thread -------------------------------------------------------------------------------------------------- */

/* Are its children born into its own namespaces? In a new one the child would be the first process, with which it
 * ends. */
static bool own_namespaces(const mdc_tracees *tracees, int32_t tid) {
    static const char *const pairs[][2] = {{"pid", "pid_for_children"}, {"time", "time_for_children"}};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        struct stat own, children;
        snprintf(path, sizeof path, "task/%d/ns/%s", (int)tid, pairs[i][0]);
        if (fstatat(tracees->proc, path, &own, 0) != 0) {
            if (errno == ENOENT) continue; /* a kernel without them */
            return false;
        }
        snprintf(path, sizeof path, "task/%d/ns/%s", (int)tid, pairs[i][1]);
        if (fstatat(tracees->proc, path, &children, 0) != 0 || own.st_ino != children.st_ino) return false;
    }
    return true;
}

/* All calls that are made, the one that the chain makes and the child's too. */
static bool calls_allowed(const mdc_fork_child *self, int32_t tid, int *os_errno) {
    const mdc_injection *injection = &self->injection;
    const uint64_t here = self->gadgets.call + 2, back = self->gadgets.restorer + self->gadgets.restorer_size;
    const mdc_seccomp_call calls[] = {
        {SYS_clone, AUDIT_ARCH_X86_64, here, {CLONE_FLAGS, injection->child_stack}},
        {CALL_CLOSE_RANGE, AUDIT_ARCH_X86_64, here, {0, UINT32_MAX, UNSHARE}},
        {SYS_wait4, AUDIT_ARCH_X86_64, here, {(uint64_t)(int64_t)self->inner, 0, (uint32_t)(__WALL | WNOHANG), 0}},
        {SYS_exit_group, AUDIT_ARCH_X86_64, here, {0}},
        {SYS_rt_sigreturn, AUDIT_ARCH_X86_64, back, {0}}};
    return mdc_seccomp_allows(tid, calls, sizeof calls / sizeof calls[0], os_errno);
}

static bool plain_status(mdc_fork_child *self, mdc_tracees *tracees, int32_t tid) {
    char path[48], status[2 * MDC_SCRATCH_STATUS];
    snprintf(path, sizeof path, "task/%d/status", (int)tid);
    int os_errno = mdc_scratch_read(&tracees->scratch, tracees->proc, path, status, sizeof status);
    if (os_errno != 0) return refuse(self, MDC_STOP_REASON_FAILED, os_errno);
    const char *features = strstr(status, "\nx86_Thread_features:");
    const char *end = features != NULL ? strchr(features + 1, '\n') : NULL;
    const char *shadow = features != NULL ? strstr(features, "shstk") : NULL;
    if (shadow != NULL && (end == NULL || shadow < end)) return refuse(self, MDC_STOP_REASON_SHADOW_STACK, 0);
    const int32_t mode = mdc_scratch_number(status, "\nSeccomp:");
    if (mode == 0) return true;
    os_errno = 0;
    return (mode == SECCOMP_MODE_FILTER && calls_allowed(self, tid, &os_errno)) ||
           refuse(self, MDC_STOP_REASON_SECCOMP, os_errno);
}

/* Prepares the injection if calls can be made in this thread. `stopped`: in one that a signal has stopped, too. */
static mdc_injected fit(mdc_fork_child *self, mdc_tracees *tracees, int32_t tid, bool stopped) {
    uint64_t first, end;
    bool by_signal;
    self->injection.limit_ns = STEP_NS;
    mdc_injected state = mdc_inject_look(&self->injection, tid, &self->gadgets, &first, &end, &by_signal);
    if (state != MDC_INJECTED) return state;
    if (by_signal && !stopped) {
        refuse(self, MDC_STOP_REASON_STOPPED, 0);
        return MDC_INJECT_UNFIT;
    }
    if (!mdc_stack_room(self->maps, tid == tracees->pid, self->injection.thread_pointer, first, end))
        return MDC_INJECT_UNFIT;
    if (!own_namespaces(tracees, tid) || !plain_status(self, tracees, tid)) return MDC_INJECT_UNFIT;
    return mdc_inject_begin(&self->injection);
}

/* -- its life ------------------------------------------------------------------------------------------------------ */

static mdc_tracee *tracee_of(const mdc_tracees *tracees, int32_t tid) {
    size_t count = atomic_load(&tracees->count);
    for (size_t i = 0; i < count; i++)
        if (mdc_tracees_at(tracees, i)->tid == tid) return mdc_tracees_at(tracees, i);
    return NULL;
}

static void spare_target(const mdc_fork_child *self) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)self->pid);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t written = write(file, "1000", 4);
    (void)written; /* the target is no worse off than it would be with any other child */
    close(file);
}

static void pause_briefly(unsigned polls) {
    if (polls < EAGER_POLLS)
        sched_yield();
    else
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
}

/* Ends the child as far as its tracer can. */
static void kill_child(mdc_fork_child *self) {
    if (self->pid <= 0) return;
    uint64_t until = mdc_clock_ns() + END_NS;
    kill(self->pid, SIGKILL);
    for (unsigned polls = 0; mdc_clock_ns() < until; polls++) {
        int status = 0;
        long got = syscall(SYS_wait4, self->pid, &status, __WALL | WNOHANG, NULL);
        if (got == self->pid && (WIFEXITED(status) || WIFSIGNALED(status))) break;
        if (got < 0 && errno != EINTR) break; /* ECHILD: a thread of ours waited for all there is */
        pause_briefly(polls);
    }
}

/* A thread that is stopped, and fit, waits for it. false: this thread cannot. */
static bool wait_in(mdc_fork_child *self) {
    const uint64_t arguments[] = {(uint64_t)(int64_t)self->inner, 0, (uint32_t)(__WALL | WNOHANG), 0};
    int64_t result = 0;
    mdc_injected state = mdc_inject_call(&self->injection, SYS_wait4, arguments, 4, &result);
    mdc_injected end = state == MDC_INJECT_GONE ? state : mdc_inject_end(&self->injection);
    if (state == MDC_INJECT_GONE || end == MDC_INJECT_GONE) return false;
    if (state == MDC_INJECTED && (result == self->inner || result == -ECHILD)) self->zombie = false;
    return state == MDC_INJECTED;
}

/* Stops one thread of a process that runs. */
static bool catch_one(int32_t tid) {
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) return false;
    if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0) {
        uint64_t until = mdc_clock_ns() + STOP_NS;
        for (unsigned polls = 0; mdc_clock_ns() < until; polls++) {
            if (mdc_registers_readable(tid)) return true;
            if (mdc_tracee_has_exited(tid)) break;
            pause_briefly(polls);
        }
    }
    return true; /* to be released all the same: that works only once it has stopped */
}

static void release_one(const mdc_tracees *tracees, int32_t tid, bool discard) {
    const mdc_tracee thread = {.tid = tid, .state = MDC_TRACEE_STOPPED, .discard = discard};
    if (mdc_tracee_detach(&thread) || mdc_registers_readable(tid)) return;
    siginfo_t info;
    if (tid != tracees->pid && mdc_tracee_has_exited(tid)) waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | __WALL);
}

/* Waits for it in a target that runs. *again: another time it might work. */
static bool wait_in_one(mdc_fork_child *self, mdc_tracees *tracees, int32_t tid, bool *again) {
    const uint64_t begun = mdc_clock_ns();
    if (!catch_one(tid)) {
        *again = *again || errno == EPERM; /* another traces it, or did until now */
        return false;
    }
    self->injection.signalled = false;
    bool done = fit(self, tracees, tid, true) == MDC_INJECTED && wait_in(self);
    *again = *again || self->injection.signalled;
    release_one(tracees, tid, self->injection.tid == tid && self->injection.discard);
    self->stopped_ns += mdc_clock_ns() - begun;
    return done;
}

/* *again: another time it might work. */
static bool wait_in_any(mdc_fork_child *self, mdc_tracees *tracees, bool *again) {
    bool done = wait_in_one(self, tracees, self->thread, again);
    size_t count = atomic_load(&tracees->count);
    int tried = 0;
    for (size_t i = 0; !done && i < count && tried < WAITERS; i++) {
        const mdc_tracee *thread = mdc_tracees_at(tracees, i);
        if (!thread->traced || thread->tid == self->thread || atomic_load(&thread->reaped)) continue;
        tried++;
        done = wait_in_one(self, tracees, thread->tid, again);
    }
    return done;
}

/* If the target has ended, it is no longer. */
static bool is_child_of(const mdc_fork_child *self, mdc_tracees *tracees) {
    char path[48], status[MDC_SCRATCH_STATUS];
    snprintf(path, sizeof path, "/proc/%d/status", -(int)self->pid);
    return mdc_scratch_read(&tracees->scratch, AT_FDCWD, path, status, sizeof status) == 0 &&
           mdc_scratch_number(status, "\nPPid:") == tracees->pid;
}

/* The next dump of the target may begin while this one is written, and has it stopped. */
static void await_tracer(mdc_tracees *tracees, uint64_t until) {
    char status[MDC_SCRATCH_STATUS];
    while (mdc_clock_ns() < until &&
           mdc_scratch_read(&tracees->scratch, tracees->proc, "status", status, sizeof status) == 0 &&
           mdc_scratch_number(status, "\nTracerPid:") > 0)
        nanosleep(&(struct timespec){0, OTHER_PAUSE_NS}, NULL);
}

void mdc_fork_child_end(mdc_fork_child *self, mdc_tracees *tracees, bool stopped) {
    if (self->pid <= 0) return;
    kill_child(self);
    self->pid = -self->pid;
    if (self->inner <= 0) return;
    self->zombie = true;
    const uint32_t reason = self->reason;
    if (stopped) {
        mdc_tracee *thread = tracee_of(tracees, self->thread);
        if (fit(self, tracees, self->thread, true) == MDC_INJECTED) (void)wait_in(self);
        if (thread != NULL && self->injection.discard) thread->discard = true;
    } else {
        const uint64_t until = mdc_clock_ns() + OTHER_NS;
        bool again = true;
        for (int round = 0; again && round < ROUNDS; round++) {
            again = false;
            if (wait_in_any(self, tracees, &again)) break;
            if (again) await_tracer(tracees, until);
            nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
        }
    }
    if (self->zombie) self->zombie = is_child_of(self, tracees);
    self->reason = reason;
}

bool mdc_fork_child_alive(const mdc_fork_child *self) { return mdc_registers_readable(self->pid); }

/* Pages of address space, from statm. */
static uint64_t pages_of(mdc_tracees *tracees, int directory, const char *path) {
    char text[256];
    if (mdc_scratch_read(&tracees->scratch, directory, path, text, sizeof text) != 0) return 0;
    return strtoull(text, NULL, 10);
}

/* After its birth: nothing of the target's but its memory. */
static bool settle(mdc_fork_child *self, mdc_tracees *tracees) {
    const uint64_t arguments[] = {0, UINT32_MAX, UNSHARE};
    int64_t result = 0;
    mdc_injected state = mdc_inject_child_call(&self->injection, self->pid, CALL_CLOSE_RANGE, arguments, 3, &result);
    if (state != MDC_INJECTED) return refuse(self, MDC_STOP_REASON_FAILED, self->injection.os_errno);
    if (result != 0) return refuse(self, MDC_STOP_REASON_KERNEL, (int)-result);
    spare_target(self);
    if (!mdc_inject_child_clean(&self->injection, self->pid)) return refuse(self, MDC_STOP_REASON_FAILED, EFAULT);
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)self->pid);
    uint64_t own = pages_of(tracees, tracees->proc, "statm"), copied = pages_of(tracees, AT_FDCWD, path);
    if (copied == 0) return refuse(self, MDC_STOP_REASON_FAILED, ESRCH);
    /* Marked right before the stop. */
    if (own != copied + self->absent_pages) return refuse(self, MDC_STOP_REASON_UNCOPIED, 0);
    return true;
}

static bool try_thread(mdc_fork_child *self, mdc_tracees *tracees, mdc_tracee *thread, bool *again) {
    int64_t inner = 0;
    *again = false;
    mdc_injected state = fit(self, tracees, thread->tid, false);
    if (state == MDC_INJECT_UNFIT) *again = self->reason == MDC_STOP_REASON_NONE;
    if (state != MDC_INJECTED) return false;
    self->thread = thread->tid;
    state = mdc_inject_clone(&self->injection, CLONE_FLAGS, &self->pid, &inner);
    const int os_errno = self->injection.os_errno;
    mdc_injected end = state == MDC_INJECT_GONE ? state : mdc_inject_end(&self->injection);
    if (self->injection.discard) thread->discard = true;
    if (state == MDC_INJECTED && end == MDC_INJECTED) {
        self->inner = (int32_t)inner;
        if (settle(self, tracees)) return true;
    } else {
        refuse(self, state == MDC_INJECT_FAILED && inner < 0 ? MDC_STOP_REASON_CLONE : MDC_STOP_REASON_FAILED,
               state == MDC_INJECTED ? self->injection.os_errno : os_errno);
        if (inner > 0) self->inner = (int32_t)inner;
    }
    mdc_fork_child_end(self, tracees, true);
    return false;
}

bool mdc_fork_child_make(mdc_fork_child *self, mdc_tracees *tracees) {
    size_t count = atomic_load(&tracees->count);
    self->reason = MDC_STOP_REASON_NONE;
    if (self->gadgets.call == 0 || self->gadgets.restorer == 0) return refuse(self, MDC_STOP_REASON_THREAD, 0);
    for (size_t i = 0; i < count; i++) {
        mdc_tracee *thread = mdc_tracees_at(tracees, i);
        /* It is in the kernel, perhaps in the middle of an input or output to memory that would be copied now. */
        if (thread->state == MDC_TRACEE_STUCK) return refuse(self, MDC_STOP_REASON_THREAD, 0);
    }
    for (size_t i = 0; i < count; i++) {
        bool again;
        mdc_tracee *thread = mdc_tracees_at(tracees, i);
        if (thread->state != MDC_TRACEE_STOPPED) continue;
        if (try_thread(self, tracees, thread, &again)) return true;
        if (!again) return refuse(self, MDC_STOP_REASON_FAILED, 0);
    }
    return refuse(self, MDC_STOP_REASON_THREAD, 0);
}
