/* A child made in a target: the target is as before, whatever happens to the tracer. */
#include <immintrin.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>

#include "linux_snapshot.h"

enum { SKIPPED = 77, LIMIT_S = 120 };
/* A fork of a process under AddressSanitizer takes long. */
#ifdef __SANITIZE_ADDRESS__
enum { TURNS = 5, EXEC_TURNS = 10, SLOW = 1 };
#else
enum { TURNS = 20, EXEC_TURNS = 40, SLOW = 0 };
#endif

/* -- the targets --------------------------------------------------------------------------------------------------- */

enum { FAULTS = 0, ROUNDS = 1, SENT = 2, KILLING = 3, COUNTS = 8 }; /* of target_shared.words */

/* Registers and mask of a thread that runs: each round, what was put there is there. */
static void compute(target_shared *shared) {
    sigset_t mask, seen;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigaddset(&mask, SIGRTMIN + 3);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    atomic_store(&shared->ready, 1);
    for (uint64_t round = 1;; round++) {
        const uint64_t seed = round * UINT64_C(0x9E3779B97F4A7C15);
        uint64_t a = seed, b = seed ^ 1, c = seed ^ 2, d = seed ^ 3, e = seed ^ 4, f = seed ^ 5, flags = 0;
        uint64_t low[2] = {seed, ~seed}, out[2] = {0, 0}, high[2] = {0, 0};
        __asm__ volatile("movdqu (%[low]), %%xmm3\n\t"
                         "movdqu (%[low]), %%xmm15\n\t"
                         "mov %[a], %%r8\n\t mov %[a], %%r11\n\t mov %[a], %%rcx\n\t"
                         "mov $200000, %%r9\n\t"
                         "stc\n\t"
                         "1: lea -1(%%r9), %%r9\n\t"
                         "inc %%r10\n\t" /* keeps the carry */
                         "jrcxz 3f\n\t"
                         "2: xchg %%r9, %%rcx\n\t"
                         "jrcxz 4f\n\t"
                         "xchg %%r9, %%rcx\n\t"
                         "jmp 1b\n\t"
                         "3: nop\n\t"
                         "4: xchg %%r9, %%rcx\n\t"
                         "pushfq\n\t pop %[flags]\n\t"
                         "movdqu %%xmm3, (%[out])\n\t"
                         "movdqu %%xmm15, (%[high])\n\t"
                         "xor %%rcx, %%r8\n\t xor %%rcx, %%r11\n\t or %%r11, %%r8\n\t mov %%r8, %[b]\n\t"
                         : [flags] "=&r"(flags), [b] "+&r"(b)
                         : [a] "r"(a), [low] "r"(low), [out] "r"(out), [high] "r"(high)
                         : "rcx", "r8", "r9", "r10", "r11", "xmm3", "xmm15", "cc", "memory");
        if (b != 0 || (flags & 1) == 0 || memcmp(out, low, 16) != 0 || memcmp(high, low, 16) != 0)
            shared->words[FAULTS]++;
        (void)c, (void)d, (void)e, (void)f;
        sigprocmask(SIG_SETMASK, NULL, &seen);
        if (memcmp(&seen, &mask, 8) != 0) shared->words[FAULTS]++;
        shared->words[ROUNDS] = round;
        atomic_fetch_add(&shared->beat, 1);
    }
}

__attribute__((target("avx"))) static void compute_wide(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (uint64_t round = 1;; round++) {
        double numbers[4] = {(double)round, (double)round + 0.25, (double)round + 0.5, (double)round + 0.75}, out[4];
        __asm__ volatile("vmovupd (%[in]), %%ymm7\n\t"
                         "vmovupd (%[in]), %%ymm12\n\t"
                         "mov $200000, %%ecx\n\t"
                         "1: dec %%ecx\n\t jnz 1b\n\t"
                         "vaddpd %%ymm7, %%ymm12, %%ymm7\n\t"
                         "vmovupd %%ymm7, (%[out])\n\t"
                         "vzeroupper\n\t"
                         :
                         : [in] "r"(numbers), [out] "r"(out)
                         : "rcx", "ymm7", "ymm12", "cc", "memory");
        for (int i = 0; i < 4; i++)
            if (out[i] != 2 * numbers[i]) shared->words[FAULTS]++;
        atomic_fetch_add(&shared->beat, 1);
    }
}

