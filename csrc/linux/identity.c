/* Which process is meant, and whether it can be dumped (see identity.h). */
#include "identity.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "access.h"
#include "ending.h"
#include "procfs.h"

enum { AUXV_MAX = 64 * 1024 };

static mdc_status gone(int32_t pid, int32_t phase, int os_errno, mdc_error *err) {
    return mdc_fail(err, MDC_ERR_TARGET_GONE, phase, os_errno, "process %d has ended", (int)pid);
}

/* The pid of a pidfd, from its fdinfo. */
static mdc_status pid_of_pidfd(int pidfd, int32_t *pid, mdc_error *err) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && mdc_is_shortage_number(errno))
        return mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot inspect a pidfd");
    if (fd < 0) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, errno, "cannot inspect descriptor %d", pidfd);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "\nPid:");
    if (at == NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "descriptor %d is not a pidfd", pidfd);
    *pid = (int32_t)strtol(at + 5, NULL, 10);
    if (*pid < 0)
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, ESRCH, "the process of pidfd %d has ended", pidfd);
    if (*pid == 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                        "the process of pidfd %d is not in our pid namespace: run in its namespace (nsenter --pid)",
                        pidfd);
    return MDC_OK;
}

/* /proc/PID; the error explains why the number is not that of a process. */
static mdc_status open_directory(mdc_identity *identity, mdc_error *err) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", (int)identity->pid);
    identity->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (identity->directory < 0) {
        int saved = errno;
        if (saved == EACCES || saved == EPERM)
            return mdc_access_refuse(identity->pid, saved, MDC_PHASE_OPEN, "inspect", err);
        if (mdc_is_shortage_number(saved)) return mdc_fail_short(err, MDC_PHASE_OPEN, saved, "cannot open /proc/PID");
        /* A refused call (EPERM, ENOSYS) does not mean that the process does not exist. */
        if (syscall(SYS_pidfd_send_signal, identity->pidfd, 0, NULL, 0) == 0 || errno != ESRCH)
            return mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_OPEN, saved,
                            "process %d is hidden from us (/proc is mounted with hidepid): run as its user or as root",
                            (int)identity->pid);
        return gone(identity->pid, MDC_PHASE_OPEN, ESRCH, err);
    }
    return MDC_OK;
}

/* A pidfd of our own. A number that is a thread's and no process's is said to be so. */
static mdc_status open_pidfd(mdc_identity *identity, int given, mdc_error *err) {
    if (given >= 0) {
        identity->pidfd = fcntl(given, F_DUPFD_CLOEXEC, 0);
        if (identity->pidfd >= 0) return MDC_OK;
        if (errno != EBADF) return mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot duplicate a pidfd");
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, errno, "pidfd %d", given);
    }
    identity->pidfd = (int)syscall(SYS_pidfd_open, identity->pid, 0);
    if (identity->pidfd >= 0) return MDC_OK;
    int saved = errno;
    char path[64];
    long leader = -1;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    snprintf(path, sizeof path, "/proc/%d", (int)identity->pid);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        mdc_process_status_number(directory, "\nTgid:", &leader, &ignored);
        close(directory);
    }
    if (leader > 0 && leader != identity->pid && leader == (long)getpid())
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, saved,
                        "%d is a thread of this process, which cannot dump itself: dump it from another process",
                        (int)identity->pid);
    if (leader > 0 && leader != identity->pid)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, saved,
                        "%d is a thread of process %ld: give the pid of the process", (int)identity->pid, leader);
    if (mdc_is_shortage_number(saved)) return mdc_fail_short(err, MDC_PHASE_OPEN, saved, "cannot open a pidfd");
    if (saved != ESRCH && saved != EINVAL && saved != ENOENT)
        return mdc_access_refuse_call(saved, MDC_PHASE_OPEN, "pidfd_open", "Linux 5.3", err);
    return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, saved, "there is no process %d", (int)identity->pid);
}

