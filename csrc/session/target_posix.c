/* Target and output of a session on Linux (see target.h). */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "../linux/live.h"

mdc_status mdc_target_check(const mdc_session_spec *spec, mdc_error *err) {
    if (spec->process != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "process handles exist on Windows only");
    if (spec->pid <= 0 && spec->pidfd < 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "invalid pid %d", (int)spec->pid);
    return MDC_OK;
}

mdc_status mdc_target_take(mdc_session_spec *spec, mdc_error *err) {
    (void)err;
    spec->process = 0; /* the pidfd stays the caller's */
    return MDC_OK;
}

void mdc_target_drop(mdc_session_spec *spec) { (void)spec; }

mdc_source *mdc_target_open(const mdc_session_spec *spec, mdc_error *err) {
    const uint64_t large =
        MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY | MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY;
    mdc_live_options options = {.pid = spec->pid,
                                .pidfd = spec->pidfd,
                                .start_time = spec->start_time,
                                .stop_timeout_ns = spec->stop_timeout_ns,
                                .max_stop_ns = spec->max_stop_ns,
                                .busy_timeout_ns = spec->busy_timeout_ns,
                                .snapshot = spec->engine.stop == MDC_STOP_SNAPSHOT && spec->engine.plan_only == 0,
                                .keep_max = spec->engine.stop_memory,
                                .xstate = (spec->engine.dump_type & MDC_TYPE_WITH_AVX_XSTATE_CONTEXT) != 0,
                                .handles = (spec->engine.dump_type & MDC_TYPE_WITH_HANDLE_DATA) != 0 &&
                                           (spec->engine.omit_streams & MDC_STREAM_HANDLE_DATA) == 0,
                                .times = (spec->engine.dump_type & MDC_TYPE_WITH_THREAD_INFO) != 0,
                                .dontdump = spec->engine.dontdump,
                                .coredump_filter = spec->engine.coredump_filter,
                                .in_file = spec->engine.file_pages == MDC_FILE_PAGES_RESIDENT,
                                .little = (spec->engine.dump_type & large) == 0 &&
                                          (spec->engine.extensions & MDC_EXT_OPTIONAL) == 0};
    return mdc_live_new(&options, err);
}

mdc_status mdc_output_duplicate(int64_t fd, intptr_t *own, mdc_error *err) {
    *own = fcntl(fd >= 0 && fd <= INT_MAX ? (int)fd : -1, F_DUPFD_CLOEXEC, 3);
    if (*own >= 0) return MDC_OK;
    if (mdc_is_shortage_number(errno)) return mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot duplicate the output");
    return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, errno, "cannot write to descriptor %lld", (long long)fd);
}

void mdc_output_close(intptr_t own) {
    if (own >= 0) close((int)own);
}
