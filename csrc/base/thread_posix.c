/* Threads of POSIX (see thread.h). */
#include "thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "shortage.h"

mdc_status mdc_lock_init(mdc_lock *lock, mdc_error *err) {
    int os_errno = pthread_mutex_init(&lock->mutex, NULL);
    return os_errno == 0 ? MDC_OK : mdc_fail_short(err, MDC_PHASE_NONE, os_errno, "cannot make a lock");
}

void mdc_lock_fini(mdc_lock *lock) { pthread_mutex_destroy(&lock->mutex); }
void mdc_lock_enter(mdc_lock *lock) { pthread_mutex_lock(&lock->mutex); }
void mdc_lock_leave(mdc_lock *lock) { pthread_mutex_unlock(&lock->mutex); }

mdc_status mdc_condition_init(mdc_condition *condition, mdc_error *err) {
    pthread_condattr_t attributes;
    int os_errno = pthread_condattr_init(&attributes);
    if (os_errno == 0) {
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* the clock of mdc_clock_ns */
        os_errno = pthread_cond_init(&condition->condition, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    return os_errno == 0 ? MDC_OK : mdc_fail_short(err, MDC_PHASE_NONE, os_errno, "cannot make a lock");
}

void mdc_condition_fini(mdc_condition *condition) { pthread_cond_destroy(&condition->condition); }

bool mdc_condition_wait(mdc_condition *condition, mdc_lock *lock, uint64_t until_ns) {
    const uint64_t second = UINT64_C(1000000000);
    struct timespec until = {.tv_sec = (time_t)(until_ns / second), .tv_nsec = (long)(until_ns % second)};
    return pthread_cond_timedwait(&condition->condition, &lock->mutex, &until) != ETIMEDOUT;
}

void mdc_condition_wake_all(mdc_condition *condition) { pthread_cond_broadcast(&condition->condition); }

static void *enter(void *argument) {
    mdc_thread_start start = *(mdc_thread_start *)argument; /* `run` may free what it lies in */
    start.run(start.argument);
    return NULL;
}

int32_t mdc_thread_run(mdc_thread_start *start, size_t stack_bytes) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int os_errno = pthread_attr_init(&attributes);
    if (os_errno != 0) return os_errno;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    os_errno = pthread_attr_setstacksize(&attributes, stack_bytes); /* musl refuses here what glibc does in create */
    if (os_errno == 0) {
        sigfillset(&all); /* inherited */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        os_errno = pthread_create(&thread, &attributes, enter, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    return os_errno;
}

uint64_t mdc_process_id(void) { return (uint64_t)getpid(); }
