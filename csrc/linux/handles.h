/* The open descriptors of a process as handles of a dump: /proc/PID/fd and fdinfo. */
#ifndef MDC_LINUX_HANDLES_H
#define MDC_LINUX_HANDLES_H

#include "mappings.h"

/* Appends the descriptors in ascending order (mdc_handle); types and targets go to the pool of the mappings, which have
 * been listed. proc: /proc/PID. false: they may not be seen, and nothing was appended. A descriptor that cannot be
 * looked at is left out. *err: shortage, or the dump must end. */
bool mdc_handles_list(mdc_vec *handles, int proc, mdc_mappings *mappings, mdc_error *err);

/* The value in `base` after "\nkey:" or at the start of what fdinfo shows (proc_pid_fdinfo(5)); 0 if it is not there.
 */
uint64_t mdc_fdinfo_number(const char *text, const char *key, unsigned base);

#endif
