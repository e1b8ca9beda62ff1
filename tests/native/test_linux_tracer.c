/* The tracer: every thread is stopped with its registers, and the target always runs on. */
#include "linux_hold.h"

/* How the tracer traces in this run: as a process of its own, or by a thread where there cannot be one. */
static const char *mode;
static const char by_process[] = "", by_thread[] = "spawn:clone_vm:0:11";

static void test_stop_and_resume(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    held_process held;
    size_t count;
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    REQUIRE(atomic_load(&held.control.stopped) == 1);
    pid_t tracer = tracer_of(pid);
    REQUIRE(process_of(tracer) == (mode == by_thread ? getpid() : tracer) && tracer != getpid());
    uint64_t blocked = (uint64_t)status_of(tracer, "SigBlk:", 16);
    uint64_t wanted = 1U << (SIGINT - 1) | 1U << (SIGTERM - 1) | 1U << (SIGALRM - 1) | 1U << (SIGCHLD - 1);
    REQUIRE((blocked & wanted) == wanted);
    uint64_t beat = atomic_load(&shared->beat);
    const mdc_held *threads = mdc_tracer_threads(held.tracer, &count);
    REQUIRE(count == 8);
    REQUIRE(threads[0].tid == (uint32_t)pid);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(i < 2 || threads[i].tid > threads[i - 1].tid);
        REQUIRE(threads[i].flags == 0 && threads[i].summary.stack_pointer != 0 && threads[i].context != NULL);
        REQUIRE(state_of(pid, (pid_t)threads[i].tid) == 't');
    }
    sleep_us(30000);
    REQUIRE(atomic_load(&shared->beat) == beat);
    REQUIRE(mdc_tracer_stop(held.tracer, &held.err) == MDC_ERR_INVALID); /* once */
    mdc_error_clear(&held.err);
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    REQUIRE(held.stop_time_ns >= 30000000);
    REQUIRE(atomic_load(&held.control.stopped) == 0);
    uint64_t again;
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &again, &held.err), held.err);
    REQUIRE(again == held.stop_time_ns);
    REQUIRE(beats(shared));
    hold_free(&held);

    /* Freed while it is stopped: it runs. */
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    hold_free(&held);
    REQUIRE(beats(shared));
    target_end(pid);
}

/* A process under session control stays stopped; a running one does not become so. */
static void test_stopped_stays_stopped(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    kill(pid, SIGSTOP);
    WAIT_FOR(state_of(pid, pid) == 'T');
    for (int i = 0; i < 20; i++) {
        REQUIRE(hold_once(pid) == 8);
        WAIT_FOR(state_of(pid, pid) == 'T');
    }
    uint64_t beat = atomic_load(&shared->beat);
    sleep_us(20000);
    REQUIRE(atomic_load(&shared->beat) == beat);
    kill(pid, SIGCONT);
    REQUIRE(beats(shared));
    REQUIRE(hold_once(pid) == 8);
    REQUIRE(beats(shared));

    /* SIGSTOP and SIGCONT while it is stopped. */
    held_process held;
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    kill(pid, SIGSTOP);
    sleep_us(5000);
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    hold_free(&held);
    WAIT_FOR(state_of(pid, pid) == 'T');
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    kill(pid, SIGCONT);
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    hold_free(&held);
    REQUIRE(beats(shared));
    target_end(pid);
}

static target_shared *handler_shared;

static void count_signal(int number) {
    (void)number;
    atomic_fetch_add(&handler_shared->signals, 1);
}

static void counting_signals(target_shared *shared) {
    struct sigaction action = {.sa_handler = count_signal};
    handler_shared = shared;
    sigaction(SIGRTMIN, &action, NULL); /* real-time signals queue: none may be missing */
    sigaction(SIGALRM, &action, NULL);
    start_threads(shared, 3, sleep_forever);
    beat_forever(shared);
}

static void *send_signals(void *argument) {
    const uint64_t *order = argument; /* pid, how many */
    for (uint64_t i = 0; i < order[1]; i++) {
        union sigval none = {0};
        REQUIRE(sigqueue((pid_t)order[0], SIGRTMIN, none) == 0);
        sleep_us(50);
    }
    return NULL;
}

