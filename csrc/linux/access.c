/* Who refused access to a process, and what would allow it (see access.h).
 *
 * The checks, as __ptrace_may_access, cap_ptrace_access_check and yama_ptrace_access_check make them (Linux 6.18;
 * ptrace(2) "Ptrace access mode checking"): ids, dumpable flag, capabilities, then Yama, then the other LSMs. A tracer
 * that is there already is looked at last by the kernel: access that it cannot refuse has been refused before. */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/fail.h"

enum { CAP_SYS_PTRACE_BIT = 19, ANCESTORS_MAX = 4096 };
#define INITIAL_USER_NAMESPACE 0xEFFFFFFDU /* PROC_USER_INIT_INO in include/linux/proc_ns.h */

const char *mdc_access_no_engine(void) {
#if defined(__x86_64__)
    return NULL;
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "this processor's";
#endif
}

static int32_t say(int32_t reason, char *message, size_t size, const char *text) {
    snprintf(message, size, "%s", text);
    return reason;
}

int32_t mdc_access_explain(const mdc_access_facts *facts, char *message, size_t size) {
    const bool cap = facts->has_cap_ptrace == 1;
    const bool other_ns = facts->same_user_ns == 0;
    const bool powerful = cap && !other_ns; /* the capability counts for this target */

    if (cap && other_ns)
        return say(MDC_ACCESS_NAMESPACE, message, size,
                   "it is in another user namespace, where our CAP_SYS_PTRACE has no effect: run in its namespace "
                   "(nsenter --user --target PID) or in the parent of it");
    if (facts->same_ids == 0 && !powerful) {
        const bool same_user = facts->target_uid == facts->our_uid;
        if (!other_ns && facts->set_id == 1)
            return say(MDC_ACCESS_UID, message, size,
                       same_user ? "it runs a set-user-ID or set-group-ID program, which even its own user may "
                                   "not inspect: run as root or with CAP_SYS_PTRACE"
                                 : "it runs a set-user-ID or set-group-ID program of another user: run as root or with "
                                   "CAP_SYS_PTRACE");
        if (!other_ns && same_user)
            return say(MDC_ACCESS_UID, message, size,
                       "it belongs to our user, but to another group: run with its group (newgrp), as root, or with "
                       "CAP_SYS_PTRACE");
        if (other_ns)
            return say(MDC_ACCESS_NAMESPACE, message, size,
                       "it is in another user namespace and belongs to another user: run as root outside of both, or "
                       "in its namespace (nsenter --user --target PID)");
        snprintf(message, size,
                 "it belongs to user %d and we are user %d: run as that user, as root, or with CAP_SYS_PTRACE",
                 (int)facts->target_uid, (int)facts->our_uid);
        return MDC_ACCESS_UID;
    }
    if (facts->dumpable == 0 && !powerful)
        return say(MDC_ACCESS_DUMPABLE, message, size,
                   "it is not dumpable (prctl PR_SET_DUMPABLE, a set-id program or one that may not be read): run as "
                   "root or with CAP_SYS_PTRACE");
    if (other_ns)
        return say(MDC_ACCESS_NAMESPACE, message, size,
                   "it is in another user namespace: run in its namespace (nsenter --user --target PID), or as root");
    if (facts->target_has_more_caps == 1 && !powerful)
        return say(MDC_ACCESS_CAPABILITY, message, size,
                   "it has capabilities that we do not have: run with CAP_SYS_PTRACE (as root, setcap "
                   "cap_sys_ptrace+ep, docker run --cap-add=SYS_PTRACE)");
    if (facts->yama_scope >= 3)
        return say(MDC_ACCESS_YAMA, message, size,
                   "Yama forbids tracing altogether (kernel.yama.ptrace_scope is 3): only a reboot with another "
                   "setting helps");
    if (facts->yama_scope == 2 && !powerful)
        return say(MDC_ACCESS_YAMA, message, size,
                   "Yama lets only CAP_SYS_PTRACE trace (kernel.yama.ptrace_scope is 2): run as root, or sysctl "
                   "kernel.yama.ptrace_scope=0");
    if (facts->yama_scope == 1 && !powerful && facts->is_descendant != 1)
        return say(MDC_ACCESS_YAMA, message, size,
                   "Yama lets us trace descendants of ours only (kernel.yama.ptrace_scope is 1): run as root, let the "
                   "target call prctl(PR_SET_PTRACER), or sysctl kernel.yama.ptrace_scope=0");
    if (facts->lsm_confined == 1)
        return say(MDC_ACCESS_LSM, message, size,
                   "a security module confines it or us (see /proc/PID/attr/current): allow ptrace in the AppArmor "
                   "profile or SELinux policy (setsebool deny_ptrace off)");
    if (facts->seccomp > 0)
        return say(MDC_ACCESS_SECCOMP, message, size,
                   "our own seccomp filter forbids it: allow ptrace (docker run --cap-add=SYS_PTRACE "
                   "or --security-opt seccomp=unconfined)");
    return say(MDC_ACCESS_UNKNOWN, message, size,
               "the kernel does not say why: try as root, and look for a security module or a container that forbids "
               "ptrace");
}

