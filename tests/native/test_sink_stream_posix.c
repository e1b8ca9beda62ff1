/* Streams as sinks: everything arrives, a stalled reader never hangs us, a closed one never kills us, and nobody's
 * descriptor flags are changed. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../../csrc/base/clock.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/sink/sink.h"
#include "check.h"

enum { CHUNK = 300001, HOLE = 700003 };
static uint8_t chunk[CHUNK];

static mdc_sink *open_sink(int fd, mdc_dump_control *control) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_fd_new(fd, control, &err);
    if (sink == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return sink;
}

/* Reads until the end and checks chunk, hole, chunk. */
static void *reader(void *argument) {
    int fd = *(int *)argument;
    static _Thread_local uint8_t buffer[50000];
    size_t total = 0, wrong = 0;
    for (;;) {
        ssize_t count = read(fd, buffer, sizeof buffer);
        if (count <= 0) break;
        for (ssize_t i = 0; i < count; i++, total++) {
            uint8_t expected = total < CHUNK          ? chunk[total]
                               : total < CHUNK + HOLE ? 0
                                                      : chunk[(total - CHUNK - HOLE) % CHUNK];
            if (buffer[i] != expected) wrong++;
        }
    }
    CHECK(total == 2 * CHUNK + HOLE);
    CHECK(wrong == 0);
    return NULL;
}

static void write_all(mdc_sink *sink) {
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(!sink->patchable && !sink->sparse);
    CHECK(sink->ops->begin(sink, 2 * CHUNK + HOLE, 2 * CHUNK, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, chunk, CHUNK, &err) == MDC_OK);
    CHECK(sink->ops->hole(sink, HOLE, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, chunk, CHUNK, &err) == MDC_OK);
    CHECK(sink->position == 2 * CHUNK + HOLE);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK && err.code == MDC_OK);
}

static void test_arrives(int from, int to) {
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    int flags = fcntl(to, F_GETFL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, reader, &from) == 0);
    mdc_sink *sink = open_sink(to, &control);
    write_all(sink);
    sink->ops->free(sink);
    CHECK(fcntl(to, F_GETFL) == flags);
    close(to); /* the only writer left: the sink has closed what it opened, so the reader sees the end */
    CHECK(pthread_join(thread, NULL) == 0);
    close(from);
}

/* Nobody reads: the deadline, or an abort, ends it; without them this test would not end. */
static void test_stalls(int from, int to, bool abort) {
    mdc_dump_control control;
    mdc_control_init(&control, abort ? 0 : mdc_clock_ns() + 120 * UINT64_C(1000000));
    int flags = fcntl(to, F_GETFL);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = open_sink(to, &control);
    mdc_status status = MDC_OK;
    if (abort) mdc_control_abort(&control, MDC_ABORT_CANCEL);
    for (int i = 0; i < 100 && status == MDC_OK; i++) status = sink->ops->write(sink, chunk, CHUNK, &err);
    CHECK(status == (abort ? MDC_ERR_CANCELLED : MDC_ERR_DEADLINE) && err.code == status);
    CHECK(sink->position < 100 * (uint64_t)CHUNK);
    mdc_error_clear(&err);
    CHECK(sink->ops->hole(sink, HOLE, &err) == status && sink->ops->finish(sink, false, &err) == status);
    sink->ops->free(sink);
    CHECK(fcntl(to, F_GETFL) == flags);
    close(from);
    close(to);
}

static void test_closed(int from, int to, int pending_before) {
    mdc_dump_control control;
    mdc_control_init(&control, mdc_clock_ns() + 20 * UINT64_C(1000000000));
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = open_sink(to, &control);
    CHECK(sink->ops->write(sink, chunk, 1000, &err) == MDC_OK);
    close(from);
    mdc_status status = sink->ops->write(sink, chunk, CHUNK, &err); /* would be SIGPIPE */
    CHECK(status == MDC_ERR_SINK && (err.os_errno == EPIPE || err.os_errno == ECONNRESET));
    CHECK(strstr(err.message, "reader closed") != NULL);
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == pending_before);
    sink->ops->free(sink);
    close(to);
}

/* A SIGPIPE that was pending before is not ours to take. */
static void test_pending_stays(void) {
    sigset_t one, pending;
    sigemptyset(&one);
    sigaddset(&one, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &one, NULL) == 0 && pthread_kill(pthread_self(), SIGPIPE) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    test_closed(ends[0], ends[1], 1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1);
    const struct timespec now = {0, 0};
    CHECK(sigtimedwait(&one, NULL, &now) == SIGPIPE);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &one, NULL) == 0);
}

static void pipe_of(int ends[2]) {
    if (pipe(ends) != 0) exit(77);
}