static void test_signals_are_not_lost(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(counting_signals, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    uint64_t order[2] = {(uint64_t)pid, 3000};
    pthread_t sender;
    REQUIRE(pthread_create(&sender, NULL, send_signals, order) == 0);
    for (int i = 0; i < 150; i++) REQUIRE(hold_once(pid) == 4);
    pthread_join(sender, NULL);
    WAIT_FOR(atomic_load(&shared->signals) == order[1]);
    sleep_us(5000);
    REQUIRE(atomic_load(&shared->signals) == order[1]); /* none twice */
    REQUIRE(beats(shared));
    target_end(pid);
}

static void under_alarm(target_shared *shared) {
    struct itimerval timer = {{0, 200}, {0, 200}};
    struct sigaction action = {.sa_handler = count_signal};
    handler_shared = shared;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    start_threads(shared, 3, sleep_forever);
    beat_forever(shared);
}

static void test_rapid_alarm(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(under_alarm, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    for (int i = 0; i < 100; i++) REQUIRE(hold_once(pid) == 4);
    uint64_t before = atomic_load(&shared->signals);
    WAIT_FOR(atomic_load(&shared->signals) > before + 100);
    REQUIRE(beats(shared));
    target_end(pid);
}

/* Another thread that takes every wait event, as a careless program may. */
static void *take_all_events(void *argument) {
    _Atomic int *stop = argument;
    while (!atomic_load(stop)) {
        int status;
        waitpid(-1, &status, __WALL | WNOHANG);
        sched_yield();
    }
    return NULL;
}

static void test_events_taken_by_another_thread(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(counting_signals, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4);
    _Atomic int stop = 0;
    pthread_t taker, sender;
    uint64_t order[2] = {(uint64_t)pid, 1000};
    REQUIRE(pthread_create(&taker, NULL, take_all_events, &stop) == 0);
    REQUIRE(pthread_create(&sender, NULL, send_signals, order) == 0);
    for (int i = 0; i < 100; i++) REQUIRE(hold_once(pid) == 4);
    pthread_join(sender, NULL);
    atomic_store(&stop, 1);
    pthread_join(taker, NULL);
    WAIT_FOR(atomic_load(&shared->signals) == order[1]);
    REQUIRE(beats(shared));
    target_end(pid);
}

/* Threads that come and go all the time, in a chain: each starts the next one and ends. */
static void *chain(void *argument) {
    target_shared *shared = argument;
    pthread_t thread;
    pthread_attr_t attr;
    atomic_fetch_add(&shared->beat, 1);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    sleep_us(20);
    while (pthread_create(&thread, &attr, chain, shared) != 0) sleep_us(100);
    return NULL;
}

static void chains(target_shared *shared) {
    start_threads(shared, 12, chain);
    sleep_forever(shared);
}

static void test_threads_born_and_dying(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(chains, shared);
    WAIT_FOR(atomic_load(&shared->beat) > 100);
    for (int i = 0; i < 150; i++) {
        held_process held;
        size_t count;
        hold_new(&held, pid, 0);
        REQUIRE_OK(hold_stop(&held), held.err);
        const mdc_held *threads = mdc_tracer_threads(held.tracer, &count);
        /* What /proc lists while it is stopped is what is held, except the dying: a thread in its exit does not stop.
         */
        for (pid_t tid = pid; tid < pid + 200000 && i == 0; tid++) {
            char state = state_of(pid, tid);
            bool found = false;
            for (size_t k = 0; k < count; k++) found = found || threads[k].tid == (uint32_t)tid;
            REQUIRE(state == '?' || state == 'Z' || state == 'X' || found);
            if (tid > pid + 2000 && state == '?') break;
        }
        for (size_t k = 0; k < count; k++) REQUIRE(threads[k].flags == 0);
        uint64_t beat = atomic_load(&shared->beat);
        sleep_us(2000);
        REQUIRE(atomic_load(&shared->beat) == beat);
        REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
        hold_free(&held);
    }
    REQUIRE(beats(shared));
    target_end(pid);
}

/* Calls vfork: the parent sleeps uninterruptibly until the child is done. */
static void vfork_parent(target_shared *shared) {
    start_threads(shared, 2, beat_forever);
    WAIT_FOR(atomic_load(&shared->ready) == 2);
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0); /* vfork without the shared memory */
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        atomic_fetch_add(&shared->ready, 1);
        while (!atomic_load(&shared->go)) sleep_us(1000);
        _exit(0);
    }
    atomic_fetch_add(&shared->ready, 1);
    sleep_forever(shared);
}

