/* What the system refuses to us, not to the look into a target: memory, open files, threads, processes, a call. */
#ifndef MDC_BASE_SHORTAGE_H
#define MDC_BASE_SHORTAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "../api/error.h"

/* Whether a step failed for us and would fail for any target: nothing may be left out because of it. */
bool mdc_is_shortage(mdc_status status);
/* Whether the error number says so. */
bool mdc_is_shortage_number(int32_t os_errno);

/* Names the limit on threads and processes that we have reached: that of a cgroup, or of the user. cgroups: the text of
 * /proc/self/cgroup; mounted: where cgroups are mounted, /sys/fs/cgroup. Not on Windows. */
void mdc_task_limit(const char *cgroups, const char *mounted, char *text, size_t size);

/* cdef: begin */
/* Fills err with what the error number means: MDC_ERR_NOMEM, MDC_ERR_LIMIT or MDC_ERR_ACCESS, and with what would
 * help. `what` is what we wanted to do ("cannot open ..."). */
mdc_status mdc_fail_short(mdc_error *err, int32_t phase, int32_t os_errno, const char *what);
/* The same for a thread or a process that could not be started. */
mdc_status mdc_fail_start(mdc_error *err, int32_t phase, int32_t os_errno, const char *what);
/* cdef: end */

#endif