/* A call that takes long comes back with what it would have anyway, after the time it was to take. */
static void expect(target_shared *shared, bool well, uint64_t begun, uint64_t least_ms) {
    if (!well || mdc_clock_ns() - begun < least_ms * 1000000) shared->words[FAULTS]++;
    shared->words[ROUNDS]++;
    atomic_fetch_add(&shared->beat, 1);
}

static void sleeping(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (;;) {
        struct timespec time = {0, 30000000}, left = {0, 0};
        uint64_t begun = mdc_clock_ns();
        expect(shared, nanosleep(&time, &left) == 0, begun, 29);
    }
}

static void polling(target_shared *shared) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    struct pollfd file = {ends[0], POLLIN, 0};
    atomic_store(&shared->ready, 1);
    for (;;) {
        uint64_t begun = mdc_clock_ns();
        expect(shared, poll(&file, 1, 30) == 0, begun, 29);
    }
}

static void watching(target_shared *shared) {
    struct epoll_event event;
    int file = epoll_create1(0);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    atomic_store(&shared->ready, 1);
    for (;;) {
        uint64_t begun = mdc_clock_ns();
        /* The kernel itself ends it early for a stop (signal(7)): that is so without us. */
        int got = epoll_pwait(file, &event, 1, 30, &mask);
        expect(shared, got == 0 || (got < 0 && errno == EINTR), begun, got == 0 ? 29 : 0);
        sigset_t now;
        sigprocmask(SIG_SETMASK, NULL, &now);
        if (sigismember(&now, SIGUSR1)) shared->words[FAULTS]++;
    }
}

static int pipe_ends[2];

static void reading(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (unsigned char wanted = 0;; wanted++) {
        unsigned char byte = 0;
        ssize_t got = read(pipe_ends[0], &byte, 1);
        expect(shared, got == 1 && byte == wanted, 0, 0);
    }
}

static void waiting(target_shared *shared) {
    static _Atomic uint32_t word;
    atomic_store(&shared->ready, 1);
    for (;;) {
        struct timespec time = {0, 30000000};
        uint64_t begun = mdc_clock_ns();
        long rc = syscall(SYS_futex, &word, 0, 0, &time, NULL, 0);
        /* A wait that was restarted once, and not by code that shows its number, can only end when a tracer is killed.
         */
        const bool cut = rc == -1 && errno == EINTR && shared->words[KILLING] != 0;
        expect(shared, cut || (rc == -1 && errno == ETIMEDOUT), begun, cut ? 0 : 29);
    }
}

static _Atomic uint64_t delivered[65];
static void count_signal(int number) { atomic_fetch_add(&delivered[number], 1); }

/* Signals are pending while it is stopped, and come once each. */
static void signalled(target_shared *shared) {
    static const int numbers[] = {10, 12, 34, 40};
    for (size_t i = 0; i < 4; i++) signal(numbers[i], count_signal);
    atomic_store(&shared->ready, 1);
    for (;;) {
        for (size_t i = 0; i < 4; i++) shared->words[COUNTS + i] = atomic_load(&delivered[numbers[i]]);
        usleep(1000);
        atomic_fetch_add(&shared->beat, 1);
    }
}

static void with_children(target_shared *shared) {
    signal(SIGCHLD, count_signal);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    atomic_store(&shared->ready, 1);
    for (;;) {
        int status;
        if (waitpid(-1, &status, WNOHANG) != 0 || atomic_load(&delivered[SIGCHLD]) != 0) shared->words[FAULTS]++;
        usleep(500);
        atomic_fetch_add(&shared->beat, 1);
    }
}

