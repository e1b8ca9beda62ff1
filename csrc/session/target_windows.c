/* Target and output of a session on Windows (see target.h). */
#include "target.h"

#include <windows.h>

#include "../base/fail.h"
#include "../windows/win_live.h"

mdc_status mdc_target_check(const mdc_session_spec *spec, mdc_error *err) {
    if (spec->pid == 0 && spec->process == 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "neither a pid nor a handle of the target was given");
    return MDC_OK;
}

/* With the rights it has; not inherited. NULL with the error in GetLastError(). */
static HANDLE duplicate(int64_t handle) {
    HANDLE self = GetCurrentProcess(), own = NULL;
    return DuplicateHandle(self, (HANDLE)(intptr_t)handle, self, &own, 0, FALSE, DUPLICATE_SAME_ACCESS) ? own : NULL;
}

mdc_status mdc_target_take(mdc_session_spec *spec, mdc_error *err) {
    spec->shown_handle = spec->process;
    if (spec->process == 0) return MDC_OK;
    spec->process = (int64_t)(intptr_t)duplicate(spec->process);
    if (spec->process != 0) return MDC_OK;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                    "cannot use the handle of the target");
}

void mdc_target_drop(mdc_session_spec *spec) {
    if (spec->process != 0) CloseHandle((HANDLE)(intptr_t)spec->process);
    spec->process = 0;
}

mdc_source *mdc_target_open(const mdc_session_spec *spec, mdc_error *err) {
    mdc_win_live_options options = {.pid = spec->pid,
                                    .process = spec->process,
                                    .shown_handle = spec->shown_handle,
                                    .types = spec->engine.dump_type,
                                    .start_time = spec->start_time,
                                    .stop_timeout_ns = spec->stop_timeout_ns,
                                    .max_stop_ns = spec->max_stop_ns};
    return mdc_win_live_new(&options, err);
}

mdc_status mdc_output_duplicate(int64_t fd, intptr_t *own, mdc_error *err) {
    HANDLE handle = duplicate(fd);
    *own = handle != NULL ? (intptr_t)handle : -1;
    if (handle != NULL) return MDC_OK;
    return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot write to this handle");
}

void mdc_output_close(intptr_t own) {
    if (own != -1) CloseHandle((HANDLE)own);
}
