/* Asking pagemap (see pagemap.h). */
#include "pagemap.h"

#include <errno.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/ioctl_request.h"

/* include/uapi/linux/fs.h; declared here because installed headers may be older. */
struct pagemap_run {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};
struct pagemap_scan_arg {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
_Static_assert(sizeof(struct pagemap_scan_arg) == 96, "the kernel's struct pm_scan_arg");
#define MDC_PAGEMAP_SCAN _IOWR('f', 16, struct pagemap_scan_arg)

enum {
    SCAN_RUNS = 512,       /* with more, walk_end is wrong (seen on 6.18) and runs come twice */
    PAGEMAP_ENTRIES = 8192 /* of eight bytes, per read of the old interface */
};

mdc_status mdc_pagemap_scan(int fd, uint64_t first, uint64_t end, const mdc_pagemap_query *query, mdc_pagemap_take take,
                            void *context, int *os_errno, mdc_error *err) {
    struct pagemap_run runs[SCAN_RUNS];
    while (first < end) {
        struct pagemap_scan_arg arg = {.size = sizeof arg,
                                       .start = first,
                                       .end = end,
                                       .vec = (uint64_t)(uintptr_t)runs,
                                       .vec_len = SCAN_RUNS,
                                       .max_pages = query->pages,
                                       .category_inverted = query->none,
                                       .category_mask = query->none,
                                       .category_anyof_mask = query->anyof,
                                       .return_mask = query->reported};
        int count;
        do {
            count = ioctl(fd, (mdc_ioctl_request)MDC_PAGEMAP_SCAN, &arg);
        } while (count < 0 && errno == EINTR);
        if (count < 0) {
            *os_errno = errno;
            return MDC_OK;
        }
        mdc_control_advance(query->control);
        uint64_t reached = first;
        for (int i = 0; i < count && i < SCAN_RUNS; i++) {
            /* Part of it may have come before. */
            uint64_t start = mdc_max_u64(runs[i].start, reached);
            if (runs[i].end <= start) continue;
            mdc_status status = take(context, start, runs[i].end, runs[i].categories, err);
            if (status != MDC_OK) return status;
            reached = runs[i].end;
        }
        if (count < SCAN_RUNS) break;
        uint64_t next = mdc_max_u64(reached, arg.walk_end);
        if (next <= first) {
            *os_errno = EIO;
            break;
        }
        first = next;
    }
    return MDC_OK;
}

/* Bits of an entry: Documentation/admin-guide/mm/pagemap.rst. The scan reports a guard as swapped. */
static uint64_t categories_of(uint64_t entry) {
    uint64_t is = 0;
    if ((entry & UINT64_C(1) << 63) != 0) is |= MDC_PAGE_IS_PRESENT;
    if ((entry & UINT64_C(1) << 62) != 0) is |= MDC_PAGE_IS_SWAPPED;
    if ((entry & UINT64_C(1) << 61) != 0) is |= MDC_PAGE_IS_FILE;
    if ((entry & UINT64_C(1) << 58) != 0 && (is & MDC_PAGE_IS_PRESENT) == 0)
        is |= MDC_PAGE_IS_GUARD | MDC_PAGE_IS_SWAPPED;
    return is;
}

mdc_status mdc_pagemap_read(int fd, uint64_t first, uint64_t end, const mdc_pagemap_query *query, mdc_pagemap_take take,
                            void *context, int *os_errno, mdc_error *err) {
    uint64_t entries[PAGEMAP_ENTRIES];
    while (first < end) {
        uint64_t pages = mdc_min_u64((end - first) / MDC_PAGE_SIZE, PAGEMAP_ENTRIES);
        ssize_t got =
            pread(fd, entries, (size_t)pages * sizeof entries[0], (off_t)(first / MDC_PAGE_SIZE * sizeof entries[0]));
        if (got < (ssize_t)sizeof entries[0]) {
            *os_errno = got < 0 ? errno : EIO;
            return MDC_OK;
        }
        mdc_control_advance(query->control);
        pages = (uint64_t)got / sizeof entries[0];
        for (uint64_t i = 0; i < pages; i++) {
            uint64_t is = categories_of(entries[i]);
            if ((is & query->anyof) == 0 || (is & query->none) != 0) continue;
            uint64_t page = first + i * MDC_PAGE_SIZE;
            mdc_status status = take(context, page, page + MDC_PAGE_SIZE, is & query->reported, err);
            if (status != MDC_OK) return status;
        }
        first += pages * MDC_PAGE_SIZE;
    }
    return MDC_OK;
}
