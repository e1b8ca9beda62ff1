/* For the tests of the linux room: processes to stop, and a way to say what failed. Header only: each test is one
 * program. */
#ifndef MDC_TESTS_LINUX_TARGET_H
#define MDC_TESTS_LINUX_TARGET_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "check.h"

#define REQUIRE_OK(status, err)                                                                                        \
    do {                                                                                                               \
        if ((status) != MDC_OK) {                                                                                      \
            fprintf(stderr, "code %d, %s\n", (int)(err).code, (err).message);                                          \
            check_failed(__FILE__, __LINE__, #status);                                                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Shared between a test and its targets. */
typedef struct target_shared {
    _Atomic int ready;     /* counted up by the target */
    _Atomic int go;        /* set by the test */
    _Atomic uint64_t beat; /* counted up while the target runs */
    _Atomic uint64_t signals;
    uint64_t words[64];
} target_shared;

static inline target_shared *target_share(void) {
    target_shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    return shared;
}

static inline void sleep_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

/* Waits for a condition for at most ten seconds. */
#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        bool came = false; /* looked at once: it may pass again */                                                     \
        for (int tries = 0; !(came = (condition)) && tries < 10000; tries++) sleep_us(1000);                           \
        REQUIRE(came);                                                                                                 \
    } while (0)

/* A child that runs `body` and dies with us. */
static inline pid_t target_start(void (*body)(target_shared *), target_shared *shared) {
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    REQUIRE(pid >= 0);
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    body(shared);
    _exit(0);
}

/* Kills a child of ours and takes its status: it must be that of the kill. */
static inline void target_end(pid_t pid) {
    int status = 0;
    kill(pid, SIGKILL);
    REQUIRE(waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The state letter of a thread, '?' if it is not there. */
static inline char state_of(pid_t pid, pid_t tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return '?';
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end[2] : '?';
}

/* Waits until the process runs the program of that name. While an exec replaces the leader, /proc/PID is not there for
 * a moment. */
static inline bool has_become(pid_t pid, const char *program) {
    char path[64], name[32];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    for (int i = 0; i < 10000; i++, sleep_us(1000)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof name - 1);
        if (fd >= 0) close(fd);
        if (n > 0 && (size_t)n == strlen(program) + 1 && memcmp(name, program, (size_t)n - 1) == 0) return true;
    }
    return false;
}

static inline int proc_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline int pidfd_of(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

/* true if the target goes on counting. */
static inline bool beats(target_shared *shared) {
    uint64_t before = atomic_load(&shared->beat);
    for (int i = 0; i < 5000; i++) {
        if (atomic_load(&shared->beat) > before + 2) return true;
        sleep_us(1000);
    }
    return false;
}

static inline void *beat_forever(void *argument) {
    target_shared *shared = argument;
    atomic_fetch_add(&shared->ready, 1);
    for (;;) {
        atomic_fetch_add(&shared->beat, 1);
        sleep_us(1000);
    }
    return NULL;
}

static inline void *sleep_forever(void *argument) {
    atomic_fetch_add(&((target_shared *)argument)->ready, 1);
    for (;;) pause();
    return NULL;
}

static inline void start_threads(target_shared *shared, int count, void *(*body)(void *)) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    for (int i = 0; i < count; i++)
        if (pthread_create(&thread, &attr, body, shared) != 0) _exit(3);
}

#endif
