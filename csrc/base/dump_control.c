/* What the threads of one dump share (see dump_control.h). */
#include "dump_control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fail.h"

void mdc_monitor_init(mdc_monitor *monitor, uint64_t deadline_ns) {
    atomic_init(&monitor->abort, MDC_ABORT_NONE);
    atomic_init(&monitor->phase, MDC_PHASE_NONE);
    atomic_init(&monitor->stopped, 0);
    atomic_init(&monitor->bytes_done, 0);
    atomic_init(&monitor->bytes_total, 0);
    atomic_init(&monitor->steps, 0);
    atomic_init(&monitor->doing.what, MDC_DOING_OTHER);
    atomic_init(&monitor->doing.address, 0);
    atomic_init(&monitor->doing.advances, 0);
    for (size_t i = 0; i < MDC_ACTIVITY_WORDS; i++) atomic_init(&monitor->doing.name[i], 0);
    monitor->stalled = (mdc_activity){.callback_type = -1};
    monitor->stall_ns = 0;
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

static mdc_status fail_stalled(const mdc_monitor *monitor, int32_t phase, mdc_error *err) {
    char what[2 * MDC_ACTIVITY_NAME];
    mdc_activity_describe(&monitor->stalled, what, sizeof what);
    bool first = err->code == MDC_OK;
    mdc_fail(err, MDC_ERR_STALLED, phase, 0,
             "the target was resumed after %.3g s without progress (stall_timeout); what hung: %s",
             (double)monitor->stall_ns / 1e9, what);
    if (first) {
        err->callback_type = monitor->stalled.callback_type;
        err->address = monitor->stalled.kind == MDC_DOING_STOPPED ? 0 : monitor->stalled.address;
    }
    return err->code;
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
                        "max_stop exceeded: the target was resumed before the dump was complete");
    case MDC_ABORT_STALL:
        return fail_stalled(monitor, phase, err);
    case MDC_ABORT_MUTUAL:
        return mdc_fail(err, MDC_ERR_TARGET_BUSY, phase, 0,
                        "the target was resumed early because it, or a process that dumps it, dumps this process: "
                        "processes cannot dump each other at the same time, try again");
    case MDC_ABORT_TRACER:
        return mdc_fail(
            err, MDC_ERR_TARGET, phase, 0,
            "the target was resumed early: the kernel does not let the process that stopped it wait (futex)");
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
    progress.stalled = progress.aborted == MDC_ABORT_STALL;
    return progress;
}

/* -- what may hang ------------------------------------------------------------------------------------------------- */

void mdc_monitor_name(mdc_monitor *monitor, const void *name, size_t size) {
    const char *from = name;
    for (size_t i = 0, at = size < MDC_ACTIVITY_NAME ? 0 : size - (MDC_ACTIVITY_NAME - 1); i < MDC_ACTIVITY_WORDS;
         i++, at += 8) {
        uint64_t word = 0;
        size_t left = at < size ? size - at : 0;
        if (left > 0) memcpy(&word, from + at, left < 8 ? left : 8);
        atomic_store_explicit(&monitor->doing.name[i], word, memory_order_relaxed);
        if (left < 8) break; /* it ends in this word */
    }
}

static bool has_name(int32_t kind) { return kind == MDC_DOING_READ || kind == MDC_DOING_OPEN; }

mdc_activity mdc_monitor_doing(const mdc_monitor *monitor) {
    const mdc_doing *doing = &monitor->doing;
    mdc_activity activity = {.callback_type = -1};
    uint64_t what = atomic_load_explicit(&doing->what, memory_order_acquire);
    activity.kind = (int32_t)(what & 0xFF);
    activity.callback_type = (int32_t)(what >> 8 & 0xFF) - 1;
    activity.address = atomic_load_explicit(&doing->address, memory_order_relaxed);
    for (size_t i = 0; has_name(activity.kind) && i < MDC_ACTIVITY_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&doing->name[i], memory_order_relaxed);
        memcpy(activity.name + 8 * i, &word, sizeof word);
    }
    activity.name[MDC_ACTIVITY_NAME - 1] = '\0';
    return activity;
}

