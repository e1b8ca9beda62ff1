/* Reading smaps on a thread of its own, while other things are read before the stop: it takes longest of them. */
#ifndef MDC_LINUX_SMAPS_THREAD_H
#define MDC_LINUX_SMAPS_THREAD_H

#include <pthread.h>

#include "smaps.h"

typedef struct mdc_smaps_thread {
    pthread_t thread;
    bool running; /* started and not joined */
    int proc;
    mdc_vec *entries; /* the thread's as long as it runs */
    mdc_vec lines;    /* uint8_t: mapping lines of files, each ended by a newline; the thread's, too */
    size_t seen;      /* mappings */
    uint64_t inode;   /* of the last of the lines, and its device */
    uint32_t device;
    mdc_status status;
    mdc_error error;
} mdc_smaps_thread;

/* Begins to append all entries. Without a thread (the limit of threads is reached) they are read at once. proc and
 * entries are borrowed until the wait. */
void mdc_smaps_thread_start(mdc_smaps_thread *self, mdc_vec *entries, int proc);
/* Of the first so many mappings the files are known to the caller: lines are kept of further ones. Where a file is in
 * several mappings one after the other, of the first of them. */
enum { MDC_SMAPS_THREAD_KNOWN = 4096 };
/* Waits for it; its result. Works again and again. */
mdc_status mdc_smaps_thread_wait(mdc_smaps_thread *self, mdc_error *err);
void mdc_smaps_thread_fini(mdc_smaps_thread *self); /* waits */

#endif
