/* Threads that can be waited for, on both systems, from what base/thread.h has. */
#ifndef MDC_TESTS_THREADS_CHECK_H
#define MDC_TESTS_THREADS_CHECK_H

#include <stdbool.h>
#include <stdlib.h>

#include "../../csrc/base/clock.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/base/thread.h"

#if defined(_WIN32)
#include <windows.h>
static inline void give_way(void) { SwitchToThread(); }
#else
#include <sched.h>
static inline void give_way(void) { sched_yield(); }
#endif

typedef struct thread {
    mdc_thread_start start;
    void *(*run)(void *argument);
    void *argument;
    mdc_lock lock;
    mdc_condition change;
    bool over;
} thread;

static inline void thread_body(void *argument) {
    thread *self = argument;
    self->run(self->argument);
    mdc_lock_enter(&self->lock);
    self->over = true;
    mdc_condition_wake_all(&self->change);
    mdc_lock_leave(&self->lock);
}

/* NULL if it cannot be started. */
static inline thread *thread_begin(void *(*run)(void *argument), void *argument) {
    mdc_error err;
    mdc_error_clear(&err);
    thread *self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    self->start = (mdc_thread_start){thread_body, self};
    self->run = run;
    self->argument = argument;
    if (mdc_lock_init(&self->lock, &err) != MDC_OK || mdc_condition_init(&self->change, &err) != MDC_OK) abort();
    if (mdc_thread_run(&self->start, (size_t)1 << 20) == 0) return self;
    free(self);
    return NULL;
}

static inline void thread_end(thread *self) {
    mdc_lock_enter(&self->lock);
    while (!self->over) mdc_condition_wait(&self->change, &self->lock, UINT64_MAX);
    mdc_lock_leave(&self->lock);
    mdc_condition_fini(&self->change);
    mdc_lock_fini(&self->lock);
    free(self);
}

/* A lock that is never woken is a clock. */
static inline void sleep_ms(uint64_t ms) {
    mdc_error err;
    mdc_lock lock;
    mdc_condition never;
    mdc_error_clear(&err);
    if (mdc_lock_init(&lock, &err) != MDC_OK || mdc_condition_init(&never, &err) != MDC_OK) abort();
    uint64_t until = mdc_clock_ns() + ms * UINT64_C(1000000);
    mdc_lock_enter(&lock);
    while (mdc_condition_wait(&never, &lock, until)) continue;
    mdc_lock_leave(&lock);
    mdc_condition_fini(&never);
    mdc_lock_fini(&lock);
}

#endif
