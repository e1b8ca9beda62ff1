/* How much memory this process may take before something else is in want of it, or the system ends a process. */
#ifndef MDC_BASE_HEADROOM_H
#define MDC_BASE_HEADROOM_H

#include <stdint.h>

/* Bytes, with a margin left to others; UINT64_MAX if the system does not say. */
uint64_t mdc_headroom(void);
/* Of the system and of the cgroups in this text of /proc/self/cgroup, which are mounted there. Not on Windows. */
uint64_t mdc_headroom_of(const char *meminfo, const char *cgroups, const char *mounted);

#endif
