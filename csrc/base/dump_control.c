/* What the threads of one dump share (see dump_control.h). */
#include "dump_control.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fail.h"

void mdc_control_init(mdc_dump_control *control, uint64_t deadline_ns) {
    atomic_init(&control->abort, MDC_ABORT_NONE);
    atomic_init(&control->phase, MDC_PHASE_NONE);
    atomic_init(&control->stopped, 0);
    atomic_init(&control->stopped_since, 0);
    atomic_init(&control->may_end, 0);
    atomic_init(&control->stop_ended, 0);
    atomic_init(&control->bytes_done, 0);
    atomic_init(&control->bytes_total, 0);
    atomic_init(&control->steps, 0);
    atomic_init(&control->doing.what, MDC_DOING_OTHER);
    atomic_init(&control->doing.address, 0);
    atomic_init(&control->doing.advances, 0);
    for (size_t i = 0; i < MDC_ACTIVITY_WORDS; i++) atomic_init(&control->doing.name[i], 0);
    control->stalled = (mdc_activity){.callback_type = -1};
    control->stall_ns = 0;
    control->started_ns = mdc_clock_ns();
    control->deadline_ns = deadline_ns;
}

bool mdc_control_abort(mdc_dump_control *control, int32_t reason) {
    int32_t none = MDC_ABORT_NONE;
    return atomic_compare_exchange_strong(&control->abort, &none, reason);
}

int32_t mdc_control_reason(mdc_dump_control *control) {
    if (control->deadline_ns != 0 && atomic_load_explicit(&control->abort, memory_order_acquire) == MDC_ABORT_NONE &&
        mdc_clock_ns() >= control->deadline_ns)
        mdc_control_abort(control, MDC_ABORT_DEADLINE);
    return atomic_load_explicit(&control->abort, memory_order_acquire);
}

bool mdc_control_end_stop(mdc_dump_control *control) {
    if (atomic_load(&control->may_end) == 0) return false;
    atomic_store(&control->stop_ended, 1);
    return true;
}

static mdc_status fail_stalled(const mdc_dump_control *control, int32_t phase, mdc_error *err) {
    char what[2 * MDC_ACTIVITY_NAME];
    mdc_activity_describe(&control->stalled, what, sizeof what);
    bool first = err->code == MDC_OK;
    mdc_fail(err, MDC_ERR_STALLED, phase, 0,
             "the target was resumed after %.3g s without progress (stall_timeout); what hung: %s",
             (double)control->stall_ns / 1e9, what);
    if (first) {
        err->callback_type = control->stalled.callback_type;
        err->address = control->stalled.kind == MDC_DOING_STOPPED ? 0 : control->stalled.address;
    }
    return err->code;
}

mdc_status mdc_control_check(mdc_dump_control *control, mdc_error *err) {
    int32_t phase = atomic_load_explicit(&control->phase, memory_order_relaxed);
    switch (mdc_control_reason(control)) {
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
        return fail_stalled(control, phase, err);
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

mdc_progress mdc_control_read(const mdc_dump_control *control) {
    mdc_progress progress;
    progress.phase = atomic_load_explicit(&control->phase, memory_order_relaxed);
    progress.stopped = atomic_load_explicit(&control->stopped, memory_order_relaxed);
    progress.bytes_done = atomic_load_explicit(&control->bytes_done, memory_order_relaxed);
    progress.bytes_total = atomic_load_explicit(&control->bytes_total, memory_order_relaxed);
    progress.elapsed_ns = mdc_clock_ns() - control->started_ns;
    progress.aborted = atomic_load_explicit(&control->abort, memory_order_relaxed);
    progress.stalled = progress.aborted == MDC_ABORT_STALL;
    return progress;
}

/* -- what may hang ------------------------------------------------------------------------------------------------- */

void mdc_control_name(mdc_dump_control *control, const void *name, size_t size) {
    const char *from = name;
    for (size_t i = 0, at = size < MDC_ACTIVITY_NAME ? 0 : size - (MDC_ACTIVITY_NAME - 1); i < MDC_ACTIVITY_WORDS;
         i++, at += 8) {
        uint64_t word = 0;
        size_t left = at < size ? size - at : 0;
        if (left > 0) memcpy(&word, from + at, left < 8 ? left : 8);
        atomic_store_explicit(&control->doing.name[i], word, memory_order_relaxed);
        if (left < 8) break; /* it ends in this word */
    }
}

static bool has_name(int32_t kind) { return kind == MDC_DOING_READ || kind == MDC_DOING_OPEN; }

mdc_activity mdc_control_doing(const mdc_dump_control *control) {
    const mdc_doing *doing = &control->doing;
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

static uint64_t progress_of(const mdc_dump_control *control) {
    return atomic_load_explicit(&control->steps, memory_order_relaxed) +
           atomic_load_explicit(&control->doing.advances, memory_order_relaxed) +
           atomic_load_explicit(&control->bytes_done, memory_order_relaxed);
}

void mdc_stall_init(mdc_stall *stall, const mdc_dump_control *control, uint64_t now) {
    *stall = (mdc_stall){progress_of(control), now};
}

uint64_t mdc_stall_ns(mdc_stall *stall, const mdc_dump_control *control, uint64_t now) {
    uint64_t progress = progress_of(control);
    if (progress != stall->seen) *stall = (mdc_stall){progress, now};
    return now > stall->since ? now - stall->since : 0;
}

bool mdc_stall_over(mdc_stall *stall, const mdc_dump_control *control, uint64_t now) {
    uint64_t since = mdc_stall_ns(stall, control, now);
    return control->stall_ns != 0 && since >= control->stall_ns;
}

void mdc_control_stalled(mdc_dump_control *control, mdc_activity activity) {
    if (atomic_load(&control->abort) != MDC_ABORT_NONE) return;
    control->stalled = activity;
    mdc_control_abort(control, MDC_ABORT_STALL);
}