static void test_uninterruptible(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(vfork_parent, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 3);
    WAIT_FOR(state_of(pid, pid) == 'D');
    held_process held;
    size_t count;
    hold_new(&held, pid, 0);
    held.options.stop_timeout_ns = 30000000;
    REQUIRE_OK(hold_stop(&held), held.err);
    const mdc_held *threads = mdc_tracer_threads(held.tracer, &count);
    REQUIRE(count == 3);
    REQUIRE(threads[0].tid == (uint32_t)pid && threads[0].flags == MDC_THREAD_NO_REGISTERS);
    REQUIRE(threads[0].summary.stack_pointer == 0);
    REQUIRE(threads[1].flags == 0 && threads[2].flags == 0);
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    hold_free(&held);
    REQUIRE(beats(shared));
    atomic_store(&shared->go, 1); /* and the thread that never stopped goes its way */
    WAIT_FOR(atomic_load(&shared->ready) == 5);
    WAIT_FOR(state_of(pid, pid) == 'S');
    target_end(pid);
}

static void leader_leaves(target_shared *shared) {
    start_threads(shared, 3, beat_forever);
    pthread_exit(NULL);
}

static void test_dead_leader(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(leader_leaves, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 3);
    WAIT_FOR(state_of(pid, pid) == 'Z');
    REQUIRE(hold_once(pid) == 3);
    REQUIRE(beats(shared));
    target_end(pid);
}

static void test_max_stop_and_deadline(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    held_process held;

    hold_new(&held, pid, 0);
    held.options.max_stop_ns = 50000000;
    REQUIRE_OK(hold_stop(&held), held.err);
    REQUIRE(beats(shared)); /* resumed without a request */
    REQUIRE(atomic_load(&held.control.abort) == MDC_ABORT_MAX_STOP);
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_DEADLINE);
    REQUIRE(held.stop_time_ns >= 50000000);
    mdc_error_clear(&held.err);
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_DEADLINE);
    hold_free(&held);

    hold_new(&held, pid, mdc_clock_ns() + 50000000);
    REQUIRE_OK(hold_stop(&held), held.err);
    REQUIRE(beats(shared));
    REQUIRE(atomic_load(&held.control.abort) == MDC_ABORT_DEADLINE);
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_DEADLINE);
    hold_free(&held);

    hold_new(&held, pid, mdc_clock_ns() - 1); /* passed before the stop */
    REQUIRE(hold_stop(&held) == MDC_ERR_DEADLINE);
    REQUIRE(beats(shared));
    hold_free(&held);

    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    mdc_control_abort(&held.control, MDC_ABORT_CANCEL);
    REQUIRE(beats(shared));
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_CANCELLED);
    hold_free(&held);
    target_end(pid);
}

/* max_stop also counts while a thread that will not stop is waited for. */
static void test_max_stop_during_the_stop(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(vfork_parent, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 3);
    WAIT_FOR(state_of(pid, pid) == 'D');
    held_process held;
    hold_new(&held, pid, 0);
    held.options.stop_timeout_ns = UINT64_C(3600000000000);
    held.options.max_stop_ns = 20000000;
    REQUIRE(hold_stop(&held) == MDC_ERR_DEADLINE);
    REQUIRE(beats(shared));
    hold_free(&held);
    target_end(pid);
}

static void test_killed_while_it_stands(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    held_process held;
    int status;
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    kill(pid, SIGKILL);
    /* Its parent - we are - gets the status without a resume. */
    REQUIRE(waitpid(pid, &status, 0) == pid);
    while (mode == by_thread && WIFSTOPPED(status)) REQUIRE(waitpid(pid, &status, 0) == pid); /* see tracer.h */
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_TARGET_GONE);
    REQUIRE(atomic_load(&held.control.abort) == MDC_ABORT_TARGET_GONE);
    hold_free(&held);
}

/* The target's death between the stop and a resume that comes at once must not go unseen either. */
static void test_killed_right_before_resume(void) {
    for (int i = 0; i < 20; i++) {
        target_shared *shared = target_share();
        pid_t pid = target_start(beating_with_threads, shared);
        WAIT_FOR(atomic_load(&shared->ready) == 8);
        held_process held;
        hold_new(&held, pid, 0);
        REQUIRE_OK(hold_stop(&held), held.err);
        kill(pid, SIGKILL);
        REQUIRE(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err) == MDC_ERR_TARGET_GONE);
        hold_free(&held);
        target_end(pid);
    }
}

static void exits_at_once(target_shared *shared) {
    start_threads(shared, 20, sleep_forever);
    atomic_store(&shared->go, 1);
    sleep_us(300 * (long)shared->words[0]);
    _exit(7);
}

