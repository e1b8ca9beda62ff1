/* Names, times and priorities of threads (see threadinfo.h). */
#include "threadinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/shortage.h"

/* Of Windows (winbase.h): what readers know. */
enum { NORMAL_PRIORITY_CLASS = 0x20, REALTIME_PRIORITY_CLASS = 0x100, PRIORITY_LIMIT = 15 };
#define EPOCH_1601_S UINT64_C(11644473600) /* from 1601 to 1970 */
#define UNITS_PER_S UINT64_C(10000000)     /* of 100 ns */

/* *known: whether the thread is there. */
static mdc_status read_one(int directory, int32_t tid, mdc_threadinfo *info, bool *known, mdc_error *err) {
    char path[32];
    mdc_error why;
    cpu_set_t set;
    mdc_error_clear(&why);
    memset(info, 0, sizeof *info);
    info->tid = tid;
    *known = false;
    snprintf(path, sizeof path, "task/%d/stat", (int)tid);
    mdc_status status = mdc_process_read_stat_at(directory, path, &info->stat, &why);
    if (mdc_is_shortage(status)) {
        if (err->code == MDC_OK) *err = why;
        return err->code;
    }
    *known = status == MDC_OK;
    CPU_ZERO(&set); /* more than 1,024 processors: EINVAL, and the affinity is not known */
    if (sched_getaffinity(tid, sizeof set, &set) == 0) memcpy(&info->affinity, &set, sizeof info->affinity);
    return MDC_OK;
}

static int by_tid(const void *a, const void *b) {
    int32_t x = ((const mdc_threadinfo *)a)->tid, y = ((const mdc_threadinfo *)b)->tid;
    return x < y ? -1 : x > y;
}

mdc_status mdc_threadinfo_list(mdc_vec *infos, int directory, mdc_error *err) {
    mdc_vec tids;
    mdc_vec_init(&tids, sizeof(int32_t));
    mdc_status status = mdc_process_threads(directory, &tids, err);
    if (status == MDC_OK) status = mdc_vec_reserve(infos, tids.count, err);
    for (size_t i = 0; status == MDC_OK && i < tids.count; i++) {
        mdc_threadinfo info;
        bool known;
        status = read_one(directory, mdc_vec_at(&tids, int32_t, i), &info, &known, err);
        if (status == MDC_OK && known) status = mdc_vec_push(infos, &info, 1, NULL, err);
    }
    mdc_vec_fini(&tids);
    if (status == MDC_OK && infos->count > 1) qsort(infos->data, infos->count, sizeof(mdc_threadinfo), by_tid);
    return status;
}

/* "running", "-1 SP PC", or the number of the system call, its six arguments, SP and PC: proc_pid_syscall in
 * fs/proc/base.c. */
bool mdc_threadinfo_where(int directory, int32_t tid, uint64_t *stack_pointer, uint64_t *instruction_pointer) {
    enum { ARGUMENTS = 6 };
    char name[40];
    mdc_vec text;
    mdc_error ignored;
    mdc_vec_init(&text, 1);
    mdc_error_clear(&ignored);
    snprintf(name, sizeof name, "task/%d/syscall", (int)tid);
    bool read = mdc_process_read_file(directory, name, 512, &text, &ignored) == MDC_OK &&
                mdc_vec_push(&text, "", 1, NULL, &ignored) == MDC_OK; /* a string */
    uint64_t numbers[ARGUMENTS + 2];
    size_t count = 0;
    if (read) {
        char *at = text.data, *end = at;
        const long call = strtol(at, &end, 10);
        for (size_t want = end == at ? 0 : call < 0 ? 2 : ARGUMENTS + 2; count < want; count++) {
            at = end;
            numbers[count] = strtoull(at, &end, 16);
            if (end == at) break;
        }
        if (count != (call < 0 ? 2 : ARGUMENTS + 2)) count = 0;
    }
    mdc_vec_fini(&text);
    if (count == 0) return false;
    *stack_pointer = numbers[count - 2];
    *instruction_pointer = numbers[count - 1];
    return true;
}

/* Clock ticks -> 100 ns; numbers too large to be true give 0. */
static uint64_t ticks_to_units(uint64_t ticks) {
    long per_s = sysconf(_SC_CLK_TCK);
    uint64_t units = 0;
    return per_s > 0 && mdc_mul_u64(ticks, UNITS_PER_S, &units) ? units / (uint64_t)per_s : 0;
}

/* Ticks since boot -> 100 ns since 1601. */
static uint64_t start_to_units(uint64_t ticks) {
    struct timespec now, since_boot;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) return 0;
    int64_t boot = ((int64_t)now.tv_sec - (int64_t)since_boot.tv_sec) * (int64_t)UNITS_PER_S +
                   ((int64_t)now.tv_nsec - (int64_t)since_boot.tv_nsec) / 100;
    uint64_t sum = 0;
    if (boot < 0 || !mdc_add_u64((uint64_t)boot + EPOCH_1601_S * UNITS_PER_S, ticks_to_units(ticks), &sum)) return 0;
    return sum;
}

mdc_status mdc_threadinfo_fill(const mdc_vec *infos, int directory, mdc_mappings *pool_owner, mdc_thread *thread,
                               mdc_error *err) {
    mdc_threadinfo key = {.tid = (int32_t)thread->tid}, fresh;
    const mdc_threadinfo *info =
        infos->count == 0 ? NULL : bsearch(&key, infos->data, infos->count, sizeof(mdc_threadinfo), by_tid);
    if (info == NULL) {
        bool known;
        mdc_status status = read_one(directory, key.tid, &fresh, &known, err);
        if (status != MDC_OK || !known) return status;
        info = &fresh;
    }
    const mdc_process_stat *stat = &info->stat;
    thread->affinity = info->affinity;
    thread->create_time = start_to_units(stat->start_time);
    thread->user_time = ticks_to_units(stat->user_ticks);
    thread->kernel_time = ticks_to_units(stat->kernel_ticks);
    /* stat's priority is negative for a real-time thread; nice grows as the priority falls. */
    int64_t priority = stat->priority < 0 ? PRIORITY_LIMIT : -stat->nice;
    if (priority > PRIORITY_LIMIT) priority = PRIORITY_LIMIT;
    if (priority < -PRIORITY_LIMIT) priority = -PRIORITY_LIMIT;
    thread->priority = (uint32_t)(int32_t)priority;
    thread->priority_class = stat->priority < 0 ? REALTIME_PRIORITY_CLASS : NORMAL_PRIORITY_CLASS;
    thread->named = 1; /* PR_SET_NAME takes an empty one */
    return mdc_mappings_intern(pool_owner, stat->name, stat->name_size, &thread->name, err);
}