/* Does /proc show the process of our own pidfd under the number that it was opened by? */
static mdc_status check_shown(const mdc_identity *identity, mdc_error *err) {
    int32_t shown = 0;
    mdc_error why;
    mdc_error_clear(&why);
    mdc_status status = pid_of_pidfd(identity->pidfd, &shown, &why);
    if (status == MDC_ERR_TARGET_GONE) return gone(identity->pid, MDC_PHASE_OPEN, ESRCH, err);
    if (mdc_is_shortage(status)) *err = why;
    if (mdc_is_shortage(status)) return status;
    if (status == MDC_OK && shown == identity->pid) return MDC_OK;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                    "/proc does not show process %d under its number (%s): it is that of another pid namespace",
                    (int)identity->pid, status == MDC_OK ? "another one has it" : why.message);
}

/* A thread has no map_files below task/TID, and has it below /proc/TID, which is not listed but there (proc_pid_lookup
 * in fs/proc/base.c). Only if that is surely the same thread. */
static void open_by_number(mdc_identity *identity) {
    char path[32];
    mdc_process_stat stat;
    mdc_error ignored;
    long process = -1;
    mdc_error_clear(&ignored);
    snprintf(path, sizeof path, "/proc/%d", (int)identity->tid);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    if (mdc_process_read_stat(directory, &stat, &ignored) == MDC_OK && stat.start_time == identity->stat.start_time &&
        mdc_process_status_number(directory, "\nTgid:", &process, &ignored) == MDC_OK &&
        process == (long)identity->pid) {
        int below_task = identity->task;
        identity->task = directory;
        directory = below_task;
    }
    close(directory);
}

/* For a dead leader: a thread that lives. MDC_ERR_TARGET: it is a zombie; MDC_ERR_TARGET_GONE: a thread that was listed
 * has ended since, or is the leader now (exec). */
static mdc_status find_living(mdc_identity *identity, mdc_error *err) {
    mdc_vec tids;
    bool vanished = false;
    mdc_vec_init(&tids, sizeof(int32_t));
    mdc_status status = mdc_process_threads(identity->directory, &tids, err);
    for (size_t i = 0; status == MDC_OK && identity->task < 0 && i < tids.count; i++) {
        char path[32];
        mdc_process_stat stat;
        mdc_error ignored;
        mdc_error_clear(&ignored);
        int32_t tid = mdc_vec_at(&tids, int32_t, i);
        snprintf(path, sizeof path, "task/%d", (int)tid);
        int task = openat(identity->directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (task < 0 && mdc_is_shortage_number(errno))
            status = mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot open a thread in /proc");
        vanished = vanished || task < 0;
        if (task < 0) continue;
        mdc_status known = mdc_process_read_stat(task, &stat, &ignored);
        if (mdc_is_shortage(known)) {
            *err = ignored;
            status = known;
        }
        if (known == MDC_OK && !stat.ended) {
            identity->task = task;
            identity->tid = tid;
            identity->stat = stat;
        } else {
            vanished = vanished || known != MDC_OK || stat.state == 'X';
            close(task);
        }
    }
    mdc_vec_fini(&tids);
    if (status == MDC_OK && identity->task >= 0) open_by_number(identity);
    if (status == MDC_OK && identity->task < 0 && vanished) return gone(identity->pid, MDC_PHASE_OPEN, ESRCH, err);
    if (status == MDC_OK && identity->task < 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, ESRCH,
                        "process %d is a zombie: it has ended and waits to be reaped by its parent (pid %d)",
                        (int)identity->pid, (int)identity->stat.ppid);
    return status;
}

/* The auxiliary vector of a 32-bit program has pairs of 32-bit words. The program
 * itself is not opened: it may lie on a file system that does not answer. */
static mdc_status is_32_bit(int task, bool *yes, mdc_error *err) {
    mdc_vec bytes;
    mdc_vec_init(&bytes, 1);
    bool cut;
    mdc_error why;
    mdc_error_clear(&why);
    *yes = false;
    mdc_status status = mdc_process_read_text(task, "auxv", AUXV_MAX, &bytes, &cut, &why);
    Elf32_auxv_t first; /* of a 64-bit vector: the type, whose upper half is 0; no first value is 0 */
    if (status == MDC_OK && bytes.count >= sizeof first) {
        memcpy(&first, bytes.data, sizeof first);
        *yes = first.a_un.a_val != 0;
    }
    mdc_vec_fini(&bytes);
    if (!mdc_is_shortage(status)) return MDC_OK; /* shown by the registers */
    *err = why;
    return status;
}

static mdc_status check_width(const mdc_identity *identity, mdc_error *err) {
    bool narrow;
    mdc_status status = is_32_bit(identity->task, &narrow, err);
    if (status != MDC_OK || !narrow) return status;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                    "process %d is a 32-bit program: only 64-bit ones can be dumped", (int)identity->pid);
}