static const char *type_name(int32_t type) {
    static const char *const names[] = {"Module",
                                        "Thread",
                                        "ThreadEx",
                                        "IncludeThread",
                                        "IncludeModule",
                                        "Memory",
                                        "Cancel",
                                        "WriteKernelMinidump",
                                        "KernelMinidumpStatus",
                                        "RemoveMemory",
                                        "IncludeVmRegion",
                                        "IoStart",
                                        "IoWriteAll",
                                        "IoFinish",
                                        "ReadMemoryFailure",
                                        "SecondaryFlags",
                                        "IsProcessSnapshot",
                                        "VmStart",
                                        "VmQuery",
                                        "VmPreRead",
                                        "VmPostRead"};
    return type >= 0 && type < (int32_t)(sizeof names / sizeof names[0]) ? names[type] : "unknown type";
}

void mdc_activity_describe(const mdc_activity *activity, char *text, size_t size) {
    char name[MDC_ACTIVITY_NAME];
    size_t length = strnlen(activity->name, sizeof name - 1);
    for (size_t i = 0; i < length; i++) /* a name can be any bytes, a message is UTF-8 */
        name[i] = (char)(activity->name[i] < ' ' || activity->name[i] > '~' ? '?' : activity->name[i]);
    name[length] = '\0';
    const char *of = length > 0 ? name : "no file";
    switch (activity->kind) {
    case MDC_DOING_READ:
        snprintf(text, size, "a read of memory at 0x%" PRIx64 " (mapping of %s)", activity->address, of);
        return;
    case MDC_DOING_WRITE:
        snprintf(text, size, "the output");
        return;
    case MDC_DOING_CALL:
        snprintf(text, size, "the callback (%s)", type_name(activity->callback_type));
        return;
    case MDC_DOING_OPEN:
        snprintf(text, size, "the file of the mapping at 0x%" PRIx64 " (%s)", activity->address, of);
        return;
    case MDC_DOING_LIST:
        snprintf(text, size, "the query of the target's mappings and pages");
        return;
    case MDC_DOING_STOP:
        snprintf(text, size, "the stop of the target's threads");
        return;
    case MDC_DOING_STOPPED:
        if (activity->address != 0)
            snprintf(text, size, "this process itself, stopped by its tracer (pid %" PRIu64 ")", activity->address);
        else
            snprintf(text, size, "this process itself, stopped by a signal");
        return;
    default:
        snprintf(text, size, "the dump itself");
    }
}

static uint64_t progress_of(const mdc_monitor *monitor) {
    return atomic_load_explicit(&monitor->steps, memory_order_relaxed) +
           atomic_load_explicit(&monitor->doing.advances, memory_order_relaxed) +
           atomic_load_explicit(&monitor->bytes_done, memory_order_relaxed);
}

void mdc_stall_init(mdc_stall *stall, const mdc_monitor *monitor, uint64_t now) {
    *stall = (mdc_stall){progress_of(monitor), now};
}

uint64_t mdc_stall_ns(mdc_stall *stall, const mdc_monitor *monitor, uint64_t now) {
    uint64_t progress = progress_of(monitor);
    if (progress != stall->seen) *stall = (mdc_stall){progress, now};
    return now > stall->since ? now - stall->since : 0;
}

bool mdc_stall_over(mdc_stall *stall, const mdc_monitor *monitor, uint64_t now) {
    uint64_t since = mdc_stall_ns(stall, monitor, now);
    return monitor->stall_ns != 0 && since >= monitor->stall_ns;
}

void mdc_monitor_stalled(mdc_monitor *monitor, mdc_activity activity) {
    if (atomic_load(&monitor->abort) != MDC_ABORT_NONE) return;
    monitor->stalled = activity;
    mdc_monitor_abort(monitor, MDC_ABORT_STALL);
}
