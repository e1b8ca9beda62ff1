/* Limits of POSIX and Linux (see shortage.h). */
#include "shortage.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cgroups.h"
#include "fail.h"

bool mdc_is_shortage(mdc_status status) { return status == MDC_ERR_NOMEM || status == MDC_ERR_LIMIT; }

bool mdc_is_shortage_number(int32_t os_errno) { return os_errno == ENOMEM || os_errno == EMFILE || os_errno == ENFILE; }

/* The innermost cgroup that has as many tasks as it may have. */
typedef struct full_cgroup {
    char folder[256];
    unsigned long long most;
} full_cgroup;

static bool is_full(void *context, const char *folder, bool version2) {
    (void)version2;
    full_cgroup *full = context;
    uint64_t most, now;
    if (!mdc_cgroup_number(folder, "pids.max", &most) || !mdc_cgroup_number(folder, "pids.current", &now) || now < most)
        return false;
    snprintf(full->folder, sizeof full->folder, "%s", folder);
    full->most = most;
    return true;
}

void mdc_task_limit(const char *cgroups, const char *mounted, char *text, size_t size) {
    full_cgroup full;
    struct rlimit limit;
    if (mdc_cgroups_each(cgroups, mounted, "pids", is_full, &full))
        snprintf(text, size, "the cgroup has reached its limit of %llu tasks: raise pids.max in %.200s", full.most,
                 full.folder);
    else if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && geteuid() != 0)
        snprintf(text, size, "this user may have at most %llu threads and processes: raise RLIMIT_NPROC (ulimit -u)",
                 (unsigned long long)limit.rlim_cur);
    else
        snprintf(text, size,
                 "a limit on threads and processes was reached: RLIMIT_NPROC (ulimit -u), pids.max of a cgroup, "
                 "kernel.threads-max, or memory for a stack (ulimit -v)");
}

static mdc_status refused(mdc_error *err, int32_t phase, int32_t os_errno, const char *what) {
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) > 0)
        return mdc_fail(err, MDC_ERR_ACCESS, phase, os_errno,
                        "%s: a seccomp filter (of a container or a service) forbids it: allow the call there", what);
    return mdc_fail(err, MDC_ERR_ACCESS, phase, os_errno, "%s: a security module forbids it", what);
}

mdc_status mdc_fail_short(mdc_error *err, int32_t phase, int32_t os_errno, const char *what) {
    struct rlimit limit = {0, 0};
    switch (os_errno) {
    case EMFILE:
        getrlimit(RLIMIT_NOFILE, &limit);
        return mdc_fail(err, MDC_ERR_LIMIT, phase, os_errno,
                        "%s: this process has reached its limit of %llu open files: raise RLIMIT_NOFILE (ulimit -n)",
                        what, (unsigned long long)limit.rlim_cur);
    case ENFILE:
        return mdc_fail(err, MDC_ERR_LIMIT, phase, os_errno,
                        "%s: the system has reached its limit of open files: raise fs.file-max", what);
    case EAGAIN:
        return mdc_fail(err, MDC_ERR_LIMIT, phase, os_errno, "%s", what);
    case EPERM:
    case EACCES:
    case ENOSYS:
        return refused(err, phase, os_errno, what);
    default:
        return mdc_fail(err, MDC_ERR_NOMEM, phase, os_errno, "%s", what);
    }
}

mdc_status mdc_fail_start(mdc_error *err, int32_t phase, int32_t os_errno, const char *what) {
    char cgroups[MDC_CGROUPS_BYTES] = "", limit[320];
    if (os_errno != EAGAIN) return mdc_fail_short(err, phase, os_errno, what);
    mdc_slurp("/proc/self/cgroup", cgroups, sizeof cgroups);
    mdc_task_limit(cgroups, "/sys/fs/cgroup", limit, sizeof limit);
    return mdc_fail(err, MDC_ERR_LIMIT, phase, os_errno, "%s: %s", what, limit);
}
