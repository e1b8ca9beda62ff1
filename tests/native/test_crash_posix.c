/* Handlers of fatal signals and alternate stacks, without Python: this program plays the helper. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/failpoint.h"
#include "crash/crash_posix.h"

/* Read by AddressSanitizer: the signals and the alternate stacks are ours here. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "handle_segv=0:handle_abort=0:use_sigaltstack=0:detect_leaks=0"; }

enum { THREADS = 40, PATIENCE_MS = 60 * 1000 };
#define SIGNALS (UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGABRT - 1))

/* --- alternate stacks ------------------------------------------------------------------------------------------- */

typedef struct covering {
    mdc_crash_stacks *stacks;
    pthread_barrier_t all;
} covering;

static stack_t current_stack(void) {
    stack_t now;
    REQUIRE(sigaltstack(NULL, &now) == 0);
    return now;
}

static void *be_covered(void *argument) {
    covering *shared = argument;
    mdc_error err;
    mdc_error_clear(&err);
    REQUIRE(mdc_crash_stacks_cover(shared->stacks, &err) == MDC_OK);
    const stack_t first = current_stack();
    CHECK((first.ss_flags & SS_DISABLE) == 0 && first.ss_size >= 64 * 1024);
    memset(first.ss_sp, 1, first.ss_size);
    REQUIRE(mdc_crash_stacks_cover(shared->stacks, &err) == MDC_OK);
    CHECK(current_stack().ss_sp == first.ss_sp);
    unsigned char present;
    CHECK(mincore((uint8_t *)first.ss_sp - 4096, 4096, &present) == 0 && (present & 1) == 0); /* the guard */
    pthread_barrier_wait(&shared->all);
    CHECK(mdc_crash_stacks_count(shared->stacks) == THREADS);
    pthread_barrier_wait(&shared->all);
    return NULL;
}

/* One that has an alternate stack keeps it, and it is not ours to unmap. */
static void *bring_stack(void *argument) {
    covering *shared = argument;
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t *own = malloc(64 * 1024);
    const stack_t stack = {.ss_sp = own, .ss_size = 64 * 1024};
    REQUIRE(own != NULL && sigaltstack(&stack, NULL) == 0);
    REQUIRE(mdc_crash_stacks_cover(shared->stacks, &err) == MDC_OK);
    CHECK(current_stack().ss_sp == own && mdc_crash_stacks_count(shared->stacks) == 1);
    return own;
}

static void *fail_to_cover(void *argument) {
    covering *shared = argument;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("crash:stack:1:12"); /* ENOMEM */
    CHECK(mdc_crash_stacks_cover(shared->stacks, &err) == MDC_ERR_NOMEM);
    mdc_failpoint_set("");
    CHECK((current_stack().ss_flags & SS_DISABLE) != 0 && mdc_crash_stacks_count(shared->stacks) == 0);
    mdc_error_clear(&err);
    CHECK(mdc_crash_stacks_cover(shared->stacks, &err) == MDC_OK);
    return NULL;
}

static void *run_one(void *(*body)(void *), covering *shared) {
    pthread_t thread;
    void *made;
    REQUIRE(pthread_create(&thread, NULL, body, shared) == 0 && pthread_join(thread, &made) == 0);
    return made;
}

static void test_stacks(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("crash:key:1:11"); /* EAGAIN */
    CHECK(mdc_crash_stacks_new(&err) == NULL && err.code == MDC_ERR_LIMIT);
    mdc_failpoint_set("");
    mdc_error_clear(&err);
    covering shared = {.stacks = mdc_crash_stacks_new(&err)};
    REQUIRE(shared.stacks != NULL && pthread_barrier_init(&shared.all, NULL, THREADS) == 0);
    run_one(fail_to_cover, &shared);
    for (int round = 0; round < 3; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, be_covered, &shared) == 0);
        for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
        CHECK(mdc_crash_stacks_count(shared.stacks) == 0);
    }
    free(run_one(bring_stack, &shared));
    CHECK(mdc_crash_stacks_count(shared.stacks) == 0);
    REQUIRE(mdc_crash_stacks_cover(shared.stacks, &err) == MDC_OK);
    mdc_crash_stacks_forked(shared.stacks);
    CHECK(mdc_crash_stacks_count(shared.stacks) == 1);
}

