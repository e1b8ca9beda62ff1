/* openat2(2): paths whose links the kernel does not follow. Linux 5.6; ENOSYS before, EPERM in sandboxes that do not
 * know the call. Not on Windows. */
#ifndef MDC_BASE_OPENAT2_H
#define MDC_BASE_OPENAT2_H

#include <stdint.h>

enum { MDC_RESOLVE_NO_MAGICLINKS = 0x02, MDC_RESOLVE_NO_SYMLINKS = 0x04, MDC_RESOLVE_IN_ROOT = 0x10 };

/* flags: O_*; resolve: MDC_RESOLVE_*. -1 and errno if it fails. */
int mdc_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve);

/* cdef: begin */
/* A directory with O_PATH, with no symbolic link on the way to it. -1 for whatever else is there, and if there is no
 * such call: then the caller looks at the components itself. */
int32_t mdc_open_directory_without_links(const char *path);
/* cdef: end */

#endif
