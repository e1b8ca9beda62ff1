/* The holder (see win_suspend.h). */
#include "win_suspend.h"

#include <windows.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"
#include "win_threads.h"

enum {
    TICK_MS = 10,    /* how often a standing target and the monitor are looked at */
    ROUNDS_MAX = 64, /* listings of the threads until none is new */
    WATCHDOG_STACK = 64 * 1024
};
static const uint64_t stop_timeout = 250000000; /* ns */

struct mdc_win_holder {
    const mdc_win_process *process;
    mdc_monitor *monitor;
    uint64_t stop_timeout_ns;
    uint64_t max_stop_ns;
    HANDLE wake;     /* resume is asked for */
    HANDLE watchdog; /* NULL: not started, or joined */
    bool begun;
    bool early;         /* resumed, or dead, before the request; read after the join, as frozen_ns */
    uint64_t frozen_ns; /* from the first suspended thread to the last resumed one */
    SRWLOCK lock;
    mdc_vec held;         /* under lock until all are held: mdc_win_held */
    uint64_t frozen_from; /* under lock; 0: nothing is suspended */
    bool over;            /* under lock: all were resumed, and no more may be suspended */
};

mdc_win_holder *mdc_win_holder_new(const mdc_win_process *process, uint64_t stop_timeout_ns, uint64_t max_stop_ns,
                                   mdc_monitor *monitor, mdc_error *err) {
    mdc_win_holder *holder = mdc_alloc(1, sizeof *holder, err);
    if (holder == NULL) return NULL;
    holder->process = process;
    holder->monitor = monitor;
    holder->stop_timeout_ns = stop_timeout_ns != 0 ? stop_timeout_ns : stop_timeout;
    holder->max_stop_ns = max_stop_ns;
    InitializeSRWLock(&holder->lock);
    mdc_vec_init(&holder->held, sizeof(mdc_win_held));
    holder->wake = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (holder->wake != NULL) return holder;
    mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot make an event");
    mdc_dealloc(holder);
    return NULL;
}

/* -- the watchdog -------------------------------------------------------------------------------------------------- */

static void release(mdc_win_holder *holder) {
    AcquireSRWLockExclusive(&holder->lock);
    holder->over = true;
    for (size_t i = 0; i < holder->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&holder->held, mdc_win_held, i);
        if (held->suspended) ResumeThread(held->handle); /* fails only if the thread is dead */
        held->suspended = 0;
    }
    if (holder->frozen_from != 0) holder->frozen_ns = mdc_clock_ns() - holder->frozen_from;
    ReleaseSRWLockExclusive(&holder->lock);
    atomic_store(&holder->monitor->stopped, 0);
}

/* Why the target has to go now, MDC_ABORT_NONE if it need not. */
static int32_t reason_to_go(mdc_win_holder *holder) {
    mdc_monitor *monitor = holder->monitor;
    uint64_t now = mdc_clock_ns(), until;
    AcquireSRWLockShared(&holder->lock);
    uint64_t from = holder->frozen_from;
    ReleaseSRWLockShared(&holder->lock);
    if (monitor->deadline_ns != 0 && now >= monitor->deadline_ns) return MDC_ABORT_DEADLINE;
    if (holder->max_stop_ns != 0 && from != 0 && mdc_add_u64(from, holder->max_stop_ns, &until) && now >= until)
        return MDC_ABORT_MAX_STOP;
    return MDC_ABORT_NONE;
}

static DWORD WINAPI watch(void *argument) {
    mdc_win_holder *holder = argument;
    mdc_stall stall;
    mdc_stall_init(&stall, holder->monitor, mdc_clock_ns());
    HANDLE events[2] = {holder->wake, holder->process->handle};
    while (!holder->early) {
        DWORD what = WaitForMultipleObjects(2, events, FALSE, TICK_MS);
        int32_t reason = reason_to_go(holder);
        if (!mdc_win_process_runs(holder->process)) reason = MDC_ABORT_TARGET_GONE;
        if (what == WAIT_OBJECT_0 && reason != MDC_ABORT_TARGET_GONE) break;
        if (reason != MDC_ABORT_NONE)
            mdc_monitor_abort(holder->monitor, reason);
        else if (mdc_stall_over(&stall, holder->monitor, mdc_clock_ns()))
            mdc_monitor_stalled(holder->monitor, mdc_monitor_doing(holder->monitor));
        holder->early = atomic_load(&holder->monitor->abort) != MDC_ABORT_NONE;
    }
    release(holder);
    return 0;
}

static void join(mdc_win_holder *holder) {
    if (holder->watchdog == NULL) return;
    SetEvent(holder->wake);
    WaitForSingleObject(holder->watchdog, INFINITE);
    CloseHandle(holder->watchdog);
    holder->watchdog = NULL;
}

/* -- the stop ------------------------------------------------------------------------------------------------------ */

static bool is_held(const mdc_win_holder *holder, uint32_t tid) {
    for (size_t i = 0; i < holder->held.count; i++)
        if (mdc_vec_at(&holder->held, const mdc_win_held, i).tid == tid) return true;
    return false;
}

/* Suspends one thread that is not held yet. The lock is held for the two calls that belong together: what is suspended
 * is in the list. SuspendThread itself does not wait for the thread. */
