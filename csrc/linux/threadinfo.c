/* Names, times and priorities of threads (see threadinfo.h). */
#include "threadinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/shortage.h"

/* Of Windows (winbase.h): what readers know. */
enum { NORMAL_PRIORITY_CLASS = 0x20, REALTIME_PRIORITY_CLASS = 0x100, PRIORITY_LIMIT = 15 };
enum { DEADLINE = 6 };                     /* SCHED_DEADLINE of linux/sched.h */
#define EPOCH_1601_S UINT64_C(11644473600) /* from 1601 to 1970 */
#define UNITS_PER_S UINT64_C(10000000)     /* of 100 ns */

/* linux/sched/types.h, as of Linux 3.14. */
typedef struct sched_attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} sched_attributes;
_Static_assert(sizeof(sched_attributes) == 48, "the kernel's SCHED_ATTR_SIZE_VER0");

/* Name and priority from stat, and the times with them. */
static mdc_status read_stat(int directory, bool times, mdc_threadinfo *info, mdc_error *err) {
    char path[32];
    mdc_process_stat stat;
    cpu_set_t set;
    snprintf(path, sizeof path, "task/%d/stat", (int)info->tid);
    mdc_status status = mdc_process_read_stat_at(directory, path, &stat, err);
    if (status != MDC_OK) return status;
    memcpy(info->name, stat.name, stat.name_size);
    info->name_size = stat.name_size;
    info->real_time = stat.priority < 0;
    info->nice = (int32_t)stat.nice;
    if (!times) return MDC_OK;
    info->start_time = stat.start_time;
    info->user_ticks = stat.user_ticks;
    info->kernel_ticks = stat.kernel_ticks;
    CPU_ZERO(&set); /* more than 1,024 processors: EINVAL, and the affinity is not known */
    if (sched_getaffinity(info->tid, sizeof set, &set) == 0) memcpy(&info->affinity, &set, sizeof info->affinity);
    return MDC_OK;
}

/* Without the times: false if a system call is refused, as by a seccomp filter, and stat has to be read. */
static bool read_short(int directory, mdc_threadinfo *info, mdc_status *status, mdc_error *err) {
    sched_attributes attributes = {0};
    if (syscall(SYS_sched_getattr, info->tid, &attributes, (unsigned)sizeof attributes, 0U) != 0) return false;
    char path[32];
    snprintf(path, sizeof path, "task/%d/comm", (int)info->tid);
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        *status = mdc_map_fail(err, errno, "comm", "open");
        return true;
    }
    ssize_t got;
    do got = read(file, info->name, sizeof info->name);
    while (got < 0 && errno == EINTR);
    *status = got < 0 ? mdc_map_fail(err, errno, "comm", "read") : MDC_OK;
    close(file);
    if (got <= 0) return got < 0;
    info->name_size = (uint32_t)got - (info->name[got - 1] == '\n');
    info->real_time = attributes.policy == SCHED_FIFO || attributes.policy == SCHED_RR || attributes.policy == DEADLINE;
    info->nice = attributes.nice;
    return true;
}

/* *known: whether the thread is there. */
static mdc_status read_one(int directory, int32_t tid, bool times, mdc_threadinfo *info, bool *known, mdc_error *err) {
    mdc_error why;
    mdc_status status = MDC_OK;
    mdc_error_clear(&why);
    memset(info, 0, sizeof *info);
    info->tid = tid;
    if (times || !read_short(directory, info, &status, &why)) status = read_stat(directory, times, info, &why);
    *known = status == MDC_OK;
    if (!mdc_is_shortage(status)) return MDC_OK;
    if (err->code == MDC_OK) *err = why;
    return err->code;
}

static int by_tid(const void *a, const void *b) {
    int32_t x = ((const mdc_threadinfo *)a)->tid, y = ((const mdc_threadinfo *)b)->tid;
    return x < y ? -1 : x > y;
}

mdc_status mdc_threadinfo_list(mdc_vec *infos, int directory, bool times, mdc_error *err) {
    mdc_vec tids;
    mdc_vec_init(&tids, sizeof(int32_t));
    mdc_status status = mdc_process_threads(directory, &tids, err);
    if (status == MDC_OK) status = mdc_vec_reserve(infos, tids.count, err);
    for (size_t i = 0; status == MDC_OK && i < tids.count; i++) {
        mdc_threadinfo info;
        bool known;
        status = read_one(directory, mdc_vec_at(&tids, int32_t, i), times, &info, &known, err);
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

mdc_status mdc_threadinfo_fill(const mdc_vec *infos, int directory, bool times, mdc_mappings *pool_owner,
                               mdc_thread *thread, mdc_error *err) {
    mdc_threadinfo key = {.tid = (int32_t)thread->tid}, fresh;
    const mdc_threadinfo *info =
        infos->count == 0 ? NULL : bsearch(&key, infos->data, infos->count, sizeof(mdc_threadinfo), by_tid);
    if (info == NULL) {
        bool known;
        mdc_status status = read_one(directory, key.tid, times, &fresh, &known, err);
        if (status != MDC_OK || !known) return status;
        info = &fresh;
    }
    if (times) {
        thread->affinity = info->affinity;
        thread->create_time = start_to_units(info->start_time);
        thread->user_time = ticks_to_units(info->user_ticks);
        thread->kernel_time = ticks_to_units(info->kernel_ticks);
    }
    /* Nice grows as the priority falls. */
    int32_t priority = info->real_time ? PRIORITY_LIMIT : -info->nice;
    if (priority > PRIORITY_LIMIT) priority = PRIORITY_LIMIT;
    if (priority < -PRIORITY_LIMIT) priority = -PRIORITY_LIMIT;
    thread->priority = (uint32_t)priority;
    thread->priority_class = info->real_time ? REALTIME_PRIORITY_CLASS : NORMAL_PRIORITY_CLASS;
    thread->named = 1; /* PR_SET_NAME takes an empty one */
    return mdc_mappings_intern(pool_owner, info->name, info->name_size, &thread->name, err);
}