/* What kind of process it is, from stat, status and its auxiliary vector. */
static mdc_status check_kind(mdc_identity *identity, mdc_error *err) {
    static const char *const names[] = {"\nCoreDumping:", "\nTracerPid:"};
    long values[2];
    if ((identity->stat.flags & MDC_PF_KTHREAD) != 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                        "process %d is a kernel thread: it has no memory of its own", (int)identity->pid);
    mdc_status status = mdc_process_status_numbers(identity->task, names, values, 2, err);
    if (status == MDC_OK && values[0] == 1) status = mdc_ending_check_core(identity, MDC_PHASE_OPEN, err);
    if (status != MDC_OK) return status;
    const long tracer = values[1];

    int memory = openat(identity->task, "mem", O_RDONLY | O_CLOEXEC);
    if (memory < 0) {
        int saved = errno;
        if (saved == EACCES || saved == EPERM)
            return mdc_access_refuse(identity->tid, saved, MDC_PHASE_OPEN, "read the memory of", err);
        if (mdc_is_shortage_number(saved))
            return mdc_fail_short(err, MDC_PHASE_OPEN, saved, "cannot open /proc/PID/mem");
        return gone(identity->pid, MDC_PHASE_OPEN, saved, err);
    }
    close(memory);
    if (tracer > 0) return mdc_access_traced(identity->pid, (int32_t)tracer, MDC_PHASE_OPEN, err);

    return check_width(identity, err);
}

/* The leader's directory, or that of another thread if the leader is dead. */
static mdc_status open_task(mdc_identity *identity, mdc_error *err) {
    if (identity->stat.ended) return find_living(identity, err);
    identity->tid = identity->pid;
    identity->task = fcntl(identity->directory, F_DUPFD_CLOEXEC, 0);
    return identity->task >= 0 ? MDC_OK : mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot open /proc/PID");
}

static mdc_status open_program(mdc_identity *identity, mdc_error *err) {
    mdc_status status = open_task(identity, err);
    if (status == MDC_OK) status = check_kind(identity, err);
    return status == MDC_OK ? mdc_identity_check(identity, MDC_PHASE_OPEN, err) : status;
}

static mdc_status open_checked(mdc_identity *identity, const mdc_live_options *options, mdc_error *err) {
    mdc_status status = mdc_procfs_check(err);
    identity->pid = options->pid;
    if (status != MDC_OK) return status;
    if (options->pidfd >= 0) {
        status = pid_of_pidfd(options->pidfd, &identity->pid, err);
        if (status != MDC_OK) return status;
        if (options->pid != 0 && options->pid != identity->pid)
            return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "pidfd %d refers to process %d, not %d",
                            (int)options->pidfd, (int)identity->pid, (int)options->pid);
    }
    if (identity->pid <= 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "invalid pid %d", (int)identity->pid);
    if (identity->pid == (int32_t)getpid())
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                        "process %d is this process, which cannot dump itself: dump it from another process",
                        (int)identity->pid);
    status = open_pidfd(identity, options->pidfd, err);
    if (status == MDC_OK && options->pidfd < 0) status = check_shown(identity, err);
    if (status == MDC_OK) status = open_directory(identity, err);
    if (status == MDC_OK) status = mdc_process_read_stat(identity->directory, &identity->stat, err);
    if (status != MDC_OK) return status;

    identity->start_time = identity->stat.start_time;
    if (options->start_time != 0 && options->start_time != identity->start_time)
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, ESRCH,
                        "process %d is not the intended one: its pid was reused", (int)identity->pid);
    /* The directory was opened by number after the pidfd: if the pidfd's process is alive now, both are of it. */
    status = mdc_identity_check(identity, MDC_PHASE_OPEN, err);
    if (status != MDC_OK) return status;

    status = open_program(identity, err);
    for (int round = 0; round < MDC_IDENTITY_AGAIN && mdc_identity_outlives(identity, status); round++) {
        mdc_error_clear(err);
        if (identity->task >= 0) close(identity->task);
        identity->task = -1;
        status = mdc_process_read_stat(identity->directory, &identity->stat, err);
        if (status == MDC_OK) status = open_program(identity, err);
    }
    return status;
}