/* The first bytes of a small file of /proc as a string; false if it cannot be read. */
static bool slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t used = 0;
    while (used < size - 1) {
        ssize_t n = read(fd, text + used, size - 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        used += (size_t)n;
    }
    text[used] = '\0';
    close(fd);
    return used > 0;
}

/* The text after "\nField:" in a status file; NULL if it is not there. The name of the process comes
 * first in that file and cannot contain a newline: the kernel escapes it. */
static const char *field(const char *status, const char *name) {
    const char *at = strstr(status, name);
    return at == NULL ? NULL : at + strlen(name);
}

static int32_t number(const char *status, const char *name) {
    const char *at = field(status, name);
    return at == NULL ? -1 : (int32_t)strtol(at, NULL, 10);
}

static bool ids(const char *status, const char *name, long id[4]) {
    const char *at = field(status, name);
    for (int i = 0; at != NULL && i < 4; i++) {
        char *end = NULL;
        id[i] = strtol(at, &end, 10);
        at = end == at ? NULL : end;
    }
    return at != NULL;
}

static int32_t descends_from(int32_t pid, int32_t ancestor) {
    char path[64], status[4096];
    for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
        if (pid == ancestor) return 1;
        snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
        if (!slurp(path, status, sizeof status)) return -1;
        pid = number(status, "\nPPid:");
    }
    return pid == ancestor;
}

/* has_cap: CAP_SYS_PTRACE in our own namespace. If we may not even query a target although we have it, the target is
 * outside of our namespace, unless ours is the initial one, which contains everything. */
static int32_t same_namespace(int32_t pid, bool has_cap) {
    char path[64];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    if (stat("/proc/thread-self/ns/user", &ours) != 0) return -1;
    if (stat(path, &theirs) == 0) return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
    return has_cap && errno == EACCES && ours.st_ino != INITIAL_USER_NAMESPACE ? 0 : -1;
}

/* AppArmor writes "unconfined" or "profile (mode)", SELinux a context; without either the read fails or is empty. */
static int32_t confined(const char *path) {
    char label[512];
    if (!slurp(path, label, sizeof label)) return -1;
    return strncmp(label, "unconfined", 10) != 0 && strstr(label, ":unconfined_t") == NULL &&
           strncmp(label, "kernel", 6) != 0;
}

void mdc_access_gather(int32_t pid, int32_t os_errno, mdc_access_facts *facts) {
    char path[64], ours[4096], theirs[4096];
    long our_uid[4] = {-1, -1, -1, -1}, our_gid[4], uid[4] = {-1, -1, -1, -1}, gid[4];
    struct stat owner;

    memset(facts, 0xFF, sizeof *facts); /* every field -1 */
    facts->os_errno = os_errno;
    facts->is_descendant = descends_from(pid, (int32_t)getpid());
    if (slurp("/proc/sys/kernel/yama/ptrace_scope", path, sizeof path)) facts->yama_scope = (int32_t)atoi(path);

    int32_t confined_us = confined("/proc/thread-self/attr/current");
    snprintf(path, sizeof path, "/proc/%d/attr/current", (int)pid);
    int32_t confined_them = confined(path);
    facts->lsm_confined = confined_us > confined_them ? confined_us : confined_them;

    bool us = slurp("/proc/thread-self/status", ours, sizeof ours); /* capabilities belong to the thread */
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    bool them = slurp(path, theirs, sizeof theirs);
    if (us) {
        const char *effective = field(ours, "\nCapEff:");
        if (effective != NULL)
            facts->has_cap_ptrace = (int32_t)(strtoull(effective, NULL, 16) >> CAP_SYS_PTRACE_BIT & 1);
        facts->seccomp = number(ours, "\nSeccomp:");
        if (ids(ours, "\nUid:", our_uid)) facts->our_uid = (int32_t)our_uid[0];
    }
    facts->same_user_ns = same_namespace(pid, facts->has_cap_ptrace == 1);
    if (them && ids(theirs, "\nUid:", uid)) facts->target_uid = (int32_t)uid[0];
    if (!us || !them) return;
    if (ids(ours, "\nGid:", our_gid) && ids(theirs, "\nGid:", gid) && facts->our_uid != -1 && facts->target_uid != -1) {
        facts->same_ids = 1;
        facts->set_id = uid[0] != uid[1] || uid[0] != uid[2] || gid[0] != gid[1] || gid[0] != gid[2];
        for (int i = 0; i < 3; i++) /* real, effective, saved */
            if (uid[i] != our_uid[0] || gid[i] != our_gid[0]) facts->same_ids = 0;
    }
    const char *permitted = field(ours, "\nCapPrm:"), *wanted = field(theirs, "\nCapPrm:");
    if (permitted != NULL && wanted != NULL)
        facts->target_has_more_caps = (strtoull(wanted, NULL, 16) & ~strtoull(permitted, NULL, 16)) != 0;
    /* The kernel gives the files (not the directory) of a process that is not dumpable to root: task_dump_owner in
     * fs/proc/base.c. Nothing can be seen if it is root's anyway. */
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (uid[1] > 0 && stat(path, &owner) == 0) facts->dumpable = owner.st_uid != 0;
}

