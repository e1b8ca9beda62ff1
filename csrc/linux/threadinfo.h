/* What /proc says of single threads: names, times, priorities. Read before the stop, because it costs two system calls
 * and more per thread, and only made up for under the stop for threads born since. */
#ifndef MDC_LINUX_THREADINFO_H
#define MDC_LINUX_THREADINFO_H

#include "process.h"

typedef struct mdc_threadinfo {
    int32_t tid;
    int32_t reserved;
    uint64_t affinity; /* the first 64 processors */
    mdc_process_stat stat;
} mdc_threadinfo;

/* infos: mdc_threadinfo, by tid. Threads that end meanwhile are left out. directory: /proc/PID. */
mdc_status mdc_threadinfo_list(mdc_vec *infos, int directory, mdc_error *err);
/* Fills name, times, priority and affinity of the thread with thread->tid; what is not known stays 0. */
mdc_status mdc_threadinfo_fill(const mdc_vec *infos, int directory, mdc_mappings *pool_owner, mdc_thread *thread,
                               mdc_error *err);
/* Where a thread sleeps in the kernel: its stack and instruction pointer in user space, from task/TID/syscall. false
 * if it runs, or may not be looked at. */
bool mdc_threadinfo_where(int directory, int32_t tid, uint64_t *stack_pointer, uint64_t *instruction_pointer);

#endif
