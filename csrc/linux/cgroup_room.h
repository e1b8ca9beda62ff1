/* How much memory the cgroups of a process have left. */
#ifndef MDC_LINUX_CGROUP_ROOM_H
#define MDC_LINUX_CGROUP_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a copy of `bytes` may be made, page by page, without bringing the process near a limit: in each of its memory
 * cgroups that has one, less than 90 % is in use, and a quarter of the bytes is left. Files that have not been used for
 * a while do not count. proc: /proc/PID. What cannot be read does not limit. */
bool mdc_cgroup_has_room(int proc, uint64_t bytes);

#endif