mdc_status mdc_identity_open(mdc_identity *identity, const mdc_live_options *options, mdc_error *err) {
    memset(identity, 0, sizeof *identity);
    identity->pidfd = identity->directory = identity->task = -1;
    mdc_status status = mdc_ending_explain(identity, open_checked(identity, options, err), err);
    if (status != MDC_OK) {
        if (err->pid == 0) err->pid = identity->pid;
        mdc_identity_close(identity);
    }
    return status;
}

bool mdc_identity_outlives(const mdc_identity *identity, mdc_status status) {
    mdc_process_stat now;
    mdc_error ended;
    mdc_error_clear(&ended);
    if (status != MDC_ERR_TARGET_GONE && status != MDC_ERR_ACCESS) return false;
    if (mdc_identity_check(identity, MDC_PHASE_OPEN, &ended) != MDC_OK) return false;
    if (status == MDC_ERR_TARGET_GONE || identity->task < 0) return true;
    /* The files of a thread that has ended are root's (task_dump_owner in fs/proc/base.c). The one that takes its place
     * has the memory of the program before at first. */
    return mdc_process_read_stat(identity->task, &now, &ended) != MDC_OK || now.ended ||
           now.start_stack != identity->stat.start_stack || now.threads < identity->stat.threads;
}

mdc_status mdc_identity_renew(mdc_identity *identity, int32_t phase, mdc_error *err) {
    mdc_identity now = *identity;
    now.task = -1;
    mdc_status status = mdc_process_read_stat(now.directory, &now.stat, err);
    if (status == MDC_OK) status = open_task(&now, err);
    if (status == MDC_ERR_TARGET) { /* a zombie, and it was none before */
        mdc_error_clear(err);
        status = gone(now.pid, phase, ESRCH, err);
    }
    if (status == MDC_OK) status = check_width(&now, err);
    int unneeded = status == MDC_OK ? identity->task : now.task;
    if (unneeded >= 0) close(unneeded);
    if (status == MDC_OK) *identity = now;
    return status;
}

mdc_status mdc_identity_check(const mdc_identity *identity, int32_t phase, mdc_error *err) {
    mdc_process_stat now;
    mdc_error why;
    mdc_error_clear(&why);
    /* Signal 0 is delivered to zombies too; EPERM means that it is there, or that the call is forbidden. */
    const bool there = syscall(SYS_pidfd_send_signal, identity->pidfd, 0, NULL, 0) == 0;
    if (!there && errno == ESRCH) return gone(identity->pid, phase, ESRCH, err);
    /* As long as the pidfd's process is there its number is no other's, so the directory, opened by that number after
     * the pidfd, is of it, and stays so: stat would say nothing more. */
    if (there) return MDC_OK;
    mdc_status status = mdc_process_read_stat(identity->directory, &now, &why);
    if (status != MDC_OK && status != MDC_ERR_TARGET_GONE) {
        if (err->code == MDC_OK) *err = why;
        return err->code;
    }
    if (status != MDC_OK || now.start_time != identity->start_time) return gone(identity->pid, phase, ESRCH, err);
    return MDC_OK;
}

void mdc_identity_close(mdc_identity *identity) {
    if (identity->pidfd >= 0) close(identity->pidfd);
    if (identity->directory >= 0) close(identity->directory);
    if (identity->task >= 0) close(identity->task);
    identity->pidfd = identity->directory = identity->task = -1;
}
