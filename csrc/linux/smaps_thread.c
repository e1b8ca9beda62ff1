/* The thread that reads smaps (see smaps_thread.h). */
#include "smaps_thread.h"

#include <signal.h>
#include <string.h>

#include "../base/fail.h"

enum {
    STACK_BYTES = 256 * 1024,
    LINES_MAX = 1 << 20 /* bytes: files beyond are examined when they are listed */
};

static mdc_status keep_line(void *context, const uint8_t *line, size_t size, mdc_error *err) {
    mdc_smaps_thread *self = context;
    mdc_map_record record;
    size_t at;
    if (self->seen++ < MDC_SMAPS_THREAD_KNOWN || self->lines.count + size >= LINES_MAX) return MDC_OK;
    if (mdc_vec_push(&self->lines, line, size, &at, err) != MDC_OK ||
        mdc_vec_push(&self->lines, "\n", 1, NULL, err) != MDC_OK)
        return err->code;
    /* Of the copy: parsing may change it. */
    bool wanted = mdc_map_parse((uint8_t *)self->lines.data + at, size, &record) && record.inode != 0;
    const uint32_t device = mdc_smaps_device(record.dev_major, record.dev_minor);
    if (wanted && (record.inode != self->inode || device != self->device)) {
        self->inode = record.inode;
        self->device = device;
        memcpy((uint8_t *)self->lines.data + at, line, size);
    } else {
        self->lines.count = at;
    }
    return MDC_OK;
}

static void *run(void *argument) {
    mdc_smaps_thread *self = argument;
    self->status = mdc_smaps_read(self->entries, self->proc, UINT64_MAX, keep_line, self, &self->error);
    return NULL;
}

void mdc_smaps_thread_start(mdc_smaps_thread *self, mdc_vec *entries, int proc) {
    pthread_attr_t attributes;
    sigset_t all, before;
    self->proc = proc;
    self->entries = entries;
    mdc_vec_fini(&self->lines); /* of a wait that nothing was asked after */
    mdc_vec_init(&self->lines, 1);
    self->seen = 0;
    self->inode = self->device = 0;
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

void mdc_smaps_thread_fini(mdc_smaps_thread *self) {
    mdc_error ignored;
    (void)mdc_smaps_thread_wait(self, &ignored);
    mdc_vec_fini(&self->lines);
}
