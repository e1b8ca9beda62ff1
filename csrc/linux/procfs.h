/* Whether /proc is what it is taken for: that of our own pid namespace. In that of another one the same number is
 * another process, and what /proc tells of it would be mixed with what pidfd_open and ptrace, which use our own
 * namespace, make of it. */
#ifndef MDC_LINUX_PROCFS_H
#define MDC_LINUX_PROCFS_H

#include "../api/error.h"

/* MDC_ERR_TARGET if there is no /proc, or not ours. */
mdc_status mdc_procfs_check(mdc_error *err);

#endif
