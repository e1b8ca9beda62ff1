/* The ioctl itself (see procmap_query.h). Numbers and layout: include/uapi/linux/fs.h of Linux 6.11, declared here
 * because the headers a build finds may be older. */
#include "procmap_query.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../base/failpoint.h"
#include "../base/ioctl_request.h"

struct procmap_query_arg {
    uint64_t size;
    uint64_t query_flags;
    uint64_t query_addr;
    uint64_t vma_start;
    uint64_t vma_end;
    uint64_t vma_flags;
    uint64_t vma_page_size;
    uint64_t vma_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t vma_name_size;
    uint32_t build_id_size;
    uint64_t vma_name_addr;
    uint64_t build_id_addr;
};

_Static_assert(sizeof(struct procmap_query_arg) == 104, "the kernel's struct procmap_query");

#define MDC_PROCMAP_QUERY _IOWR('f', 17, struct procmap_query_arg)
enum { QUERY_COVERING_OR_NEXT = 0x10, VMA_BITS = 0x0F };

mdc_status mdc_procmap_query_open(mdc_procmap_query *procmap, int proc, mdc_error *err) {
    procmap->next = 0;
    procmap->expect_names = true;
    procmap->fd = openat(proc, "maps", O_RDONLY | O_CLOEXEC);
    return procmap->fd < 0 ? mdc_map_fail(err, errno, "maps", "open") : MDC_OK;
}

void mdc_procmap_query_close(mdc_procmap_query *procmap) {
    if (procmap->fd >= 0) close(procmap->fd);
    procmap->fd = -1;
}

static int query(mdc_procmap_query *procmap, bool with_name, struct procmap_query_arg *arg) {
    int forced = MDC_FAILPOINT("maps:query"); /* ENOTTY: as on a kernel that has no such ioctl */
    if (forced != 0) return forced;
    memset(arg, 0, sizeof *arg);
    arg->size = sizeof *arg;
    arg->query_flags = QUERY_COVERING_OR_NEXT;
    arg->query_addr = procmap->next;
    if (with_name) {
        arg->vma_name_size = sizeof procmap->name;
        arg->vma_name_addr = (uint64_t)(uintptr_t)procmap->name;
    }
    return ioctl(procmap->fd, (mdc_ioctl_request)MDC_PROCMAP_QUERY, arg) == 0 ? 0 : errno;
}

mdc_procmap_query_step mdc_procmap_query_next(mdc_procmap_query *procmap, mdc_procmap_query_want want,
                                              const void *context, mdc_map_record *record, int *os_errno) {
    /* Names cost most where they are paths, and there they mostly are known already. Whether one is needed depends on
     * the answer, so the last mapping serves as a guess; a wrong "no" costs a second call. */
    bool with_name = procmap->expect_names;
    struct procmap_query_arg arg;
    bool wanted;
    do {
        int error = query(procmap, with_name, &arg);
        if (error == ENOENT) return MDC_PROCMAP_QUERY_END;
        if (error != 0) {
            /* A dying process has no mappings to report; anything else may be a filter of system calls or a security
             * module that refuses this ioctl, whatever its number, and the text may still be there. */
            *os_errno = error;
            return error == ESRCH || error == ENOMEM ? MDC_PROCMAP_QUERY_FAILED : MDC_PROCMAP_QUERY_UNSUPPORTED;
        }
        memset(record, 0, sizeof *record);
        record->first = arg.vma_start;
        record->end = arg.vma_end;
        record->file_offset = arg.vma_offset;
        record->inode = arg.inode;
        record->dev_major = arg.dev_major;
        record->dev_minor = arg.dev_minor;
        record->perms = (uint32_t)(arg.vma_flags & VMA_BITS);
        wanted = want(context, record);
        if (!wanted || with_name) break;
        with_name = true;
    } while (true);
    if (with_name) {
        uint32_t size = arg.vma_name_size;
        record->name = procmap->name;
        record->name_size = size > 0 && size <= sizeof procmap->name ? size - 1 : 0;
    }
    procmap->expect_names = wanted;
    /* Never go backwards, whatever comes: the loop has to end. */
    if (record->end <= record->first || record->end <= procmap->next) return MDC_PROCMAP_QUERY_END;
    procmap->next = record->end;
    return MDC_PROCMAP_QUERY_FOUND;
}
