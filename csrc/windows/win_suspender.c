/* The suspender (see win_suspender.h). */
#include "win_suspender.h"

#include <windows.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"
#include "win_threads.h"

enum {
    TICK_MS = 10,    /* how often the stopped target and the dump control are checked */
    ROUNDS_MAX = 64, /* listings of the threads until none is new */
    WATCHDOG_STACK = 64 * 1024
};
static const uint64_t stop_timeout = 250000000; /* ns */

struct mdc_win_suspender {
    const mdc_win_process *process;
    mdc_dump_control *control;
    uint64_t stop_timeout_ns;
    uint64_t max_stop_ns;
    HANDLE wake;     /* resume is asked for */
    HANDLE watchdog; /* NULL: not started, or joined */
    bool begun;
    bool early;            /* resumed, or dead, before the request; read after the join, as stop_time_ns */
    uint64_t stop_time_ns; /* from the first suspended thread to the last resumed one */
    SRWLOCK lock;
    mdc_vec held;          /* under lock until all are held: mdc_win_held */
    uint64_t stopped_from; /* under lock; 0: nothing is suspended */
    bool over;             /* under lock: all were resumed, and no more may be suspended */
};

mdc_win_suspender *mdc_win_suspender_new(const mdc_win_process *process, uint64_t stop_timeout_ns, uint64_t max_stop_ns,
                                         mdc_dump_control *control, mdc_error *err) {
    mdc_win_suspender *suspender = mdc_alloc(1, sizeof *suspender, err);
    if (suspender == NULL) return NULL;
    suspender->process = process;
    suspender->control = control;
    suspender->stop_timeout_ns = stop_timeout_ns != 0 ? stop_timeout_ns : stop_timeout;
    suspender->max_stop_ns = max_stop_ns;
    InitializeSRWLock(&suspender->lock);
    mdc_vec_init(&suspender->held, sizeof(mdc_win_held));
    suspender->wake = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (suspender->wake != NULL) return suspender;
    mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot make an event");
    mdc_dealloc(suspender);
    return NULL;
}

/* -- the watchdog -------------------------------------------------------------------------------------------------- */

static void release(mdc_win_suspender *suspender) {
    AcquireSRWLockExclusive(&suspender->lock);
    suspender->over = true;
    for (size_t i = 0; i < suspender->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&suspender->held, mdc_win_held, i);
        if (held->suspended) ResumeThread(held->handle); /* fails only if the thread is dead */
        held->suspended = 0;
    }
    if (suspender->stopped_from != 0) suspender->stop_time_ns = mdc_clock_ns() - suspender->stopped_from;
    ReleaseSRWLockExclusive(&suspender->lock);
    atomic_store(&suspender->control->stopped, 0);
}

/* Why the target has to go now, MDC_ABORT_NONE if it need not. */
static int32_t reason_to_go(mdc_win_suspender *suspender) {
    mdc_dump_control *control = suspender->control;
    uint64_t now = mdc_clock_ns(), until;
    AcquireSRWLockShared(&suspender->lock);
    uint64_t from = suspender->stopped_from;
    ReleaseSRWLockShared(&suspender->lock);
    if (control->deadline_ns != 0 && now >= control->deadline_ns) return MDC_ABORT_DEADLINE;
    if (suspender->max_stop_ns != 0 && from != 0 && mdc_add_u64(from, suspender->max_stop_ns, &until) && now >= until)
        return MDC_ABORT_MAX_STOP;
    return MDC_ABORT_NONE;
}

static DWORD WINAPI watch(void *argument) {
    mdc_win_suspender *suspender = argument;
    mdc_stall stall;
    mdc_stall_init(&stall, suspender->control, mdc_clock_ns());
    HANDLE events[2] = {suspender->wake, suspender->process->handle};
    while (!suspender->early) {
        DWORD what = WaitForMultipleObjects(2, events, FALSE, TICK_MS);
        int32_t reason = reason_to_go(suspender);
        if (!mdc_win_process_runs(suspender->process)) reason = MDC_ABORT_TARGET_GONE;
        if (what == WAIT_OBJECT_0 && reason != MDC_ABORT_TARGET_GONE) break;
        if (reason == MDC_ABORT_MAX_STOP && mdc_control_end_stop(suspender->control)) break;
        if (reason != MDC_ABORT_NONE)
            mdc_control_abort(suspender->control, reason);
        else if (mdc_stall_over(&stall, suspender->control, mdc_clock_ns()))
            mdc_control_stalled(suspender->control, mdc_control_doing(suspender->control));
        suspender->early = atomic_load(&suspender->control->abort) != MDC_ABORT_NONE;
    }
    release(suspender);
    return 0;
}

static void join(mdc_win_suspender *suspender) {
    if (suspender->watchdog == NULL) return;
    SetEvent(suspender->wake);
    WaitForSingleObject(suspender->watchdog, INFINITE);
    CloseHandle(suspender->watchdog);
    suspender->watchdog = NULL;
}

/* -- the stop ------------------------------------------------------------------------------------------------------ */

static bool is_held(const mdc_win_suspender *suspender, uint32_t tid) {
    for (size_t i = 0; i < suspender->held.count; i++)
        if (mdc_vec_at(&suspender->held, const mdc_win_held, i).tid == tid) return true;
    return false;
}

/* Suspends one thread that is not held yet. The lock is held for the two calls that belong together: what is suspended
 * is in the list. SuspendThread itself does not wait for the thread. */