/* --- handlers --------------------------------------------------------------------------------------------------- */

typedef struct program {
    pid_t pid;
    int socket; /* the helper's end */
    int errors; /* its stderr */
    int helper_fd;
} program;

static void end_by_previous(int signo) { _exit(signo == SIGSEGV ? 7 : 8); }

/* A process that arms the handlers, for this helper, and then does this. */
static program start_for(pid_t helper, void (*body)(void), bool chain, uint64_t wait_ns) {
    int sockets[2], errors[2];
    program made;
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0 && pipe(errors) == 0);
    made.helper_fd = (int)syscall(SYS_pidfd_open, helper, 0);
    REQUIRE(made.helper_fd >= 0);
    made.pid = fork();
    REQUIRE(made.pid >= 0);
    if (made.pid == 0) {
        const mdc_crash_spec spec = {.socket = sockets[0],
                                     .helper_fd = made.helper_fd,
                                     .helper = helper,
                                     .chain = chain,
                                     .signals = SIGNALS,
                                     .wait_ns = wait_ns};
        mdc_error err;
        mdc_error_clear(&err);
        close(sockets[1]);
        REQUIRE(dup2(errors[1], STDERR_FILENO) == STDERR_FILENO);
        REQUIRE(signal(SIGSEGV, end_by_previous) != SIG_ERR && mdc_crash_arm(&spec, &err) == MDC_OK);
        if (mdc_crash_arm(&spec, &err) != MDC_ERR_BUSY) _exit(90);
        body();
        _exit(91);
    }
    close(sockets[0]);
    close(errors[1]);
    made.socket = sockets[1];
    made.errors = errors[0];
    return made;
}

static program start(void (*body)(void), bool chain, uint64_t wait_ns) {
    return start_for(getpid(), body, chain, wait_ns);
}

static mdc_crash_request asked(const program *child) {
    mdc_crash_request request = {0};
    struct pollfd wait = {.fd = child->socket, .events = POLLIN};
    REQUIRE(poll(&wait, 1, PATIENCE_MS) == 1);
    REQUIRE(recv(child->socket, &request, sizeof request, 0) == (ssize_t)sizeof request);
    return request;
}

static void answer(const program *child, const char *failed) {
    mdc_crash_answer words = {.failed = failed != NULL};
    if (failed != NULL) memcpy(words.message, failed, strlen(failed));
    REQUIRE(send(child->socket, &words, sizeof words, 0) == (ssize_t)sizeof words);
}

/* Its wait status; what it said begins with this. */
static int ended(program *child, const char *said) {
    char text[1024] = "";
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < sizeof text - 1; size += got > 0 ? (size_t)got : 0)
        got = read(child->errors, text + size, sizeof text - 1 - size);
    if (strcmp(text, said) != 0) printf("said: %s\n", text);
    CHECK(strcmp(text, said) == 0);
    int status = 0;
    REQUIRE(waitpid(child->pid, &status, 0) == child->pid);
    close(child->errors);
    close(child->helper_fd);
    if (child->socket >= 0) close(child->socket);
    return status;
}

static void fault(void) { __asm__ volatile("movl $1, (%0)" ::"r"(16L) : "memory"); } /* unseen by sanitizers */
static void give_up(void) { abort(); }
static void disarm(void) {
    mdc_crash_disarm();
    fault();
}
static void fork_and_fault(void) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) fault();
    REQUIRE(waitpid(child, &status, 0) == child);
    _exit(WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 92);
}
static void *fault_in_thread(void *argument) {
    (void)argument;
    fault();
    return NULL;
}
static void fault_in_many(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, fault_in_thread, NULL);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}

