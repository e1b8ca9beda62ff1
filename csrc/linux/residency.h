/* Which pages are there: one PAGEMAP_SCAN over the address space (limits: see the table of when a page may be a hole).
 */
#ifndef MDC_LINUX_RESIDENCY_H
#define MDC_LINUX_RESIDENCY_H

#include "../base/vec.h"
#include "../source/source.h"

typedef struct mdc_residency {
    mdc_vec
        runs;   /* mdc_content: DATA and UNAVAILABLE runs of hole candidates, sorted; what lies between is untouched */
    bool known; /* false: the kernel has no PAGEMAP_SCAN, everything counts as DATA */
} mdc_residency;

void mdc_residency_init(mdc_residency *residency);
void mdc_residency_fini(mdc_residency *residency);
/* Scans the regions that have MDC_REGION_UNTOUCHED set (hole candidates by rule) and guard pages. */
mdc_status mdc_residency_scan(mdc_residency *residency, int proc, const mdc_region *regions, size_t count,
                              mdc_error *err);
size_t mdc_residency_content(const mdc_residency *residency, const mdc_region *region, uint64_t first, uint64_t end,
                             mdc_content *runs, size_t room, uint64_t *next);

#endif
