/* The tracer as a process of its own: the parent of a target notices nothing, and whatever becomes of the dumper or of
 * that process, the target runs on. */
#include "linux_hold.h"

#include "linux/clone_vm.h"

static void beating(target_shared *shared) {
    start_threads(shared, 3, sleep_forever);
    beat_forever(shared);
}

static pid_t start_beating(target_shared **shared) {
    *shared = target_share();
    pid_t pid = target_start(beating, *shared);
    WAIT_FOR(atomic_load(&(*shared)->ready) == 4);
    return pid;
}

/* A tracer whose target is stopped. */
static void hold(held_process *held, pid_t pid) {
    hold_new(held, pid, 0);
    REQUIRE_OK(hold_stop(held), held->err);
}

static void let_go(held_process *held) {
    REQUIRE_OK(mdc_tracer_resume(held->tracer, &held->stop_time_ns, &held->err), held->err);
    hold_free(held);
}

typedef struct cell_call {
    int *cell;
    int seen;
} cell_call;

static void write_cell(void *argument) {
    cell_call *self = argument;
    self->seen = *self->cell;
    *self->cell = (int)getpid();
    errno = EDOM; /* on the thread's own errno, if it were not lent */
}

static void kill_self(void *argument) {
    (void)argument;
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void *twins(void *argument) {
    int cell = 42;
    cell_call call = {&cell, 0};
    bool finished;
    (void)argument;
    REQUIRE(mdc_clone_vm_run(write_cell, &call, &finished) == 0 && finished);
    REQUIRE(call.seen == 42 && cell != 42 && cell != (int)getpid());
    REQUIRE(mdc_clone_vm_run(kill_self, NULL, &finished) == 0 && !finished);
    REQUIRE(no_children());
    return NULL;
}

static void test_clone_vm(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    REQUIRE(pthread_create(&thread, NULL, twins, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_join(thread, NULL);
}

static _Atomic int heard; /* SIGCHLD; only a test may have globals */

static void hear(int number) {
    (void)number;
    atomic_fetch_add(&heard, 1);
}

typedef struct child_waiter {
    pthread_t thread;
    pid_t pid;
    _Atomic int returned;
    int status;
} child_waiter;

static void *wait_for_child(void *argument) {
    child_waiter *self = argument;
    REQUIRE(waitpid(self->pid, &self->status, 0) == self->pid);
    atomic_store(&self->returned, 1);
    return NULL;
}

/* As a thread in Popen.wait does. */
static void wait_in_a_thread(child_waiter *self, pid_t pid) {
    memset(self, 0, sizeof *self);
    self->pid = pid;
    REQUIRE(pthread_create(&self->thread, NULL, wait_for_child, self) == 0);
    sleep_us(2000);
}

static void test_a_parent_does_not_notice(void) {
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    struct sigaction action = {.sa_handler = hear, .sa_flags = SA_RESTART}, before;
    struct sigaction other;
    child_waiter waiter;
    int status;
    atomic_store(&heard, 0);
    sigaction(SIGCHLD, &action, &before);
    wait_in_a_thread(&waiter, pid);
    for (int i = 0; i < 50; i++) {
        held_process held;
        hold(&held, pid);
        REQUIRE(waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED) == 0);
        let_go(&held);
    }
    REQUIRE(atomic_load(&waiter.returned) == 0 && atomic_load(&heard) == 0);
    REQUIRE(beats(shared));
    kill(pid, SIGKILL);
    pthread_join(waiter.thread, NULL);
    REQUIRE(WIFSIGNALED(waiter.status) && WTERMSIG(waiter.status) == SIGKILL);
    REQUIRE(atomic_load(&heard) == 1);
    sigaction(SIGALRM, NULL, &other); /* the tracer has its own */
    REQUIRE(other.sa_handler == SIG_DFL);
    sigaction(SIGCHLD, &before, NULL);
}

/* The status goes to the waiting process, once and unchanged, whether it comes before or after the release. */
static void test_a_child_killed_while_held(void) {
    for (int i = 0; i < 40; i++) {
        target_shared *shared;
        pid_t pid = start_beating(&shared);
        child_waiter waiter;
        held_process held;
        wait_in_a_thread(&waiter, pid);
        hold(&held, pid);
        kill(pid, SIGKILL);
        if (i % 2 == 0) pthread_join(waiter.thread, NULL); /* although nobody resumes */
        REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_TARGET_GONE);
        if (i % 2 == 1) pthread_join(waiter.thread, NULL);
        REQUIRE(WIFSIGNALED(waiter.status) && WTERMSIG(waiter.status) == SIGKILL);
        hold_free(&held);
        munmap(shared, sizeof *shared);
    }
}

/* Somebody kills the process that holds the target. */
static void test_the_tracer_is_killed(void) {
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    held_process held;
    hold(&held, pid);
    kill(tracer_of(pid), SIGKILL);
    REQUIRE(beats(shared));
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_CANCELLED);
    REQUIRE(atomic_load(&held.control.stopped) == 0);
    hold_free(&held);
    REQUIRE(hold_once(pid) == 4);
    target_end(pid);
}

