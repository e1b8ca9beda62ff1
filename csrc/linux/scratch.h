/* Small files of /proc as the tracer reads them (ptrace_threads.h): without a lock, without allocating. The descriptor
 * is in `scratch` while it is open, for the owner to close if the tracer is killed. One that is killed while it opens a
 * file leaves that open; never is another's closed. So what is read in every stop is opened by the owner, beforehand.
 */
#ifndef MDC_LINUX_SCRATCH_H
#define MDC_LINUX_SCRATCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { MDC_SCRATCH_STATUS = 4096 }; /* bytes of a status file that hold the fields below */

/* The beginning of a file of one record (single_open of the kernel) as a string. 0, or an error number. */
int mdc_scratch_read(_Atomic int *scratch, int directory, const char *path, char *text, size_t size);
/* The same of a file that is open. */
int mdc_scratch_reread(int file, char *text, size_t size);
/* What the owner does after a tracer that was killed. */
void mdc_scratch_close(_Atomic int *scratch);

/* Of a status file. field: "\nTracerPid:"; 0 if it is not there. A name cannot hold a newline: the kernel escapes it.
 */
int32_t mdc_scratch_number(const char *status, const char *field);
/* R, S, D, T, t, Z, X; '?' if it is not there. */
char mdc_scratch_state(const char *status);

#endif