/* A large dump makes a pipe hold more, a small one leaves it as it is, and none makes it smaller. */
static void test_pipe_holds_more(void) {
    static const struct {
        int before;
        uint64_t planned;
        int after;
    } cases[] = {{65536, 1 << 20, 1 << 20}, {65536, (1 << 20) - 1, 65536}, {1 << 20, UINT64_C(1) << 40, 1 << 20}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdc_dump_control control;
        mdc_error err;
        int ends[2];
        mdc_error_clear(&err);
        mdc_control_init(&control, 0);
        CHECK(pipe(ends) == 0);
        if (fcntl(ends[1], F_SETPIPE_SZ, cases[i].before) != cases[i].before) exit(77); /* the user has too many */
        mdc_sink *sink = open_sink(ends[1], &control);
        CHECK(sink->ops->begin(sink, cases[i].planned, cases[i].planned, &err) == MDC_OK);
        CHECK(fcntl(ends[1], F_GETPIPE_SZ) == cases[i].after);
        sink->ops->free(sink);
        close(ends[0]);
        close(ends[1]);
    }
}

static void socket_of(int ends[2]) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) exit(77);
}

static void fifo_of(int ends[2]) {
    char path[] = "/tmp/mdc_fifo_XXXXXX";
    if (mkdtemp(path) == NULL) exit(77);
    char name[64];
    snprintf(name, sizeof name, "%s/fifo", path);
    CHECK(mkfifo(name, 0600) == 0);
    ends[0] = open(name, O_RDONLY | O_NONBLOCK);
    ends[1] = open(name, O_WRONLY);
    CHECK(fcntl(ends[0], F_SETFL, 0) == 0);
    unlink(name);
    rmdir(path);
}

static void nonblocking_pipe_of(int ends[2]) {
    pipe_of(ends);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
}

static bool terminal_of(int ends[2]) {
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    char name[64];
    if (ends[0] < 0 || grantpt(ends[0]) != 0 || unlockpt(ends[0]) != 0 || ptsname_r(ends[0], name, sizeof name) != 0)
        return false;
    ends[1] = open(name, O_RDWR | O_NOCTTY);
    struct termios raw;
    if (ends[1] < 0 || tcgetattr(ends[1], &raw) != 0) return false;
    cfmakeraw(&raw);
    return tcsetattr(ends[1], TCSANOW, &raw) == 0;
}

static void test_append(void) {
    char path[] = "/tmp/mdc_sink_XXXXXX";
    int fd = mkostemp(path, O_APPEND);
    if (fd < 0) exit(77);
    unlink(path);
    CHECK(write(fd, "head", 4) == 4);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mdc_sink *sink = open_sink(fd, &control);
    write_all(sink);
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(sink->ops->patch(sink, 0, "x", 1, &err) == MDC_ERR_INVALID);
    sink->ops->free(sink);
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && about.st_size == 4 + 2 * CHUNK + HOLE);
    uint8_t back[8];
    CHECK(pread(fd, back, 4, 0) == 4 && memcmp(back, "head", 4) == 0);
    CHECK(pread(fd, back, 8, 4) == 8 && memcmp(back, chunk, 8) == 0);
    close(fd);
}

static void test_devices(void) {
    mdc_dump_control control;
    mdc_control_init(&control, mdc_clock_ns() + 20 * UINT64_C(1000000000));
    mdc_error err;
    mdc_error_clear(&err);
    int fd = open("/dev/full", O_WRONLY);
    if (fd >= 0) {
        mdc_sink *sink = open_sink(fd, &control);
        CHECK(sink->ops->write(sink, chunk, CHUNK, &err) == MDC_ERR_SINK && err.os_errno == ENOSPC);
        sink->ops->free(sink);
        close(fd);
    }
    fd = open("/dev/null", O_WRONLY);
    if (fd >= 0) {
        mdc_sink *sink = open_sink(fd, &control);
        write_all(sink);
        sink->ops->free(sink);
        close(fd);
    }
}

/* A pipe of another user cannot be opened again: polled, in small pieces. */
static void test_foreign_pipe(void) {
    int ends[2];
    pipe_of(ends);
    if (fchown(ends[1], 1, 1) != 0) return; /* only root can make one */
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        failures = 0;
        if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(0);
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
        CHECK(open(path, O_WRONLY | O_NONBLOCK) < 0); /* else this would test nothing new */
        test_stalls(ends[0], dup(ends[1]), false);
        _exit(failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(ends[0]);
    close(ends[1]);
    pipe_of(ends);
    CHECK(fchown(ends[1], 1, 1) == 0);
    if (setegid(65534) == 0 && seteuid(65534) == 0) test_arrives(ends[0], ends[1]);
    CHECK(seteuid(0) == 0 && setegid(0) == 0);
}

int main(void) {
    for (size_t i = 0; i < CHUNK; i++) chunk[i] = (uint8_t)(1 + i % 251);
    int ends[2];
    void (*const makers[])(int[2]) = {pipe_of, socket_of, fifo_of, nonblocking_pipe_of};
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        makers[i](ends);
        test_arrives(ends[0], ends[1]);
        makers[i](ends);
        test_stalls(ends[0], ends[1], false);
        makers[i](ends);
        test_stalls(ends[0], ends[1], true);
        makers[i](ends);
        test_closed(ends[0], ends[1], 0);
    }
    if (terminal_of(ends)) test_stalls(ends[0], ends[1], false); /* the slave: no reader at the master */
    if (terminal_of(ends)) test_stalls(ends[1], ends[0], false); /* and the other way round */
    test_pending_stays();
    test_foreign_pipe();
    test_pipe_holds_more();
    test_append();
    test_devices();
    return failures != 0;
}
