/* Whether /proc belongs to our own pid namespace. In another namespace the same number is
 * another process, and data of /proc would be mixed with that of pidfd_open and ptrace, which use our own
 * namespace. */
#ifndef MDC_LINUX_PROCFS_H
#define MDC_LINUX_PROCFS_H

#include "../api/error.h"

/* MDC_ERR_TARGET if there is no /proc, or not ours. */
mdc_status mdc_procfs_check(mdc_error *err);

#endif