/* Exits at any moment of the stop; its status goes to the waiting process. */
static void test_exit_meanwhile(void) {
    int gone = 0;
    for (uint64_t i = 0; i < 40; i++) {
        target_shared *shared = target_share();
        int status;
        shared->words[0] = i % 10;
        pid_t pid = target_start(exits_at_once, shared);
        WAIT_FOR(atomic_load(&shared->go) == 1);
        held_process held;
        hold_new(&held, pid, 0);
        mdc_status stopped = hold_stop(&held);
        if (stopped != MDC_OK) REQUIRE(stopped == MDC_ERR_TARGET_GONE);
        gone += stopped != MDC_OK;
        mdc_status resumed = mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err);
        REQUIRE(stopped != MDC_OK || resumed == MDC_OK || resumed == MDC_ERR_TARGET_GONE);
        hold_free(&held);
        REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
        munmap(shared, sizeof *shared);
    }
    printf("exit meanwhile: %d of 40 were gone\n", gone);
}

static void *exec_now(void *argument) {
    target_shared *shared = argument;
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->go)) {
    }
    sleep_us((long)shared->words[0]);
    execl("/bin/sleep", "sleep", "600", (char *)NULL);
    return NULL;
}

static void execs(target_shared *shared) {
    start_threads(shared, (int)shared->words[1], sleep_forever);
    start_threads(shared, 1, exec_now);
    sleep_forever(shared);
}

/* An exec in a process of many threads waits for its dead threads to be waited for, and PTRACE_SEIZE waits for the
 * exec: neither may hang. */
static void test_exec_meanwhile(void) {
    for (uint64_t i = 0; i < 60; i++) {
        target_shared *shared = target_share();
        shared->words[0] = i * 25 % 1000; /* us: at another moment of the stop each time */
        shared->words[1] = i % 2 == 0 ? 600 : 40;
        pid_t pid = target_start(execs, shared);
        WAIT_FOR((uint64_t)atomic_load(&shared->ready) == shared->words[1] + 2);
        held_process held;
        hold_new(&held, pid, mdc_clock_ns() + UINT64_C(8000000000));
        held.options.stop_timeout_ns = 100000000;
        atomic_store(&shared->go, 1);
        mdc_status status = hold_stop(&held);
        if (status != MDC_OK && status != MDC_ERR_TARGET_GONE) REQUIRE_OK(status, held.err);
        mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err);
        hold_free(&held);
        REQUIRE(has_become(pid, "sleep")); /* the exec went through */
        target_end(pid);
        munmap(shared, sizeof *shared);
    }
}

/* The dumper is killed while its target is stopped: the kernel resumes the target. */
static void test_dumper_killed(void) {
    target_shared *shared = target_share(), *control = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    pid_t dumper = fork();
    REQUIRE(dumper >= 0);
    if (dumper == 0) {
        held_process held;
        hold_new(&held, pid, 0);
        REQUIRE_OK(hold_stop(&held), held.err);
        atomic_store(&control->ready, 1);
        for (;;) pause();
    }
    WAIT_FOR(atomic_load(&control->ready) == 1);
    uint64_t beat = atomic_load(&shared->beat);
    sleep_us(30000);
    REQUIRE(atomic_load(&shared->beat) == beat);
    REQUIRE(state_of(pid, pid) == 't');
    kill(dumper, SIGKILL);
    REQUIRE(waitpid(dumper, NULL, 0) == dumper);
    REQUIRE(beats(shared));
    REQUIRE(state_of(pid, pid) != 't');
    target_end(pid);
}

static void test_traced_already(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    held_process first, second;
    hold_new(&first, pid, 0);
    REQUIRE_OK(hold_stop(&first), first.err);
    hold_new(&second, pid, 0);
    REQUIRE(hold_stop(&second) == MDC_ERR_TARGET_BUSY);
    char expected[64];
    snprintf(expected, sizeof expected, "is under way, by process %d:", (int)getpid());
    REQUIRE(strstr(second.err.message, expected) != NULL);
    hold_free(&second);
    REQUIRE_OK(mdc_tracer_resume(first.tracer, &first.stop_time_ns, &first.err), first.err);
    hold_free(&first);
    REQUIRE(beats(shared));
    target_end(pid);
}

