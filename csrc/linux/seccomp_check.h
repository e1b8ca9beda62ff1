/* Whether the seccomp filters of a stopped thread let a system call through. */
#ifndef MDC_LINUX_SECCOMP_CHECK_H
#define MDC_LINUX_SECCOMP_CHECK_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MDC_SECCOMP_ARGUMENTS = 6 };

/* A call as a filter sees it (struct seccomp_data). */
typedef struct mdc_seccomp_call {
    uint32_t number;
    uint32_t architecture; /* AUDIT_ARCH_* */
    uint64_t instruction;  /* after the one that makes the call */
    uint64_t arguments[MDC_SECCOMP_ARGUMENTS];
} mdc_seccomp_call;

/* What a filter returns, as the kernel would run it; SECCOMP_RET_KILL_PROCESS for one that makes no sense. */
uint32_t mdc_seccomp_run(const struct sock_filter *filter, size_t count, const mdc_seccomp_call *call);
/* Whether each filter of the thread allows each of the calls, or no more than logs it. false also if they cannot be
 * read, which needs CAP_SYS_ADMIN: then *os_errno. For the tracer: no lock, no allocation. */
bool mdc_seccomp_allows(int32_t tid, const mdc_seccomp_call *calls, size_t count, int *os_errno);

#endif
