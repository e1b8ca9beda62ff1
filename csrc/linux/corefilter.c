/* What a process wants in a core file (see corefilter.h). */
#include "corefilter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "mapfiles.h"
#include "smaps.h"

mdc_status mdc_corefilter_read(int proc, int64_t *bits, mdc_error *err) {
    char text[32];
    int os_errno = MDC_FAILPOINT("coredump_filter:read");
    ssize_t got = -1;
    int fd = os_errno == 0 ? openat(proc, "coredump_filter", O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        got = read(fd, text, sizeof text - 1);
        if (got < 0) os_errno = errno;
        close(fd);
    } else if (os_errno == 0) {
        os_errno = errno;
    }
    char *end = text;
    text[got > 0 ? got : 0] = '\0';
    unsigned long value = strtoul(text, &end, 16);
    if (got > 0 && end != text && value <= UINT32_MAX) {
        *bits = (int64_t)value;
        return MDC_OK;
    }
    if (os_errno == ESRCH) return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, ESRCH, "the target has exited");
    if (mdc_is_shortage_number(os_errno))
        return mdc_fail_short(err, MDC_PHASE_OPEN, os_errno, "cannot open /proc/PID/coredump_filter");
    if (got == 0) /* the kernel looks for the memory of the first thread */
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                        "/proc/PID/coredump_filter is empty: its first thread has ended; dump without "
                        "coredump_filter to keep everything");
    return mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_OPEN, os_errno,
                    "cannot read /proc/PID/coredump_filter, so the memory it leaves out is unknown; dump without "
                    "coredump_filter to keep everything");
}

uint64_t mdc_corefilter_size(uint32_t bits, const mdc_region *region, const mdc_map_facts *facts, bool *head) {
    *head = false;
    bool shared = (facts->perms & MDC_PERM_SHARED) != 0, file = region->inode != 0;
    if ((region->kinds & MDC_KIND_VDSO) != 0 || (region->flags & MDC_REGION_NEVER_READ) != 0) return region->size;
    if ((facts->smaps_flags & MDC_SMAPS_HUGETLB) != 0)
        return (bits & (shared ? MDC_CORE_HUGE_SHARED : MDC_CORE_HUGE_PRIVATE)) != 0 ? region->size : 0;
    if (shared) {
        /* The kernel asks whether the file has a name (i_nlink). */
        bool named = (region->kinds & MDC_KIND_FILE) != 0 && (region->facts & MDC_FACT_DELETED) == 0;
        return (bits & (named ? MDC_CORE_MAPPED_SHARED : MDC_CORE_ANON_SHARED)) != 0 ? region->size : 0;
    }
    /* Was it written to? Known from smaps for a file mapping; unknown counts as written. */
    bool written = !file || !facts->smaps_exact || (facts->smaps_flags & MDC_SMAPS_OWN) != 0;
    if (written && (bits & MDC_CORE_ANON_PRIVATE) != 0) return region->size;
    if (!file) return 0;
    if ((bits & MDC_CORE_MAPPED_PRIVATE) != 0) return region->size;
    *head = (bits & MDC_CORE_ELF_HEADERS) != 0 && region->file_offset == 0 && (facts->perms & MDC_PERM_READ) != 0;
    return *head ? MDC_PAGE_SIZE : 0; /* a mapping has a page at least */
}

void mdc_corefilter_heads(mdc_mappings *mappings) {
    if (mappings->core_filter < 0) return;
    mdc_region *regions = mappings->regions.data;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        if (!mdc_vec_at(&mappings->notes, const mdc_mapping_note, i).head || regions[i].type == MDC_MEM_IMAGE) continue;
        int64_t number = mdc_mapped_file_find(mappings, regions[i].dev_major, regions[i].dev_minor, regions[i].inode);
        /* The kernel takes a file that may be executed for one with a header, whatever is in it. */
        if (number >= 0 && (mdc_vec_at(&mappings->files, mdc_mapped_file, number).flags & MDC_MAPPED_EXECUTABLE) != 0)
            continue;
        regions[i].filtered = regions[i].size;
    }
}
