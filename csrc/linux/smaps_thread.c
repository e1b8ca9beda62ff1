/* The thread that reads smaps (see smaps_thread.h). */
#include "smaps_thread.h"

#include <signal.h>

#include "../base/fail.h"

enum { STACK_BYTES = 256 * 1024 };

static void *run(void *argument) {
    mdc_smaps_thread *self = argument;
    self->status = mdc_smaps_read(self->entries, self->proc, UINT64_MAX, NULL, NULL, &self->error);
    return NULL;
}

void mdc_smaps_thread_start(mdc_smaps_thread *self, mdc_vec *entries, int proc) {
    pthread_attr_t attributes;
    sigset_t all, before;
    self->proc = proc;
    self->entries = entries;
    mdc_error_clear(&self->error);
    if (pthread_attr_init(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        sigfillset(&all); /* inherited */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        self->running = pthread_create(&self->thread, &attributes, run, self) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (!self->running) run(self);
}

mdc_status mdc_smaps_thread_wait(mdc_smaps_thread *self, mdc_error *err) {
    if (self->running) pthread_join(self->thread, NULL);
    self->running = false;
    if (self->status != MDC_OK) *err = self->error;
    return self->status;
}