static void test_fail_points(void) {
    static const char *const points[] = {"stop:thread:1:5", "stop:thread:5:5",   "regs:thread:1:5",
                                         "regs:thread:8:5", "spawn:tracer:1:11", "alloc:2:12",
                                         "alloc:3:12",      "alloc:4:12",        "alloc:5:12"};
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        held_process held;
        hold_new(&held, pid, 0);
        char spec[64];
        snprintf(spec, sizeof spec, "%s,%s", points[i], mode);
        mdc_failpoint_set(spec);
        mdc_status status = hold_stop(&held);
        mdc_failpoint_set(mode);
        bool memory = points[i][0] == 'a', spawn = points[i][1] == 'p';
        REQUIRE(status == (memory ? MDC_ERR_NOMEM : spawn ? MDC_ERR_LIMIT : MDC_ERR_TARGET));
        REQUIRE(held.err.os_errno == (memory ? 0 : spawn ? 11 : 5) && held.err.message[0] != '\0');
        REQUIRE(beats(shared));
        REQUIRE(state_of(pid, pid) != 't');
        REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &(mdc_error){0}), held.err);
        hold_free(&held);
    }
    REQUIRE(hold_once(pid) == 8);
    target_end(pid);
}

static void many(target_shared *shared) {
    start_threads(shared, (int)shared->words[0] - 1, sleep_forever);
    beat_forever(shared);
}

/* Each with its registers, in the order of their numbers, and all run on: also where lists have had to grow. */
static void test_thousands_of_threads(void) {
    target_shared *shared = target_share();
    shared->words[0] = 4000;
    pid_t pid = target_start(many, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 4000);
    held_process held;
    size_t count;
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    const mdc_held *threads = mdc_tracer_threads(held.tracer, &count);
    REQUIRE(count == 4000 && threads[0].leader && threads[0].tid == (uint32_t)pid);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(threads[i].flags == 0 && threads[i].summary.stack_pointer != 0);
        REQUIRE(i < 2 || (threads[i].tid > threads[i - 1].tid && !threads[i].leader));
    }
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    for (size_t i = 0; i < count; i++) REQUIRE(state_of(pid, (pid_t)threads[i].tid) != 't');
    hold_free(&held);
    REQUIRE(beats(shared));
    target_end(pid);
}

static void test_many_threads(void) {
    target_shared *shared = target_share();
    shared->words[0] = 500;
    pid_t pid = target_start(many, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 500);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        held_process held;
        size_t count;
        hold_new(&held, pid, 0);
        held.options.xstate = i & 1;
        REQUIRE_OK(hold_stop(&held), held.err);
        const mdc_held *threads = mdc_tracer_threads(held.tracer, &count);
        REQUIRE(count == 500);
        for (size_t k = 0; k < count; k++) REQUIRE(threads[k].flags == 0 && threads[k].summary.stack_pointer != 0);
        REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
        if (held.stop_time_ns < best) best = held.stop_time_ns;
        hold_free(&held);
    }
    printf("500 threads: frozen for %.1f us per thread\n", (double)best / 500e3);
    REQUIRE(beats(shared));
    target_end(pid);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"stop and resume", test_stop_and_resume},
                 {"stopped stays stopped", test_stopped_stays_stopped},
                 {"signals are not lost", test_signals_are_not_lost},
                 {"rapid alarm", test_rapid_alarm},
                 {"events taken", test_events_taken_by_another_thread},
                 {"threads born and dying", test_threads_born_and_dying},
                 {"uninterruptible", test_uninterruptible},
                 {"dead leader", test_dead_leader},
                 {"max_stop and deadline", test_max_stop_and_deadline},
                 {"max_stop during the stop", test_max_stop_during_the_stop},
                 {"killed while it is stopped", test_killed_while_it_stands},
                 {"killed right before resume", test_killed_right_before_resume},
                 {"exit meanwhile", test_exit_meanwhile},
                 {"exec meanwhile", test_exec_meanwhile},
                 {"dumper killed", test_dumper_killed},
                 {"traced already", test_traced_already},
                 {"fail points", test_fail_points},
                 {"many threads", test_many_threads},
                 {"thousands of threads", test_thousands_of_threads}};
    static const char *const modes[] = {by_process, by_thread};
    for (size_t i = 0; i < 2 * sizeof tests / sizeof tests[0]; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i / 2].name) != 0) continue;
        uint64_t start = mdc_clock_ns();
        mode = modes[i % 2];
        mdc_failpoint_set(mode);
        printf("%s, %s\n", tests[i / 2].name, mode == by_thread ? "by a thread" : "by a process");
        fflush(stdout);
        tests[i / 2].run();
        REQUIRE(no_children());
        printf("  %.2f s\n", (double)(mdc_clock_ns() - start) / 1e9);
    }
    return 0;
}
