/* Which process is meant, and whether it can be dumped at all: everything that can be refused by name is refused here,
 * before anything is touched. A process is held by its pidfd and its /proc directory: both stay with the process and
 * never show another one that gets its number. */
#ifndef MDC_LINUX_IDENTITY_H
#define MDC_LINUX_IDENTITY_H

#include "live.h"
#include "process.h"

/* How often what failed is tried again because a thread of the process has ended, or it has called exec, where a thread
 * takes the number of the leader: the process is there all the same. */
enum { MDC_IDENTITY_AGAIN = 5 };

typedef struct mdc_identity {
    int32_t pid;
    int32_t tid; /* a living thread: the leader, or another one if the leader is dead */
    int pidfd;
    int directory;         /* /proc/PID: its threads are listed here */
    int task;              /* /proc/PID, or /proc/TID if the leader is dead: its memory is seen here */
    mdc_process_stat stat; /* of the thread of `task` */
    uint64_t start_time;   /* of the process: clock ticks since boot */
} mdc_identity;

/* Fills the identity; on failure it is closed again. Fails with
 *   MDC_ERR_INVALID      pid and pidfd that make no sense
 *   MDC_ERR_TARGET_GONE  no such process, or another start time than options->start_time
 *   MDC_ERR_TARGET       a zombie, a kernel thread, a thread of a process, our own process, 32-bit, traced already
 *   MDC_ERR_ACCESS       its memory may not be read (access.h says why) */
mdc_status mdc_identity_open(mdc_identity *identity, const mdc_live_options *options, mdc_error *err);
/* MDC_ERR_TARGET_GONE if the process has ended since. */
mdc_status mdc_identity_check(const mdc_identity *identity, int32_t phase, mdc_error *err);
/* Whether the process is there all the same after such a failure: its thread that was looked at has ended, or it has
 * called exec. */
bool mdc_identity_outlives(const mdc_identity *identity, mdc_status status);
/* Finds a living thread and its program once more, when the process has become another one (exec), or that thread has
 * ended. */
mdc_status mdc_identity_renew(mdc_identity *identity, int32_t phase, mdc_error *err);
void mdc_identity_close(mdc_identity *identity);

#endif
