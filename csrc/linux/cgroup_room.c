/* Memory cgroups, version 2 and 1 (see cgroup_room.h). */
#include "cgroup_room.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/cgroups.h"
#include "scratch.h"

enum { STAT_BYTES = 16 * 1024, PERCENT_MOST = 90 };

/* The least of what the files of a folder say; UINT64_MAX: none has a number. */
static uint64_t least(const char *folder, const char *const names[], size_t count) {
    uint64_t found = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        if (mdc_cgroup_number(folder, names[i], &value)) found = mdc_min_u64(found, value);
    }
    return found;
}

/* Bytes of files that have not been used for a while: they make room. */
static uint64_t idle_files(const char *folder, const char *field) {
    char path[PATH_MAX], text[STAT_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/memory.stat", folder) >= sizeof path) return 0;
    const char *at = mdc_slurp(path, text, sizeof text) ? strstr(text, field) : NULL;
    return at != NULL ? strtoull(at + strlen(field), NULL, 10) : 0;
}

/* Is there too little? context: the bytes. */
static bool is_tight(void *context, const char *folder, bool version2) {
    static const char *const limits2[] = {"memory.max", "memory.high"};
    static const char *const limits1[] = {"memory.limit_in_bytes"};
    static const char *const used2[] = {"memory.current"}, *const used1[] = {"memory.usage_in_bytes"};
    const uint64_t bytes = *(const uint64_t *)context;
    const uint64_t limit = version2 ? least(folder, limits2, 2) : least(folder, limits1, 1);
    uint64_t used = least(folder, version2 ? used2 : used1, 1);
    if (limit >= (uint64_t)INT64_MAX / 2 || used == UINT64_MAX) return false; /* none: version 1 has a large number */
    used -= mdc_min_u64(used, idle_files(folder, version2 ? "\ninactive_file " : "\ntotal_inactive_file "));
    return used >= limit / 100 * PERCENT_MOST || limit - used < bytes / 4;
}

bool mdc_cgroup_has_room(int proc, uint64_t bytes) {
    char text[MDC_CGROUPS_BYTES];
    int file = openat(proc, "cgroup", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) return true;
    int os_errno = mdc_scratch_reread(file, text, sizeof text);
    close(file);
    return os_errno != 0 || !mdc_cgroups_each(text, "/sys/fs/cgroup", "memory", is_tight, &bytes);
}
