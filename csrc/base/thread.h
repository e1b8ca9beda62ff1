/* Locks, conditions, the start of a thread and the number of this process, for both systems.
 *
 * A lock is not recursive and does not move. Nothing here runs on the hot path of a callback. */
#ifndef MDC_BASE_THREAD_H
#define MDC_BASE_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

#if defined(_WIN32)
/* SRWLOCK and CONDITION_VARIABLE are one pointer each: windows.h with its macros stays out of the other headers. */
typedef struct mdc_lock {
    void *word;
} mdc_lock;
typedef struct mdc_condition {
    void *word;
} mdc_condition;
/* clang-format off */
#define MDC_LOCK_INIT {NULL}
/* clang-format on */
#else
#include <pthread.h>
typedef struct mdc_lock {
    pthread_mutex_t mutex;
} mdc_lock;
typedef struct mdc_condition {
    pthread_cond_t condition;
} mdc_condition;
/* clang-format off */
#define MDC_LOCK_INIT {PTHREAD_MUTEX_INITIALIZER}
/* clang-format on */
#endif

mdc_status mdc_lock_init(mdc_lock *lock, mdc_error *err);
void mdc_lock_fini(mdc_lock *lock);
void mdc_lock_enter(mdc_lock *lock);
void mdc_lock_leave(mdc_lock *lock);

mdc_status mdc_condition_init(mdc_condition *condition, mdc_error *err);
void mdc_condition_fini(mdc_condition *condition);
/* With the lock held, which it holds again when it returns. false once mdc_clock_ns() has reached until_ns; true:
 * woken, perhaps for no reason. A clock that is set does not stretch the wait. */
bool mdc_condition_wait(mdc_condition *condition, mdc_lock *lock, uint64_t until_ns);
void mdc_condition_wake_all(mdc_condition *condition);

/* What a thread runs; stays where it is until `run` has begun. */
typedef struct mdc_thread_start {
    void (*run)(void *argument);
    void *argument;
} mdc_thread_start;

/* Starts a detached thread with the given stack size in bytes and, on POSIX, all signals blocked: no signal handler of
 * the program ever runs on a thread of ours. Returns 0 or the system's error number. */
int32_t mdc_thread_run(mdc_thread_start *start, size_t stack_bytes);

/* Differs from that of a process this one was forked from. */
uint64_t mdc_process_id(void);

#endif
