/* With which signal a thread is resumed. And a thread that died while traced and was waited for frees its number: a new
 * thread that gets it is stopped too. */
#include <inttypes.h>
#include <stdarg.h>
#include <sys/ptrace.h>

#include "base/failpoint.h"
#include "linux/ptrace_threads.h"
#include "linux_target.h"

/* -- the signal of a detach -----------------------------------------------------------------------------------------
 */

static struct {
    int detaches;
    uintptr_t signal; /* of the last one */
} seen;

/* In place of the C library's, for the requests of the room. */
long ptrace(enum __ptrace_request request, ...) {
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);
    if (request == PTRACE_DETACH) {
        seen.detaches++;
        seen.signal = (uintptr_t)data;
    }
    if (request != PTRACE_PEEKUSER) return syscall(SYS_ptrace, (long)request, (long)pid, address, data);
    long word; /* the system call stores it */
    if (syscall(SYS_ptrace, (long)request, (long)pid, address, &word) != 0) return -1;
    errno = 0;
    return word;
}

static target_shared *resting;

static void count(int signal) {
    (void)signal;
    atomic_fetch_add(&resting->beat, 1);
}

static void resting_child(target_shared *shared) {
    resting = shared;
    signal(SIGUSR1, count);
    shared->ready = 1;
    for (;;) pause();
}

/* Seized, then sent a signal or none, stopped and resumed. Returns the signal it was resumed with. */
static uintptr_t resumed_with(pid_t pid, int sent) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mdc_tracees tracees;
    int proc = proc_of(pid);
    REQUIRE_OK(mdc_tracees_init(&tracees, pid, proc, &err), err);
    tracees.control = &control;
    tracees.layout = mdc_registers_describe(false);
    tracees.stop_timeout_ns = UINT64_C(10000000000);
    REQUIRE(mdc_tracees_seize(&tracees));
    if (sent != 0) {
        REQUIRE(kill(pid, sent) == 0);
        WAIT_FOR(state_of(pid, pid) == 't');
    }
    seen.detaches = 0;
    REQUIRE(mdc_tracees_stop(&tracees) && seen.detaches == 0);
    REQUIRE(mdc_tracees_release(&tracees) && seen.detaches == 1);
    mdc_tracees_fini(&tracees);
    close(proc);
    return seen.signal;
}

/* A signal that the thread was about to receive is handed on. A stop that the tracer made, or one of job control, has a
 * number too (SIGTRAP, SIGSTOP), but no signal: whether the kernel ignores one there is not promised by ptrace(2). */
static void test_signal_of_a_detach(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(resting_child, shared);
    WAIT_FOR(shared->ready == 1);
    REQUIRE(resumed_with(pid, 0) == 0 && atomic_load(&shared->beat) == 0);
    REQUIRE(resumed_with(pid, SIGUSR1) == SIGUSR1);
    WAIT_FOR(atomic_load(&shared->beat) == 1);
    REQUIRE(kill(pid, SIGSTOP) == 0);
    WAIT_FOR(state_of(pid, pid) == 'T');
    REQUIRE(resumed_with(pid, 0) == 0);
    WAIT_FOR(state_of(pid, pid) == 'T'); /* as it was */
    target_end(pid);
    munmap(shared, sizeof *shared);
}

/* -- a number that is used again ------------------------------------------------------------------------------------
 */

enum { FIRST, SECOND, TRIED };

static target_shared *all;

static void *first(void *argument) {
    (void)argument;
    all->words[FIRST] = (uint64_t)syscall(SYS_gettid);
    while (all->go == 0) sleep_us(100);
    return NULL;
}

/* Ends unless it got that number. */
static void *second(void *argument) {
    (void)argument;
    all->words[SECOND] = (uint64_t)syscall(SYS_gettid) == all->words[FIRST];
    all->words[TRIED] = 1;
    if (all->words[SECOND] == 0) return NULL;
    for (;;) {
        atomic_fetch_add(&all->beat, 1);
        sleep_us(1000);
    }
    return NULL;
}

/* Other processes may take the number first: then it is tried again. */
static void take_number(void) {
    char text[32];
    int file = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    REQUIRE(file >= 0);
    size_t size = (size_t)snprintf(text, sizeof text, "%" PRIu64, all->words[FIRST] - 1);
    for (int i = 0; i < 2000 && all->words[SECOND] == 0; i++) {
        pthread_t thread;
        all->words[TRIED] = 0;
        REQUIRE(pwrite(file, text, size, 0) == (ssize_t)size);
        REQUIRE(pthread_create(&thread, NULL, second, NULL) == 0);
        while (all->words[TRIED] == 0) sleep_us(100);
        if (all->words[SECOND] == 0) pthread_join(thread, NULL);
    }
    close(file);
}

static void child(target_shared *shared) {
    pthread_t thread;
    all = shared;
    REQUIRE(pthread_create(&thread, NULL, first, NULL) == 0);
    while (shared->words[FIRST] == 0) sleep_us(100);
    shared->ready = 1;
    pthread_join(thread, NULL);
    shared->ready = 2;
    while (shared->go == 1) sleep_us(100);
    take_number();
    shared->ready = 3;
    for (;;) pause();
}

/* by_handler: waited for as by the signal handler, which cannot note whom. False if another process has the number and
 * keeps it. */
static bool test_number_again(bool by_handler) {
    target_shared *shared = target_share();
    pid_t pid = target_start(child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mdc_tracees tracees;
    REQUIRE_OK(mdc_tracees_init(&tracees, pid, proc, &err), err);
    tracees.control = &control;
    tracees.layout = mdc_registers_describe(false);
    tracees.stop_timeout_ns = UINT64_C(1000000000);
    REQUIRE(mdc_tracees_seize(&tracees));
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
    siginfo_t info;
    const id_t tid = (id_t)shared->words[FIRST];
    WAIT_FOR(waitid(P_PID, tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid == (pid_t)tid);
    if (by_handler)
        mdc_tracees_reap_all();
    else
        mdc_tracees_reap(&tracees);
    shared->go = 2;
    WAIT_FOR(shared->ready == 3);
    const bool taken = shared->words[SECOND] == 0;
    REQUIRE(mdc_tracees_stop(&tracees));
    uint64_t beat = atomic_load(&shared->beat);
    sleep_us(20000);
    REQUIRE(taken || atomic_load(&shared->beat) == beat);
    size_t held = 0;
    for (size_t i = 0; i < atomic_load(&tracees.count); i++) {
        const mdc_tracee *thread = mdc_tracees_at(&tracees, i);
        held += thread->tid == (int32_t)tid && thread->context != NULL;
    }
    REQUIRE(taken || held == 1);
    REQUIRE(mdc_tracees_release(&tracees));
    if (!taken) WAIT_FOR(atomic_load(&shared->beat) > beat);
    mdc_tracees_fini(&tracees);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
    return !taken;
}

int main(void) {
    test_signal_of_a_detach();
    if (access("/proc/sys/kernel/ns_last_pid", W_OK) != 0 || geteuid() != 0) {
        printf("numbers of new threads cannot be chosen here\n");
        return 77;
    }
    bool both = test_number_again(false);
    both = test_number_again(true) && both;
    if (!both) printf("another process has the number\n");
    return both ? 0 : 77;
}
