/* Whether our own process is stopped, and by whom. Two processes that dump each other would wait for each other for
 * ever: the threads that read are stopped by the other's tracer, in a ring of two or of more.
 *
 * A tracer seizes all threads of its target, then looks for a ring, then stops them. Whichever of a ring has seized
 * last sees the ring, so at least one gives up before all are stopped, whatever the moment. The one with the lowest
 * number may try again: the others have given up, or have not seen it and will be done.
 *
 * For the tracer: no lock, no allocation (ptrace_threads.h). */
#ifndef MDC_LINUX_MUTUAL_H
#define MDC_LINUX_MUTUAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct mdc_own_stop {
    bool stopped;   /* our thread is, by a tracer or a signal */
    bool crashed;   /* a core of our process is being written: it does nothing any more, for as long as that takes */
    bool ring;      /* our tracer is traced by ... our target, or is our target */
    bool lowest;    /* of the ring's processes ours has the lowest number */
    int32_t tracer; /* thread that traces us, 0: none */
} mdc_own_stop;

typedef struct mdc_own_files {
    int32_t owner; /* our process */
    int reader;    /* status of the thread that reads, -1: not known */
    int leader;    /* status of our main thread, -1: not known */
} mdc_own_files;

/* By the thread that reads. What cannot be opened is ignored. */
void mdc_own_files_open(mdc_own_files *files);
void mdc_own_files_close(mdc_own_files *files);
/* target: the process we trace. */
mdc_own_stop mdc_mutual_look(const mdc_own_files *files, _Atomic int *scratch, int32_t target);

#endif
