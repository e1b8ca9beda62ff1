/* Limits of POSIX and Linux (see shortage.h). */
#include "shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fail.h"

enum { PATH_BYTES = 512, CGROUPS_BYTES = 4096, LEVELS_MAX = 64 };

bool mdc_is_shortage(mdc_status status) { return status == MDC_ERR_NOMEM || status == MDC_ERR_LIMIT; }

bool mdc_is_shortage_number(int32_t os_errno) { return os_errno == ENOMEM || os_errno == EMFILE || os_errno == ENFILE; }

static bool slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got;
    do got = read(fd, text, size - 1);
    while (got < 0 && errno == EINTR);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* A number in a file of a cgroup; "max" is not one. */
static bool number_in(const char *folder, const char *name, unsigned long long *number) {
    char path[PATH_BYTES + 32], text[32], *end;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!slurp(path, text, sizeof text)) return false;
    *number = strtoull(text, &end, 10);
    return end != text;
}

/* The innermost cgroup at or above this one that has as many tasks as it may have. */
static bool full_cgroup(const char *mounted, const char *below, char *folder, size_t size, unsigned long long *most) {
    int length = snprintf(folder, size, "%s%s", mounted, below);
    if (length < 0 || (size_t)length >= size) return false;
    for (int level = 0; level < LEVELS_MAX; level++) {
        unsigned long long now;
        if (number_in(folder, "pids.max", most) && number_in(folder, "pids.current", &now) && now >= *most) return true;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + strlen(mounted)) break;
        *slash = '\0';
    }
    return false;
}

/* Lines "ID:CONTROLLERS:PATH": version 2 has one with ID 0 and no controllers, version 1 one with "pids". The folders
 * are where systemd, and containers, mount them: each alone, or both side by side. */
static bool find_full_cgroup(const char *cgroups, const char *mounted, char *folder, size_t size,
                             unsigned long long *most) {
    while (*cgroups != '\0') {
        size_t length = strcspn(cgroups, "\n");
        char line[PATH_BYTES], at[PATH_BYTES];
        bool fits = length < sizeof line;
        snprintf(line, sizeof line, "%.*s", (int)(fits ? length : 0), cgroups);
        cgroups += length + (cgroups[length] == '\n');
        char *controllers = strchr(line, ':'), *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = '\0';
        static const char *const unified[] = {"", "/unified"}, *const pids[] = {"/pids"};
        bool version2 = controllers[1] == '\0';
        if (!version2 && strstr(controllers, "pids") == NULL) continue;
        for (size_t i = 0; i < (version2 ? 2U : 1U); i++) {
            snprintf(at, sizeof at, "%s%s", mounted, version2 ? unified[i] : pids[i]);
            if (full_cgroup(at, path, folder, size, most)) return true;
        }
    }
    return false;
}

void mdc_task_limit(const char *cgroups, const char *mounted, char *text, size_t size) {
    char folder[PATH_BYTES];
    unsigned long long most;
    struct rlimit limit;
    if (find_full_cgroup(cgroups, mounted, folder, sizeof folder, &most))
        snprintf(text, size, "the cgroup has reached its limit of %llu tasks: raise pids.max in %.200s", most, folder);
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
    char cgroups[CGROUPS_BYTES] = "", limit[320];
    if (os_errno != EAGAIN) return mdc_fail_short(err, phase, os_errno, what);
    slurp("/proc/self/cgroup", cgroups, sizeof cgroups);
    mdc_task_limit(cgroups, "/sys/fs/cgroup", limit, sizeof limit);
    return mdc_fail(err, MDC_ERR_LIMIT, phase, os_errno, "%s: %s", what, limit);
}
