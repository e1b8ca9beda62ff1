/* What the threads of one dump share (see monitor.h). */
#include "monitor.h"

#include "clock.h"
#include "fail.h"

void mdc_monitor_init(mdc_monitor *monitor, uint64_t deadline_ns) {
    atomic_init(&monitor->abort, MDC_ABORT_NONE);
    atomic_init(&monitor->phase, MDC_PHASE_NONE);
    atomic_init(&monitor->stopped, 0);
    atomic_init(&monitor->bytes_done, 0);
    atomic_init(&monitor->bytes_total, 0);
    monitor->started_ns = mdc_clock_ns();
    monitor->deadline_ns = deadline_ns;
}

bool mdc_monitor_abort(mdc_monitor *monitor, int32_t reason) {
    int32_t none = MDC_ABORT_NONE;
    return atomic_compare_exchange_strong(&monitor->abort, &none, reason);
}

int32_t mdc_monitor_reason(mdc_monitor *monitor) {
    if (monitor->deadline_ns != 0 && atomic_load_explicit(&monitor->abort, memory_order_acquire) == MDC_ABORT_NONE &&
        mdc_clock_ns() >= monitor->deadline_ns)
        mdc_monitor_abort(monitor, MDC_ABORT_DEADLINE);
    return atomic_load_explicit(&monitor->abort, memory_order_acquire);
}

mdc_status mdc_monitor_check(mdc_monitor *monitor, mdc_error *err) {
    int32_t phase = atomic_load_explicit(&monitor->phase, memory_order_relaxed);
    switch (mdc_monitor_reason(monitor)) {
    case MDC_ABORT_NONE:
        return MDC_OK;
    case MDC_ABORT_CANCEL:
        return mdc_fail(err, MDC_ERR_CANCELLED, phase, 0, "the dump was cancelled");
    case MDC_ABORT_DEADLINE:
        return mdc_fail(err, MDC_ERR_DEADLINE, phase, 0, "the deadline passed before the dump was complete");
    case MDC_ABORT_MAX_STOP:
        return mdc_fail(err, MDC_ERR_DEADLINE, phase, 0,
                        "the target was let go because it had stood for max_stop before the dump was complete");
    case MDC_ABORT_TRACER:
        return mdc_fail(err, MDC_ERR_TARGET, phase, 0,
                        "the target was resumed early: the kernel does not let the process that holds it wait (futex)");
    default:
        return mdc_fail(err, MDC_ERR_TARGET_GONE, phase, 0,
                        "the target ended, or became another program, during the dump");
    }
}

mdc_progress mdc_monitor_read(const mdc_monitor *monitor) {
    mdc_progress progress;
    progress.phase = atomic_load_explicit(&monitor->phase, memory_order_relaxed);
    progress.stopped = atomic_load_explicit(&monitor->stopped, memory_order_relaxed);
    progress.bytes_done = atomic_load_explicit(&monitor->bytes_done, memory_order_relaxed);
    progress.bytes_total = atomic_load_explicit(&monitor->bytes_total, memory_order_relaxed);
    progress.elapsed_ns = mdc_clock_ns() - monitor->started_ns;
    progress.aborted = atomic_load_explicit(&monitor->abort, memory_order_relaxed);
    progress.reserved = 0;
    return progress;
}