static bool exited(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }

#define PREFIX "minidump_cffi: no dump of this crash: "

static void test_handlers(void) {
    const uint64_t long_ns = UINT64_C(60000000000);
    program child = start(fault, true, long_ns);
    mdc_crash_request request = asked(&child);
    CHECK(request.tid == child.pid && request.signal == SIGSEGV && request.code == SEGV_MAPERR);
    CHECK(request.address == 16 && request.ucontext != 0 && request.siginfo != 0);
    answer(&child, NULL);
    CHECK(exited(ended(&child, ""), 7)); /* by the handler from before */

    child = start(fault, false, long_ns);
    (void)asked(&child);
    answer(&child, "the disk is full");
    int status = ended(&child, PREFIX "the disk is full\n");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);

    child = start(give_up, true, long_ns);
    request = asked(&child);
    CHECK(request.signal == SIGABRT && request.code == SI_TKILL && request.address == 0);
    answer(&child, NULL);
    status = ended(&child, "");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);

    child = start(fault_in_many, true, long_ns);
    (void)asked(&child);
    answer(&child, NULL);
    CHECK(exited(ended(&child, ""), 7));

    child = start(disarm, true, long_ns);
    CHECK(exited(ended(&child, ""), 7));
    child = start(fork_and_fault, true, long_ns);
    CHECK(exited(ended(&child, ""), 0));
}

static void test_without_answer(void) {
    program child = start(fault, true, 1000000);
    CHECK(exited(ended(&child, PREFIX "the process that takes it does not answer\n"), 7));
    child = start(fault, true, UINT64_C(60000000000));
    (void)asked(&child);
    close(child.socket);
    child.socket = -1;
    CHECK(exited(ended(&child, PREFIX "the process that takes it has ended\n"), 7));

    const pid_t helper = fork(); /* another process holds its end of the socket: it is missed by its pidfd */
    if (helper == 0) {
        pause();
        _exit(1);
    }
    child = start_for(helper, fault, true, UINT64_C(60000000000));
    (void)asked(&child);
    kill(helper, SIGKILL);
    REQUIRE(waitpid(helper, NULL, 0) == helper);
    CHECK(exited(ended(&child, PREFIX "the process that takes it has ended\n"), 7));
}

/* --- the helper ------------------------------------------------------------------------------------------------- */

static void test_start(void) {
    char name[] = "/nowhere/program", *arguments[] = {name, NULL}, *environment[] = {NULL};
    mdc_crash_program helper = {arguments, environment, .errors = 2, .control = 0, .crashes = 1};
    mdc_error err;
    int32_t pid = 0;
    mdc_error_clear(&err);
    CHECK(mdc_crash_start(&helper, &pid, &err) == MDC_ERR_TARGET && err.os_errno == ENOENT);
    mdc_error_clear(&err);
    mdc_failpoint_set("spawn:helper:1:11"); /* EAGAIN */
    CHECK(mdc_crash_start(&helper, &pid, &err) == MDC_ERR_LIMIT);
    mdc_failpoint_set("");
    mdc_error_clear(&err);
    helper.control = 1 << 20;
    CHECK(mdc_crash_start(&helper, &pid, &err) != MDC_OK);
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD);
}

static void test_watch(void) {
    mdc_error err;
    int32_t pidfd = -1, gone = -1;
    mdc_error_clear(&err);
    const pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(1);
    }
    REQUIRE(mdc_crash_watch(child, &pidfd, &err) == MDC_OK);
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    CHECK(poll(&wait, 1, 0) == 0);
    mdc_crash_kill(pidfd);
    CHECK(poll(&wait, 1, PATIENCE_MS) == 1);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(pidfd);
    CHECK(mdc_crash_watch(child, &gone, &err) == MDC_ERR_TARGET_GONE);
}

int main(void) {
    test_stacks();
    test_handlers();
    test_without_answer();
    test_start();
    test_watch();
    return failures != 0;
}