/* Queued signals come in order, each once. */
static target_shared *of_queue;
static void take_queued(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    if ((uint64_t)info->si_value.sival_int != of_queue->words[COUNTS]) of_queue->words[FAULTS]++;
    of_queue->words[COUNTS]++;
}

static void queued(target_shared *shared) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = take_queued;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    of_queue = shared;
    sigaction(SIGRTMIN + 6, &action, NULL);
    atomic_store(&shared->ready, 1);
    for (;;) {
        usleep(300);
        atomic_fetch_add(&shared->beat, 1);
    }
}

/* Its children are those it made. */
static void forking(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (;;) {
        int status;
        pid_t child = fork();
        if (child == 0) _exit(7);
        if (child < 0 || waitpid(-1, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
            shared->words[FAULTS]++;
        if (waitpid(-1, &status, WNOHANG) != -1 || errno != ECHILD) shared->words[FAULTS]++;
        atomic_fetch_add(&shared->beat, 1);
    }
}

static void *end_at_once(void *argument) { return argument; }
static void threading(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (;;) {
        pthread_t threads[4];
        void *result = NULL;
        for (int i = 0; i < 4; i++)
            if (pthread_create(&threads[i], NULL, end_at_once, shared) != 0) shared->words[FAULTS]++;
        for (int i = 0; i < 4; i++)
            if (pthread_join(threads[i], &result) != 0 || result != shared) shared->words[FAULTS]++;
        atomic_fetch_add(&shared->beat, 1);
    }
}

typedef struct target_kind {
    const char *name;
    void (*run)(target_shared *shared);
    bool killing; /* it is dumped by tracers that are killed, too */
} target_kind;

static const target_kind kinds[] = {
    {"registers", compute, true}, {"avx", compute_wide, true},   {"nanosleep", sleeping, true},
    {"poll", polling, false},     {"epoll", watching, false},    {"read", reading, true},
    {"futex", waiting, true},     {"signals", signalled, false}, {"children", with_children, true},
    {"queued", queued, false},    {"forking", forking, false},   {"threading", threading, false}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* -- with nothing going wrong ---------------------------------------------------------------------------------------
 */

static bool is_well(pid_t pid, target_shared *shared) {
    return shared->words[FAULTS] == 0 && tracer_of(pid) == 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

static pid_t start(const target_kind *kind, target_shared **shared) {
    *shared = target_share();
    if (pipe_ends[1] == 0) REQUIRE(pipe(pipe_ends) == 0);
    pid_t pid = target_start(kind->run, *shared);
    WAIT_FOR(atomic_load(&(*shared)->ready) == 1);
    return pid;
}

static void nudge(const target_kind *kind, pid_t pid, target_shared *shared, int turn) {
    const unsigned char byte = (unsigned char)shared->words[SENT];
    if (strcmp(kind->name, "read") == 0) {
        REQUIRE(write(pipe_ends[1], &byte, 1) == 1);
        shared->words[SENT]++;
    }
    if (strcmp(kind->name, "signals") == 0) {
        static const int numbers[] = {10, 12, 34, 40};
        kill(pid, numbers[turn % 4]);
    }
}

typedef struct sender {
    pthread_t thread;
    pid_t pid;
    _Atomic bool over;
    int sent;
} sender;

static void *send_all_the_time(void *argument) {
    sender *self = argument;
    while (!atomic_load(&self->over)) {
        if (sigqueue(self->pid, SIGRTMIN + 6, (union sigval){.sival_int = self->sent}) == 0) self->sent++;
        sleep_us(200);
    }
    return NULL;
}

static void test_as_before(void) {
    for (size_t k = 0; k < KINDS; k++) {
        target_shared *shared;
        if (kinds[k].run == compute_wide && !__builtin_cpu_supports("avx")) continue;
        pid_t pid = start(&kinds[k], &shared);
        int living, before = children_of(pid, &living);
        int64_t files = (int64_t)status_of(pid, "FDSize:", 10);
        sender sending = {.pid = pid};
        unsigned frozen = 0;
        const bool sends = kinds[k].run == queued, forks = kinds[k].run == forking;
        if (sends) REQUIRE(pthread_create(&sending.thread, NULL, send_all_the_time, &sending) == 0);
        for (int turn = 0; turn < TURNS; turn++) {
            sleep_us(turn * 700);
            taken got = take(pid, NULL);
            REQUIRE_OK(got.status, got.err);
            /* A signal that is just coming in stops the only thread elsewhere. */
            const bool busy = (sends || forks) && got.reason == MDC_STOP_REASON_THREAD;
            frozen += got.frozen;
            if (got.frozen != 1 && !busy)
                fprintf(stderr, "%s: reason %u, %d\n", kinds[k].name, got.reason, got.os_errno);
            REQUIRE(got.frozen == 1 || busy);
            REQUIRE((got.warnings & MDC_WARN_ZOMBIE) == 0);
            REQUIRE(forks || children_of(pid, &living) == before);
            nudge(&kinds[k], pid, shared, turn);
        }
        REQUIRE(frozen > 0 || sends || forks);
        atomic_store(&sending.over, true);
        if (sends) {
            pthread_join(sending.thread, NULL);
            WAIT_FOR(shared->words[COUNTS] == (uint64_t)sending.sent);
            REQUIRE(sending.sent > 0);
        }
        uint64_t rounds = atomic_load(&shared->beat);
        if (strcmp(kinds[k].name, "read") == 0) {
            WAIT_FOR(shared->words[ROUNDS] == TURNS);
        } else {
            WAIT_FOR(atomic_load(&shared->beat) > rounds);
        }
        if (!is_well(pid, shared)) fprintf(stderr, "%s: %d faults\n", kinds[k].name, (int)shared->words[FAULTS]);
        REQUIRE(is_well(pid, shared));
        REQUIRE((int64_t)status_of(pid, "FDSize:", 10) == files);
        if (strcmp(kinds[k].name, "signals") == 0) {
            WAIT_FOR(shared->words[COUNTS] + shared->words[COUNTS + 1] + shared->words[COUNTS + 2] +
                         shared->words[COUNTS + 3] ==
                     TURNS);
        }
        target_end(pid);
    }
}

/* -- the tracer is killed ------------------------------------------------------------------------------------------ */

static const char *const steps[] = {"inject:frame",    "inject:registers", "inject:mask",  "inject:going",
                                    "inject:entry",    "inject:called",    "inject:event", "inject:options",
                                    "inject:exit",     "inject:leaving",   "inject:left",  "inject:unmasked",
                                    "inject:restored", "child:registers"};

/* Passes 1: on the way to the child; 2: the thread waits for it. */
static void test_killed_at_each_step(void) {
    for (size_t k = 0; k < KINDS; k++) {
        if (kinds[k].run == compute_wide && !__builtin_cpu_supports("avx")) continue;
        if (!kinds[k].killing || (SLOW && kinds[k].run != compute && kinds[k].run != sleeping)) continue;
        target_shared *shared;
        pid_t pid = start(&kinds[k], &shared);
        int living, living_before;
        (void)children_of(pid, &living_before);
        shared->words[KILLING] = 1;
        for (int pass = 1; pass <= 2; pass++) {
            for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
                char spec[64];
                snprintf(spec, sizeof spec, "%s:%d:1", steps[i], pass);
                mdc_failpoint_set(spec);
                taken got = take(pid, NULL);
                bool passed = mdc_failpoint_passes(steps[i]) >= (unsigned long)pass;
                mdc_failpoint_set("");
                if (passed && got.status == MDC_OK && (got.warnings & MDC_WARN_ZOMBIE) == 0)
                    fprintf(stderr, "%s: %s: status %d, frozen %u, reason %u\n", kinds[k].name, spec, (int)got.status,
                            got.frozen, got.reason);
                REQUIRE(!passed || got.status != MDC_OK || (got.warnings & MDC_WARN_ZOMBIE) != 0);
                uint64_t beat = atomic_load(&shared->beat);
                nudge(&kinds[k], pid, shared, 0);
                WAIT_FOR(atomic_load(&shared->beat) > beat);
                if (!is_well(pid, shared))
                    fprintf(stderr, "%s: %s: %d faults, tracer %d\n", kinds[k].name, spec, (int)shared->words[FAULTS],
                            (int)tracer_of(pid));
                REQUIRE(is_well(pid, shared));
                WAIT_FOR((children_of(pid, &living), living == living_before));
            }
        }
        target_end(pid);
    }
}

/* Where no process of its own can trace, a thread of ours does. */
static void test_by_a_thread(void) {
    target_shared *shared;
    pid_t pid = start(&kinds[2], &shared);
    int living;
    mdc_failpoint_set("spawn:clone_vm:0:38");
    for (int turn = 0; turn < 10; turn++) {
        taken got = take(pid, NULL);
        REQUIRE_OK(got.status, got.err);
        REQUIRE(got.frozen == 1 && (got.warnings & MDC_WARN_ZOMBIE) == 0);
        REQUIRE(children_of(pid, &living) == 0);
    }
    mdc_failpoint_set("");
    uint64_t beat = atomic_load(&shared->beat);
    WAIT_FOR(atomic_load(&shared->beat) > beat);
    REQUIRE(is_well(pid, shared));
    target_end(pid);
}

/* A process that becomes another program all the time: it is dumped, or the dump says so. */
static char *own_program;
static void executing(target_shared *shared) {
    char place[32], *words[] = {own_program, "again", place, NULL};
    snprintf(place, sizeof place, "%d", pipe_ends[1]);
    (void)shared;
    execv(own_program, words);
    _exit(1);
}

static int again(char **words) {
    struct timespec time = {0, 8000000};
    nanosleep(&time, NULL);
    if (write(atoi(words[2]), "x", 1) != 1) return 1;
    execv(words[0], words);
    return 1;
}

static void test_exec(void) {
    target_shared *shared = target_share();
    char bytes[4096];
    unsigned frozen = 0;
    REQUIRE(pipe(pipe_ends) == 0);
    pid_t pid = target_start(executing, shared);
    REQUIRE(read(pipe_ends[0], bytes, 1) == 1);
    fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
    for (int turn = 0; turn < EXEC_TURNS; turn++) {
        taken got = take(pid, NULL);
        if (got.status != MDC_OK && got.status != MDC_ERR_TARGET_GONE)
            fprintf(stderr, "exec: %d %s\n", (int)got.status, got.err.message);
        REQUIRE(got.status == MDC_OK || got.status == MDC_ERR_TARGET_GONE);
        frozen += got.frozen;
        while (read(pipe_ends[0], bytes, sizeof bytes) > 0);
        bool on = false;
        WAIT_FOR(on || (on = read(pipe_ends[0], bytes, 1) == 1)); /* it goes on */
        int living;
        (void)children_of(pid, &living);
        REQUIRE(living == 0 && tracer_of(pid) == 0 && waitpid(pid, NULL, WNOHANG) == 0);
    }
    printf("%u of %d snapshots between two programs\n", frozen, (int)EXEC_TURNS);
    kill(pid, SIGKILL);
    REQUIRE(waitpid(pid, NULL, 0) == pid);
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "again") == 0) return again(argv);
    own_program = argv[0];
    alarm(LIMIT_S); /* a hang is a failure */
    target_shared *shared;
    pid_t pid = start(&kinds[2], &shared);
    taken got = take(pid, NULL);
    target_end(pid);
    REQUIRE_OK(got.status, got.err);
    if (got.reason == MDC_STOP_REASON_KERNEL || got.reason == MDC_STOP_REASON_SECCOMP) {
        printf("this kernel cannot do it: reason %u\n", got.reason);
        return SKIPPED;
    }
    test_as_before();
    test_by_a_thread();
    test_killed_at_each_step();
    test_exec();
    return 0;
}
