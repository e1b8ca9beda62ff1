/* Holding a process, for the tests of the tracer. Header only: each test is one program. */
#ifndef MDC_TESTS_LINUX_HOLD_H
#define MDC_TESTS_LINUX_HOLD_H

#include <inttypes.h>

#include "base/failpoint.h"
#include "linux/tracer.h"
#include "linux_target.h"

typedef struct held_process {
    mdc_live_options options;
    mdc_dump_control control;
    mdc_tracer *tracer;
    mdc_error err;
    int pidfd;
    int proc;
    uint64_t stop_time_ns;
} held_process;

static inline void hold_new(held_process *held, pid_t pid, uint64_t deadline_ns) {
    memset(held, 0, sizeof *held);
    held->options.pid = pid;
    held->options.pidfd = -1;
    mdc_error_clear(&held->err);
    mdc_control_init(&held->control, deadline_ns);
    held->pidfd = pidfd_of(pid);
    held->proc = proc_of(pid);
    REQUIRE(held->pidfd >= 0 && held->proc >= 0);
}

static inline mdc_status hold_stop(held_process *held) {
    held->tracer =
        mdc_tracer_new(&held->options, held->options.pid, held->pidfd, held->proc, &held->control, &held->err);
    REQUIRE(held->tracer != NULL);
    return mdc_tracer_stop(held->tracer, &held->err);
}

static inline void hold_free(held_process *held) {
    mdc_tracer_free(held->tracer);
    close(held->pidfd);
    close(held->proc);
}

/* Stop, a look, resume: all must go well. Returns the number of threads held. */
static inline size_t hold_once(pid_t pid) {
    held_process held;
    size_t count;
    hold_new(&held, pid, 0);
    REQUIRE_OK(hold_stop(&held), held.err);
    mdc_tracer_threads(held.tracer, &count);
    REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    hold_free(&held);
    return count;
}

static inline void beating_with_threads(target_shared *shared) {
    start_threads(shared, 7, sleep_forever);
    beat_forever(shared);
}

/* A field of /proc/PID/status as a number, -1 if it is not there. */
static inline int64_t status_of(pid_t pid, const char *field, int base) {
    char path[64], line[256];
    int64_t value = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, strlen(field)) == 0) value = (int64_t)strtoull(line + strlen(field), NULL, base);
    if (file != NULL) fclose(file);
    return value;
}

/* Its tracer: the number of a thread; 0: none. */
static inline pid_t tracer_of(pid_t pid) { return (pid_t)status_of(pid, "TracerPid:", 10); }

/* The process that thread is of. */
static inline pid_t process_of(pid_t tid) { return (pid_t)status_of(tid, "Tgid:", 10); }

/* Nobody is there to be waited for, no zombie either. */
static inline bool no_children(void) { return waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD; }

#endif