/* Or stops it: it must not keep the target for as long as that lasts. */
static void test_the_tracer_is_stopped(void) {
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    held_process held;
    hold(&held, pid);
    kill(tracer_of(pid), SIGSTOP);
    REQUIRE(beats(shared));
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_CANCELLED);
    hold_free(&held);
    target_end(pid);
}

typedef struct stop_call {
    held_process *held;
    mdc_status status;
} stop_call;

static void *stop_it(void *argument) {
    stop_call *self = argument;
    self->status = hold_stop(self->held);
    return NULL;
}

/* Sleeps where ptrace does not reach it, until told to go. */
static void uninterruptible(target_shared *shared) {
    atomic_fetch_add(&shared->ready, 1);
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0); /* vfork without the shared memory */
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (!atomic_load(&shared->go)) sleep_us(1000);
        _exit(0);
    }
    beat_forever(shared);
}

static void test_the_tracer_is_killed_during_the_stop(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(uninterruptible, shared);
    held_process held;
    stop_call call = {&held, MDC_OK};
    pthread_t thread;
    WAIT_FOR(state_of(pid, pid) == 'D');
    hold_new(&held, pid, 0);
    held.options.stop_timeout_ns = UINT64_C(3600000000000);
    REQUIRE(pthread_create(&thread, NULL, stop_it, &call) == 0);
    WAIT_FOR(tracer_of(pid) > 0);
    kill(tracer_of(pid), SIGKILL);
    pthread_join(thread, NULL);
    REQUIRE(call.status == MDC_ERR_CANCELLED && held.err.message[0] != '\0');
    hold_free(&held);
    atomic_store(&shared->go, 1);
    REQUIRE(beats(shared));
    target_end(pid);
}

/* As where an exec in the target keeps PTRACE_SEIZE waiting for its file system. */
static void test_a_stop_that_hangs(void) {
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    for (int i = 0; i < 2; i++) {
        held_process held;
        hold_new(&held, pid, 0);
        held.options.stop_timeout_ns = 50000000;
        held.control.stall_ns = i == 0 ? 100000000 : 0;
        if (i == 1) mdc_control_abort(&held.control, MDC_ABORT_CANCEL);
        mdc_failpoint_set("stop:hang:0:1");
        mdc_status status = hold_stop(&held);
        mdc_failpoint_set("");
        REQUIRE(status == (i == 0 ? MDC_ERR_STALLED : MDC_ERR_CANCELLED));
        REQUIRE(i == 1 || strstr(held.err.message, "the stop of the target's threads") != NULL);
        hold_free(&held);
        REQUIRE(beats(shared));
    }
    REQUIRE(hold_once(pid) == 4);
    target_end(pid);
}

/* Where a process of its own cannot be started, or is not allowed to trace, our thread does it. Yama lets ancestors
 * trace, and answers EPERM to everybody else. */
static void test_a_thread_instead(void) {
    static const char *const points[] = {"spawn:clone_vm:1:11", "stop:thread:1:1"};
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    for (size_t i = 0; i < 2; i++) {
        held_process held;
        size_t count;
        mdc_failpoint_set(points[i]);
        hold(&held, pid);
        mdc_failpoint_set("");
        REQUIRE(process_of(tracer_of(pid)) == getpid());
        REQUIRE(mdc_tracer_threads(held.tracer, &count)[0].tid == (uint32_t)pid && count == 4);
        let_go(&held);
        REQUIRE(beats(shared));
    }
    mdc_failpoint_set("stop:thread:0:1"); /* both are refused */
    held_process held;
    hold_new(&held, pid, 0);
    REQUIRE(hold_stop(&held) == MDC_ERR_ACCESS && held.err.os_errno == EPERM);
    mdc_failpoint_set("");
    hold_free(&held);
    REQUIRE(beats(shared));
    target_end(pid);
}

/* The process that holds another target is one of ours: stopped, it could keep our own locks. */
static void test_what_shares_our_memory_is_refused(void) {
    target_shared *shared;
    pid_t pid = start_beating(&shared);
    held_process first, second;
    hold(&first, pid);
    hold_new(&second, tracer_of(pid), 0);
    REQUIRE(hold_stop(&second) == MDC_ERR_TARGET && strstr(second.err.message, "shares the memory") != NULL);
    hold_free(&second);
    let_go(&first);
    target_end(pid);
}

/* What a dumper does while its target stands. */
enum { ENDS_KILLED, ENDS_BY_EXIT, ENDS_BY_EXEC, ENDS_AS_SOMEBODY_ELSE, ENDS_COUNT };

