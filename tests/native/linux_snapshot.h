/* Taking snapshots of a process, for the tests of that. Header only: each test is one program. */
#ifndef MDC_TESTS_LINUX_SNAPSHOT_H
#define MDC_TESTS_LINUX_SNAPSHOT_H

#include "linux/live_state.h"
#include "linux_hold.h"

typedef struct taken {
    mdc_status status; /* of the stop, then of the resume */
    uint32_t frozen, reason, warnings;
    int32_t os_errno;
    mdc_error err;
} taken;

static inline taken take(pid_t pid, void (*meanwhile)(mdc_source *source, pid_t pid)) {
    taken out = {.status = MDC_OK};
    mdc_dump_control control;
    const mdc_live_options options = {.pid = pid, .pidfd = -1, .snapshot = 1, .keep_max = 1 << 30};
    mdc_error_clear(&out.err);
    mdc_control_init(&control, 0);
    mdc_source *source = mdc_live_new(&options, &out.err);
    REQUIRE(source != NULL);
    out.status = source->ops->prepare(source, &control, &out.err);
    if (out.status == MDC_OK) out.status = source->ops->stop(source, &out.err);
    if (out.status == MDC_OK) {
        const mdc_snapshot *lists = source->ops->snapshot(source);
        uint64_t stop_time_ns;
        out.frozen = lists->frozen;
        out.reason = lists->stop_reason;
        out.os_errno = lists->stop_errno;
        if (meanwhile != NULL) meanwhile(source, pid);
        out.status = source->ops->resume(source, &stop_time_ns, &out.err);
        out.warnings = source->ops->snapshot(source)->warnings;
    }
    source->ops->free(source);
    return out;
}

/* The children of all threads; *living: those that are no zombies. */
static inline int children_of(pid_t pid, int *living) {
    char path[64];
    int count = 0;
    *living = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    for (int child; fscanf(file, "%d", &child) == 1; count++) {
        char line[512] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        FILE *stat = fopen(path, "r");
        if (stat != NULL && fgets(line, sizeof line, stat) != NULL && strstr(line, ") Z ") == NULL) ++*living;
        if (stat != NULL) fclose(stat);
    }
    fclose(file);
    return count;
}

#endif
