/* Why a process may not be traced: a pure function over facts, so that every case can be tested with made-up ones. */
#ifndef MDC_LINUX_ACCESS_H
#define MDC_LINUX_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

/* cdef: begin */
/* Facts about us and the target; a field is -1 where it is not known. */
typedef struct mdc_access_facts {
    int32_t os_errno;             /* of the call that was refused: EPERM, EACCES */
    int32_t yama_scope;           /* /proc/sys/kernel/yama/ptrace_scope; -1: no Yama */
    int32_t is_descendant;        /* the target is a descendant of ours */
    int32_t has_cap_ptrace;       /* we have CAP_SYS_PTRACE in our user namespace */
    int32_t same_user_ns;         /* both in one user namespace */
    int32_t target_has_more_caps; /* target's permitted set is not a subset of ours */
    int32_t same_ids;             /* our real uid and gid equal the target's real, effective and saved ones */
    int32_t dumpable;             /* target's dumpable flag seems set: its files in /proc belong to its euid */
    int32_t our_uid;
    int32_t target_uid;
    int32_t seccomp;      /* our Seccomp mode, 0 none */
    int32_t lsm_confined; /* an LSM (AppArmor, SELinux) profile other than unconfined on either side */
    int32_t set_id;       /* target's real ids differ from its effective or saved ones: a set-id program */
} mdc_access_facts;

/* mdc_access_reason */
enum {
    MDC_ACCESS_YAMA = 2,
    MDC_ACCESS_NAMESPACE = 3,
    MDC_ACCESS_UID = 4,
    MDC_ACCESS_CAPABILITY = 5,
    MDC_ACCESS_DUMPABLE = 6,
    MDC_ACCESS_SECCOMP = 7,
    MDC_ACCESS_LSM = 8,
    MDC_ACCESS_UNKNOWN = 9
};

/* NULL; or the name of the processor, if this build has no engine for processes of it. */
const char *mdc_access_no_engine(void);

/* Which check refused, and one line that says so with the setting that would allow it. Returns the reason. */
int32_t mdc_access_explain(const mdc_access_facts *facts, char *message, size_t size);
/* cdef: end */

#define MDC_TRACER_NAME "mdc-tracer" /* of our tracers, thread or process */

/* Collects the facts of this thread and that process; never fails, unknown stays -1. */
void mdc_access_gather(int32_t pid, int32_t os_errno, mdc_access_facts *facts);

/* gather and explain as an error: MDC_ERR_ACCESS. `what` is what was refused ("read the memory of", "trace"). A tracer
 * is a reason to refuse PTRACE_SEIZE only, and has its own error. */
mdc_status mdc_access_refuse(int32_t pid, int32_t os_errno, int32_t phase, const char *what, mdc_error *err);
/* MDC_ERR_TARGET_BUSY with the tracer's name. tracer: a thread's number, 0 if it is in a pid namespace not ours. */
mdc_status mdc_access_traced(int32_t pid, int32_t tracer, int32_t phase, mdc_error *err);

/* The same for a system call that was refused to us whatever the target, or that the kernel does not have: since which
 * version it does. */
mdc_status mdc_access_refuse_call(int32_t os_errno, int32_t phase, const char *name, const char *since, mdc_error *err);

#endif