static mdc_status hold_one(mdc_win_holder *holder, uint32_t tid, bool *fresh, mdc_error *err) {
    bool limited;
    uint32_t os_errno;
    mdc_win_held held = {.tid = tid};
    held.handle = mdc_win_thread_open(tid, holder->process->pid, &limited, &os_errno);
    if (held.handle == NULL && os_errno == 0) return MDC_OK; /* it has ended meanwhile */
    held.context = mdc_alloc(1, sizeof *held.context, err);
    if (held.context == NULL) {
        if (held.handle != NULL) CloseHandle(held.handle);
        return err->code;
    }
    held.flags = MDC_THREAD_NO_REGISTERS;
    AcquireSRWLockExclusive(&holder->lock);
    mdc_status status = mdc_vec_reserve(&holder->held, holder->held.count + 1, err);
    bool may = status == MDC_OK && !holder->over;
    if (may && held.handle != NULL && !limited && MDC_FAILPOINT("stop:thread") == 0) {
        uint64_t now = mdc_clock_ns();
        DWORD count = SuspendThread(held.handle);
        if (count != (DWORD)-1) {
            if (holder->frozen_from == 0) holder->frozen_from = now;
            held.suspended = 1;
            held.suspend_count = count;
            held.flags = 0;
        }
    }
    if (may) (void)mdc_vec_push(&holder->held, &held, 1, NULL, err); /* there is room */
    ReleaseSRWLockExclusive(&holder->lock);
    *fresh = may;
    if (!may) {
        if (held.handle != NULL) CloseHandle(held.handle);
        mdc_dealloc(held.context);
    }
    return status;
}

static mdc_status hold_all(mdc_win_holder *holder, mdc_error *err) {
    mdc_vec ids;
    mdc_vec_init(&ids, sizeof(uint32_t));
    mdc_status status = MDC_OK;
    bool fresh = true;
    for (int round = 0; status == MDC_OK && fresh; round++) {
        if (round == ROUNDS_MAX)
            status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                              "process %d gets new threads from outside faster than they can be suspended",
                              (int)holder->process->pid);
        fresh = false;
        ids.count = 0;
        if (status == MDC_OK) status = mdc_win_threads_ids(&ids, holder->process->pid, err);
        for (size_t i = 0; status == MDC_OK && i < ids.count; i++) {
            uint32_t tid = mdc_vec_at(&ids, const uint32_t, i);
            bool added = false;
            if (!is_held(holder, tid)) status = hold_one(holder, tid, &added, err);
            fresh = fresh || added;
            if (status == MDC_OK) status = mdc_monitor_check(holder->monitor, err);
        }
    }
    mdc_vec_fini(&ids);
    if (status == MDC_OK && holder->held.count == 0) {
        status = mdc_win_process_check(holder->process, MDC_PHASE_STOP, err);
        if (status == MDC_OK)
            status =
                mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0, "process %d has no thread", (int)holder->process->pid);
    }
    if (status == MDC_OK && holder->frozen_from == 0) /* a dump of a process that runs on says nothing */
        status = mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_STOP, ERROR_ACCESS_DENIED,
                          "Windows denies suspending any thread of process %d", (int)holder->process->pid);
    return status;
}

/* Of all, once all are suspended, so that the first question has the shortest wait. */
static mdc_status read_all(mdc_win_holder *holder, mdc_error *err) {
    mdc_win_asker *asker = NULL;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < holder->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&holder->held, mdc_win_held, i);
        bool read;
        void *thread = held->flags == 0 ? held->handle : NULL;
        status = mdc_win_context_read(&asker, thread, holder->stop_timeout_ns, held->context, &read, err);
        if (!read) held->flags |= MDC_THREAD_NO_REGISTERS;
        if (status == MDC_OK) status = mdc_monitor_check(holder->monitor, err);
    }
    mdc_win_asker_free(asker);
    return status;
}

mdc_status mdc_win_holder_stop(mdc_win_holder *holder, mdc_error *err) {
    if (holder->begun)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "a holder can stop its target only once");
    holder->begun = true;
    DWORD error = (DWORD)MDC_FAILPOINT("spawn:holder");
    if (error == 0) {
        holder->watchdog = CreateThread(NULL, WATCHDOG_STACK, watch, holder, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        error = holder->watchdog == NULL ? GetLastError() : 0;
    }
    if (holder->watchdog == NULL)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_STOP, (int32_t)error,
                        "cannot start the thread that stops the target");
    atomic_store(&holder->monitor->stopped, 1);
    mdc_status status = hold_all(holder, err);
    if (status == MDC_OK) status = read_all(holder, err);
    if (status != MDC_OK) join(holder);
    return status;
}

const mdc_win_held *mdc_win_holder_threads(const mdc_win_holder *holder, size_t *count) {
    *count = holder->held.count;
    return holder->held.data;
}

mdc_status mdc_win_holder_resume(mdc_win_holder *holder, uint64_t *frozen_ns, mdc_error *err) {
    join(holder);
    *frozen_ns = holder->frozen_ns;
    return holder->early ? mdc_monitor_check(holder->monitor, err) : MDC_OK;
}

void mdc_win_holder_free(mdc_win_holder *holder) {
    if (holder == NULL) return;
    join(holder);
    for (size_t i = 0; i < holder->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&holder->held, mdc_win_held, i);
        if (held->handle != NULL) CloseHandle(held->handle);
        mdc_dealloc(held->context);
    }
    mdc_vec_fini(&holder->held);
    CloseHandle(holder->wake);
    mdc_dealloc(holder);
}
