/* Threads of Windows (see thread.h). */
#include "thread.h"

#include <windows.h>

#include "clock.h"

_Static_assert(sizeof(mdc_lock) == sizeof(SRWLOCK) && _Alignof(mdc_lock) == _Alignof(SRWLOCK), "one pointer");
_Static_assert(sizeof(mdc_condition) == sizeof(CONDITION_VARIABLE) &&
                   _Alignof(mdc_condition) == _Alignof(CONDITION_VARIABLE),
               "one pointer");

static SRWLOCK *lock_of(mdc_lock *lock) { return (SRWLOCK *)(void *)lock; }
static CONDITION_VARIABLE *condition_of(mdc_condition *condition) { return (CONDITION_VARIABLE *)(void *)condition; }

mdc_status mdc_lock_init(mdc_lock *lock, mdc_error *err) {
    (void)err;
    InitializeSRWLock(lock_of(lock));
    return MDC_OK;
}

void mdc_lock_fini(mdc_lock *lock) { (void)lock; }
void mdc_lock_enter(mdc_lock *lock) { AcquireSRWLockExclusive(lock_of(lock)); }
void mdc_lock_leave(mdc_lock *lock) { ReleaseSRWLockExclusive(lock_of(lock)); }

mdc_status mdc_condition_init(mdc_condition *condition, mdc_error *err) {
    (void)err;
    InitializeConditionVariable(condition_of(condition));
    return MDC_OK;
}

void mdc_condition_fini(mdc_condition *condition) { (void)condition; }

bool mdc_condition_wait(mdc_condition *condition, mdc_lock *lock, uint64_t until_ns) {
    const uint64_t ms = 1000000, longest = 0x7FFFFFFF; /* INFINITE is UINT32_MAX */
    uint64_t now = mdc_clock_ns();
    if (now >= until_ns) return false;
    /* Rounded up: a wait that ends early would be called again for the rest, over and over. */
    uint64_t left = (until_ns - now - 1) / ms + 1;
    if (SleepConditionVariableSRW(condition_of(condition), lock_of(lock), (DWORD)(left < longest ? left : longest), 0))
        return true;
    return mdc_clock_ns() < until_ns;
}

void mdc_condition_wake_all(mdc_condition *condition) { WakeAllConditionVariable(condition_of(condition)); }

static DWORD WINAPI enter(void *argument) {
    mdc_thread_start start = *(mdc_thread_start *)argument; /* `run` may free what it lies in */
    start.run(start.argument);
    return 0;
}

int32_t mdc_thread_run(mdc_thread_start *start, size_t stack_bytes) {
    HANDLE thread = CreateThread(NULL, stack_bytes, enter, start, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == NULL) return (int32_t)GetLastError();
    CloseHandle(thread);
    return 0;
}

uint64_t mdc_process_id(void) { return GetCurrentProcessId(); }
