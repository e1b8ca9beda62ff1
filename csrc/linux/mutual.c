/* Rings of dumpers (see mutual.h). */
#include "mutual.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "access.h"
#include "scratch.h"

enum { RING_MAX = 32 };

/* The process for which that thread traces: that of the thread, or the parent of a tracer of ours that is a process of
 * its own. 0: not known. */
static int32_t process_of(_Atomic int *scratch, int32_t tracer) {
    static const char name[] = "Name:\t" MDC_TRACER_NAME "\n";
    char path[32], status[MDC_SCRATCH_STATUS];
    snprintf(path, sizeof path, "/proc/%d/status", (int)tracer);
    if (mdc_scratch_read(scratch, AT_FDCWD, path, status, sizeof status) != 0) return 0;
    int32_t process = mdc_scratch_number(status, "\nTgid:");
    bool own = process == tracer && strncmp(status, name, sizeof name - 1) == 0;
    return own ? mdc_scratch_number(status, "\nPPid:") : process;
}

/* The thread that traces any of the process; 0: none. */
static int32_t tracer_of(_Atomic int *scratch, int32_t process) {
    char path[32], status[MDC_SCRATCH_STATUS];
    snprintf(path, sizeof path, "/proc/%d/status", (int)process);
    if (mdc_scratch_read(scratch, AT_FDCWD, path, status, sizeof status) != 0) return 0;
    return mdc_scratch_number(status, "\nTracerPid:");
}

void mdc_own_files_open(mdc_own_files *files) {
    files->owner = (int32_t)getpid();
    files->reader = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    files->leader = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
}

void mdc_own_files_close(mdc_own_files *files) {
    if (files->reader >= 0) close(files->reader);
    if (files->leader >= 0) close(files->leader);
    files->reader = files->leader = -1;
}

mdc_own_stop mdc_mutual_look(const mdc_own_files *files, _Atomic int *scratch, int32_t target) {
    mdc_own_stop found = {.lowest = true};
    char status[MDC_SCRATCH_STATUS];
    if (files->reader >= 0 && mdc_scratch_reread(files->reader, status, sizeof status) == 0) {
        char state = mdc_scratch_state(status);
        found.stopped = state == 't' || state == 'T';
        /* fs/proc/array.c: task_core_dumping, per process. */
        found.crashed = mdc_scratch_number(status, "\nCoreDumping:") == 1;
        found.tracer = mdc_scratch_number(status, "\nTracerPid:");
    }
    /* A thread that was born after the seize is not traced, the main thread is; or that one is dead. */
    if (found.tracer == 0 && files->leader >= 0 && mdc_scratch_reread(files->leader, status, sizeof status) == 0)
        found.tracer = mdc_scratch_number(status, "\nTracerPid:");
    int32_t tracer = found.tracer;
    for (int i = 0; tracer > 0 && i < RING_MAX; i++) {
        int32_t process = process_of(scratch, tracer);
        if (process <= 0 || process == files->owner) break;
        if (process < files->owner) found.lowest = false;
        found.ring = process == target;
        if (found.ring) break;
        tracer = tracer_of(scratch, process);
    }
    return found;
}
