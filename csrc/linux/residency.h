/* Which pages are there: one PAGEMAP_SCAN over the address space (limits: see the table of when a page may be a hole),
 * or, for a dump that wants little of it, one over what is asked about. */
#ifndef MDC_LINUX_RESIDENCY_H
#define MDC_LINUX_RESIDENCY_H

#include "../base/dump_control.h"
#include "../base/vec.h"
#include "../source/source.h"

typedef struct mdc_residency {
    mdc_vec runs; /* mdc_content: sorted. Of hole candidates DATA, ZERO and UNAVAILABLE runs, what lies between is
                       untouched; of files on slow file systems the same, and what lies between is UNKNOWN; of other
                     regions UNAVAILABLE runs, what lies between is DATA */
    bool known;   /* false: the kernel has no PAGEMAP_SCAN, everything counts as DATA */
    bool exact;   /* set before the scan: `resident` of the regions is of now, so it need not look at whole ones */
    int pagemap;  /* >= 0: nothing is in runs, content asks the kernel; by this method */
    int method;
    mdc_dump_control *control; /* borrowed; NULL, or notified of the progress of the page scan */
    struct mdc_asked *asked;   /* what was answered, by the first page; NULL: nothing is remembered */
    size_t answers;            /* that many at most */
} mdc_residency;

void mdc_residency_init(mdc_residency *residency);
void mdc_residency_fini(mdc_residency *residency);
/* Scans the regions that have MDC_REGION_UNTOUCHED set (hole candidates by rule) for content, and the others for guard
 * pages. Corrects what was decided before the stop: memory without access becomes a reservation that is never read if
 * nothing is in it, and is read if something is. A kernel without support is not an error: then known is false. */
mdc_status mdc_residency_scan(mdc_residency *residency, int proc, mdc_region *regions, size_t count, mdc_error *err);
/* Instead of the scan: only memory without access is looked at now, and no further than to its first page; content asks
 * about what it is asked, as long as the target lives. */
mdc_status mdc_residency_begin(mdc_residency *residency, int proc, mdc_region *regions, size_t count, mdc_error *err);
/* As mdc_source_ops.content. */
size_t mdc_residency_content(const mdc_residency *residency, const mdc_region *region, uint64_t first, uint64_t end,
                             mdc_content *runs, size_t room, uint64_t *next);
/* Splits [first, end) by `count` sorted runs; what lies between them is `between`. As mdc_source_ops.content. */
size_t mdc_content_tell(const mdc_content *known, size_t count, uint32_t between, uint64_t first, uint64_t end,
                        mdc_content *runs, size_t room, uint64_t *next);

#endif
