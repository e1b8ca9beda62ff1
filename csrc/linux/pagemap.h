/* /proc/PID/pagemap: which pages a process has, by PAGEMAP_SCAN (Linux 6.7) or by reading an entry per page. */
#ifndef MDC_LINUX_PAGEMAP_H
#define MDC_LINUX_PAGEMAP_H

#include <stdint.h>

#include "../base/dump_control.h"

/* include/uapi/linux/fs.h: PAGE_IS_*. FILE needs a look at every page, which makes a scan of dense memory 3.6 times
 * slower: it is named in a query only where it matters. */
enum {
    MDC_PAGE_IS_FILE = 1 << 2,
    MDC_PAGE_IS_PRESENT = 1 << 3,
    MDC_PAGE_IS_SWAPPED = 1 << 4,
    MDC_PAGE_IS_PFNZERO = 1 << 5, /* as dear as FILE */
    MDC_PAGE_IS_GUARD = 1 << 8    /* Linux 6.15 */
};

/* Pages with any of `anyof`, and none of `none`; of what is found, the categories in `told` are reported. */
typedef struct mdc_pagemap_query {
    uint64_t anyof;
    uint64_t none;
    uint64_t reported;
    uint64_t pages;            /* a scan ends after this many; 0: no limit */
    mdc_dump_control *control; /* NULL, or notified after each call: a call takes long in dense memory */
} mdc_pagemap_query;

/* Called for runs of pages in ascending order. */
typedef mdc_status (*mdc_pagemap_take)(void *context, uint64_t first, uint64_t end, uint64_t categories,
                                       mdc_error *err);

/* Scans [first, end). *os_errno is 0, or why the kernel does not do it; the status is that of take. */
mdc_status mdc_pagemap_scan(int fd, uint64_t first, uint64_t end, const mdc_pagemap_query *query, mdc_pagemap_take take,
                            void *context, int *os_errno, mdc_error *err);
/* The same by the old interface, which costs 0.5 ms per GiB of addresses. */
mdc_status mdc_pagemap_read(int fd, uint64_t first, uint64_t end, const mdc_pagemap_query *query, mdc_pagemap_take take,
                            void *context, int *os_errno, mdc_error *err);

#endif
