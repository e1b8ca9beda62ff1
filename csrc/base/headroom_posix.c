/* MemAvailable, and the limits of memory cgroups (see headroom.h).
 *
 * A process that goes beyond memory.max is ended, and one that goes beyond MemAvailable makes others be: neither is an
 * error that could be handled. */
#include "headroom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arith.h"
#include "cgroups.h"

/* The number after the name at the start of a line. */
static bool named(const char *text, const char *name, uint64_t *number) {
    size_t length = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0) continue;
        *number = strtoull(line + length, NULL, 10);
        return true;
    }
    return false;
}

static bool look(void *context, const char *folder, bool version2) {
    uint64_t *room = context, most, now, cached = 0;
    char path[640], text[8192];
    if (!mdc_cgroup_number(folder, version2 ? "memory.max" : "memory.limit_in_bytes", &most) ||
        !mdc_cgroup_number(folder, version2 ? "memory.current" : "memory.usage_in_bytes", &now))
        return false;
    /* The kernel takes clean pages of files back before it ends a process. */
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (mdc_slurp(path, text, sizeof text))
        (void)named(text, version2 ? "inactive_file " : "total_inactive_file ", &cached);
    now -= mdc_min_u64(now, cached);
    *room = mdc_min_u64(*room, most > now ? most - now : 0);
    return false;
}

uint64_t mdc_headroom_of(const char *meminfo, const char *cgroups, const char *mounted) {
    uint64_t room = UINT64_MAX, available;
    if (named(meminfo, "MemAvailable:", &available) && !mdc_mul_u64(available, 1024, &room)) room = UINT64_MAX;
    (void)mdc_cgroups_each(cgroups, mounted, "memory", look, &room);
    return room == UINT64_MAX ? room : room - room / 4;
}

uint64_t mdc_headroom(void) {
    char meminfo[4096] = "", cgroups[MDC_CGROUPS_BYTES] = "";
    mdc_slurp("/proc/meminfo", meminfo, sizeof meminfo);
    mdc_slurp("/proc/self/cgroup", cgroups, sizeof cgroups);
    return mdc_headroom_of(meminfo, cgroups, "/sys/fs/cgroup");
}
