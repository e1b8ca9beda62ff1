/* The cgroups of a process, where they are mounted. Linux only. */
#ifndef MDC_BASE_CGROUPS_H
#define MDC_BASE_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MDC_CGROUPS_BYTES = 4096 }; /* of /proc/PID/cgroup that are looked at */

/* Asked about each folder, the innermost first. true: that was it, look no further. */
typedef bool (*mdc_cgroup_look)(void *context, const char *folder, bool version2);
/* cgroups: text of /proc/PID/cgroup; mounted: /sys/fs/cgroup. All folders of the cgroup that the controller ("pids",
 * "memory") is in, and of those above it. true: look() said so. */
bool mdc_cgroups_each(const char *cgroups, const char *mounted, const char *controller, mdc_cgroup_look look,
                      void *context);
/* A number in a file of such a folder; "max" is not one. */
bool mdc_cgroup_number(const char *folder, const char *name, uint64_t *number);
/* What the file holds, cut to size - 1 bytes and terminated. false: nothing. */
bool mdc_slurp(const char *path, char *text, size_t size);

#endif