mdc_status mdc_access_refuse(int32_t pid, int32_t os_errno, int32_t phase, const char *what, mdc_error *err) {
    mdc_access_facts facts;
    char reason[320];

    mdc_access_gather(pid, os_errno, &facts);
    mdc_access_explain(&facts, reason, sizeof reason);
    return mdc_fail(err, MDC_ERR_ACCESS, phase, os_errno, "not allowed to %s process %d: %s", what, (int)pid, reason);
}

mdc_status mdc_access_traced(int32_t pid, int32_t tracer, int32_t phase, mdc_error *err) {
    char path[64], name[64], status[4096];
    int32_t process = tracer;
    if (tracer <= 0)
        return mdc_fail(err, MDC_ERR_TARGET_BUSY, phase, 0,
                        "process %d is traced by a process of another pid namespace: detach it first, or try again "
                        "when it has ended",
                        (int)pid);
    snprintf(path, sizeof path, "/proc/%d/comm", (int)tracer);
    if (!slurp(path, name, sizeof name))
        return mdc_fail(err, MDC_ERR_TARGET_BUSY, phase, 0,
                        "process %d was traced by a process that has just ended: try again", (int)pid);
    name[strcspn(name, "\n")] = '\0';
    for (char *c = name; *c != '\0'; c++) /* a name can be any bytes, a message is UTF-8 */
        if (*c < ' ' || *c > '~') *c = '?';
    if (strcmp(name, MDC_TRACER_NAME) != 0)
        return mdc_fail(err, MDC_ERR_TARGET_BUSY, phase, 0, "process %d is traced by %s (pid %d): detach it first",
                        (int)pid, name, (int)tracer);
    snprintf(path, sizeof path, "/proc/%d/status", (int)tracer);
    if (slurp(path, status, sizeof status)) /* a thread of the dumper, or a process that is its child */
        process = number(status, number(status, "\nTgid:") == tracer ? "\nPPid:" : "\nTgid:");
    return mdc_fail(err, MDC_ERR_TARGET_BUSY, phase, 0,
                    "another dump of process %d is under way, by process %d: try again when it has ended", (int)pid,
                    (int)process);
}

mdc_status mdc_access_refuse_call(int32_t os_errno, int32_t phase, const char *name, const char *since,
                                  mdc_error *err) {
    char status[4096];
    bool filtered = slurp("/proc/thread-self/status", status, sizeof status) && number(status, "\nSeccomp:") > 0;
    if (filtered)
        return mdc_fail(err, MDC_ERR_ACCESS, phase, os_errno,
                        "%s is not allowed here: a seccomp filter (of a container or a service) forbids it: allow "
                        "the call there (docker run --security-opt seccomp=PROFILE)",
                        name);
    if (os_errno == ENOSYS)
        return mdc_fail(err, MDC_ERR_TARGET, phase, os_errno, "this kernel has no %s: %s is needed", name, since);
    if (os_errno == EPERM || os_errno == EACCES)
        return mdc_fail(err, MDC_ERR_ACCESS, phase, os_errno,
                        "%s is not allowed here: a security module forbids it: allow it in its policy", name);
    return mdc_fail(err, MDC_ERR_TARGET, phase, os_errno, "%s failed", name);
}