static void *exec_in_a_thread(void *argument) {
    (void)argument;
    execl("/bin/sleep", "sleep", "600", (char *)NULL);
    return NULL;
}

static void end_somehow(target_shared *control) {
    pthread_t thread;
    WAIT_FOR(atomic_load(&control->go) == 1);
    if (control->words[0] == ENDS_BY_EXIT) exit(0);
    if (control->words[0] == ENDS_BY_EXEC) REQUIRE(pthread_create(&thread, NULL, exec_in_a_thread, NULL) == 0);
    if (control->words[0] == ENDS_AS_SOMEBODY_ELSE) {
        /* Nor may this hang: every thread has to take part. */
        REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
        atomic_store(&control->ready, 2);
    }
    for (;;) pause();
}

static pid_t start_dumper(pid_t pid, target_shared *control, uint64_t max_stop_ns) {
    fflush(stdout);
    pid_t dumper = fork();
    REQUIRE(dumper >= 0);
    if (dumper != 0) {
        WAIT_FOR(atomic_load(&control->ready) == 1);
        return dumper;
    }
    held_process held;
    hold_new(&held, pid, 0);
    held.options.max_stop_ns = max_stop_ns;
    REQUIRE_OK(hold_stop(&held), held.err);
    /* It has no child that waitpid shows, unless one asks for all there is. */
    REQUIRE(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    REQUIRE(waitpid(-1, NULL, WNOHANG | __WALL) == 0);
    atomic_store(&control->ready, 1);
    end_somehow(control);
    _exit(1);
}

static bool ended(pid_t pid) {
    char state = state_of(pid, pid);
    return state == '?' || state == 'Z' || state == 'X'; /* it is our reaper's, who may take its time */
}

static void test_the_dumper_ends(void) {
    for (uint64_t way = 0; way < ENDS_COUNT; way++) {
        if (way == ENDS_AS_SOMEBODY_ELSE && getuid() != 0) continue;
        target_shared *shared, *control = target_share();
        pid_t pid = start_beating(&shared);
        control->words[0] = way;
        pid_t dumper = start_dumper(pid, control, 0), tracer = tracer_of(pid);
        REQUIRE(state_of(pid, pid) == 't' && tracer != dumper && process_of(tracer) == tracer);
        atomic_store(&control->go, 1);
        if (way == ENDS_AS_SOMEBODY_ELSE) WAIT_FOR(atomic_load(&control->ready) == 2);
        if (way == ENDS_KILLED || way == ENDS_AS_SOMEBODY_ELSE) kill(dumper, SIGKILL);
        REQUIRE(beats(shared));
        REQUIRE(tracer_of(pid) == 0);
        WAIT_FOR(ended(tracer));
        kill(dumper, SIGKILL);
        REQUIRE(waitpid(dumper, NULL, 0) == dumper);
        target_end(pid);
    }
}

/* Ctrl-Z while a target stands: the shell hears of it at once, and max_stop counts on. */
static void test_the_dumper_is_stopped(void) {
    target_shared *shared, *control = target_share();
    pid_t pid = start_beating(&shared);
    control->words[0] = ENDS_KILLED;
    pid_t dumper = start_dumper(pid, control, 300000000);
    int status;
    REQUIRE(state_of(pid, pid) == 't');
    kill(dumper, SIGSTOP);
    REQUIRE(waitpid(dumper, &status, WUNTRACED) == dumper && WIFSTOPPED(status));
    REQUIRE(beats(shared));
    REQUIRE(tracer_of(pid) == 0);
    kill(dumper, SIGCONT);
    kill(dumper, SIGKILL);
    REQUIRE(waitpid(dumper, NULL, 0) == dumper);
    target_end(pid);
}

static void nothing(void *argument) { (void)argument; }

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"clone_vm", test_clone_vm},
                 {"a parent does not notice", test_a_parent_does_not_notice},
                 {"a child killed while held", test_a_child_killed_while_held},
                 {"the tracer is killed", test_the_tracer_is_killed},
                 {"the tracer is stopped", test_the_tracer_is_stopped},
                 {"the tracer is killed during the stop", test_the_tracer_is_killed_during_the_stop},
                 {"a stop that hangs", test_a_stop_that_hangs},
                 {"a thread instead", test_a_thread_instead},
                 {"what shares our memory", test_what_shares_our_memory_is_refused},
                 {"the dumper ends", test_the_dumper_ends},
                 {"the dumper is stopped", test_the_dumper_is_stopped}};
    bool finished;
    int rc = mdc_clone_vm_run(nothing, NULL, &finished);
    if (rc != 0) {
        printf("a process that shares our memory cannot be started here: %s\n", strerror(rc));
        return 77;
    }
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0) continue;
        uint64_t start = mdc_clock_ns();
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
        REQUIRE(no_children());
        printf("  %.2f s\n", (double)(mdc_clock_ns() - start) / 1e9);
    }
    return 0;
}