static mdc_status hold_one(mdc_win_suspender *suspender, uint32_t tid, bool *fresh, mdc_error *err) {
    bool limited;
    uint32_t os_errno;
    mdc_win_held held = {.tid = tid};
    held.handle = mdc_win_thread_open(tid, suspender->process->pid, &limited, &os_errno);
    if (held.handle == NULL && os_errno == 0) return MDC_OK; /* it has ended meanwhile */
    held.context = mdc_alloc(1, sizeof *held.context, err);
    if (held.context == NULL) {
        if (held.handle != NULL) CloseHandle(held.handle);
        return err->code;
    }
    held.flags = MDC_THREAD_NO_REGISTERS;
    AcquireSRWLockExclusive(&suspender->lock);
    mdc_status status = mdc_vec_reserve(&suspender->held, suspender->held.count + 1, err);
    bool may = status == MDC_OK && !suspender->over;
    if (may && held.handle != NULL && !limited && MDC_FAILPOINT("stop:thread") == 0) {
        uint64_t now = mdc_clock_ns();
        DWORD count = SuspendThread(held.handle);
        if (count != (DWORD)-1) {
            if (suspender->stopped_from == 0) {
                suspender->stopped_from = now;
                atomic_store(&suspender->control->stopped_since, now);
            }
            held.suspended = 1;
            held.suspend_count = count;
            held.flags = 0;
        }
    }
    if (may) (void)mdc_vec_push(&suspender->held, &held, 1, NULL, err); /* there is room */
    ReleaseSRWLockExclusive(&suspender->lock);
    *fresh = may;
    if (!may) {
        if (held.handle != NULL) CloseHandle(held.handle);
        mdc_dealloc(held.context);
    }
    return status;
}

static mdc_status hold_all(mdc_win_suspender *suspender, mdc_error *err) {
    mdc_vec ids;
    mdc_vec_init(&ids, sizeof(uint32_t));
    mdc_status status = MDC_OK;
    bool fresh = true;
    for (int round = 0; status == MDC_OK && fresh; round++) {
        if (round == ROUNDS_MAX)
            status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0,
                              "process %d gets new threads from outside faster than they can be suspended",
                              (int)suspender->process->pid);
        fresh = false;
        ids.count = 0;
        if (status == MDC_OK) status = mdc_win_threads_ids(&ids, suspender->process->pid, err);
        for (size_t i = 0; status == MDC_OK && i < ids.count; i++) {
            uint32_t tid = mdc_vec_at(&ids, const uint32_t, i);
            bool added = false;
            if (!is_held(suspender, tid)) status = hold_one(suspender, tid, &added, err);
            fresh = fresh || added;
            if (status == MDC_OK) status = mdc_control_check(suspender->control, err);
        }
    }
    mdc_vec_fini(&ids);
    if (status == MDC_OK && suspender->held.count == 0) {
        status = mdc_win_process_check(suspender->process, MDC_PHASE_STOP, err);
        if (status == MDC_OK)
            status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, 0, "process %d has no thread",
                              (int)suspender->process->pid);
    }
    if (status == MDC_OK && suspender->stopped_from == 0) /* a dump of a process that runs on says nothing */
        status = mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_STOP, ERROR_ACCESS_DENIED,
                          "Windows denies suspending any thread of process %d", (int)suspender->process->pid);
    return status;
}

/* Of all, once all are suspended, so that the first question has the shortest wait. */
static mdc_status read_all(mdc_win_suspender *suspender, mdc_error *err) {
    mdc_win_asker *asker = NULL;
    mdc_status status = MDC_OK;
    for (size_t i = 0; status == MDC_OK && i < suspender->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&suspender->held, mdc_win_held, i);
        bool read;
        void *thread = held->flags == 0 ? held->handle : NULL;
        status = mdc_win_context_read(&asker, thread, suspender->stop_timeout_ns, held->context, &read, err);
        if (!read) held->flags |= MDC_THREAD_NO_REGISTERS;
        if (status == MDC_OK) status = mdc_control_check(suspender->control, err);
    }
    mdc_win_asker_free(asker);
    return status;
}

mdc_status mdc_win_suspender_stop(mdc_win_suspender *suspender, mdc_error *err) {
    if (suspender->begun)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "a suspender can stop its target only once");
    suspender->begun = true;
    DWORD error = (DWORD)MDC_FAILPOINT("spawn:tracer");
    if (error == 0) {
        suspender->watchdog =
            CreateThread(NULL, WATCHDOG_STACK, watch, suspender, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        error = suspender->watchdog == NULL ? GetLastError() : 0;
    }
    if (suspender->watchdog == NULL)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_STOP, (int32_t)error,
                        "cannot start the thread that stops the target");
    atomic_store(&suspender->control->stopped, 1);
    mdc_status status = hold_all(suspender, err);
    if (status == MDC_OK) status = read_all(suspender, err);
    if (status != MDC_OK) join(suspender);
    return status;
}

const mdc_win_held *mdc_win_suspender_threads(const mdc_win_suspender *suspender, size_t *count) {
    *count = suspender->held.count;
    return suspender->held.data;
}

mdc_status mdc_win_suspender_resume(mdc_win_suspender *suspender, uint64_t *stop_time_ns, mdc_error *err) {
    join(suspender);
    *stop_time_ns = suspender->stop_time_ns;
    return suspender->early ? mdc_control_check(suspender->control, err) : MDC_OK;
}

void mdc_win_suspender_free(mdc_win_suspender *suspender) {
    if (suspender == NULL) return;
    join(suspender);
    for (size_t i = 0; i < suspender->held.count; i++) {
        mdc_win_held *held = &mdc_vec_at(&suspender->held, mdc_win_held, i);
        if (held->handle != NULL) CloseHandle(held->handle);
        mdc_dealloc(held->context);
    }
    mdc_vec_fini(&suspender->held);
    CloseHandle(suspender->wake);
    mdc_dealloc(suspender);
}
