/* What the system says of single threads: names, priorities, and times where they are wanted, since they are only in
 * stat, which takes longer than everything else together. Read before the stop, because it costs several system calls
 * per thread, and only made up for under the stop for threads born since. */
#ifndef MDC_LINUX_THREADINFO_H
#define MDC_LINUX_THREADINFO_H

#include "process.h"

typedef struct mdc_threadinfo {
    int32_t tid;
    int32_t nice;
    bool real_time;
    /* 0, if times are not wanted. */
    uint64_t affinity; /* the first 64 processors */
    uint64_t start_time, user_ticks, kernel_ticks;
    uint32_t name_size;
    char name[64]; /* raw bytes */
} mdc_threadinfo;

/* infos: mdc_threadinfo, by tid. Threads that end meanwhile are left out. directory: /proc/PID. times: with times and
 * affinity. */
mdc_status mdc_threadinfo_list(mdc_vec *infos, int directory, bool times, mdc_error *err);
/* Fills name, priority, times and affinity of the thread with thread->tid; what is not known stays 0. */
mdc_status mdc_threadinfo_fill(const mdc_vec *infos, int directory, bool times, mdc_mappings *pool_owner,
                               mdc_thread *thread, mdc_error *err);
/* Where a thread sleeps in the kernel: its stack and instruction pointer in user space, from task/TID/syscall. false
 * if it runs, or may not be looked at. */
bool mdc_threadinfo_where(int directory, int32_t tid, uint64_t *stack_pointer, uint64_t *instruction_pointer);

#endif
