/* The backing of mappings of files and of shared memory, found and read without giving the target a page.
 *
 * A read through the target's addresses (process_vm_readv, /proc/PID/mem) is a page fault: it fills page tables, and in
 * memory of tmpfs, memfd, SysV, shared anonymous or huge pages it even allocates what was never touched. So the file
 * is used: SEEK_DATA finds its data, pread reads it. Only pages that the process owns (a private mapping that was
 * written to) are read as memory.
 *
 * A region is examined when it is first needed, so that a small dump examines little; for a read of pages that the
 * process has in its page tables, which changes nothing, not even then. */
#ifndef MDC_LINUX_BACKING_H
#define MDC_LINUX_BACKING_H

#include "backfiles.h"
#include "latefiles.h"
#include "mappings.h"
#include "residency.h"

typedef struct mdc_backing {
    int proc;                       /* borrowed */
    int pagemap;                    /* -1: cannot be asked; the residency's if that has it open */
    int mem;                        /* /proc/PID/mem, borrowed; -1: it is opened */
    const mdc_mappings *mappings;   /* borrowed, as it is after the listing */
    const mdc_residency *residency; /* borrowed: guard pages, and all that is not a file */
    mdc_vec views;                  /* what is known of each region */
    mdc_vec runs;                   /* mdc_content: those of one region are adjacent */
    mdc_vec owned;                  /* mdc_content of the current region: pages that the process owns */
    mdc_backfiles files;
    mdc_latefiles late;
    size_t owned_most;   /* runs that owned may have */
    bool crowded;        /* the current region has more runs than are kept */
    bool wide;           /* the target is known to be a 64-bit process */
    bool lent;           /* pagemap is the residency's, which outlives this */
    const uint8_t *vdso; /* our own, where it is the same as the target's */
} mdc_backing;

typedef enum mdc_backing_route {
    MDC_BACKING_MEMORY = 0, /* through the target's addresses */
    MDC_BACKING_FILE = 1,   /* by mdc_backing_read */
    MDC_BACKING_ZEROS = 2,  /* nothing is there: zeros */
    MDC_BACKING_CLOSED = 3  /* must not be read */
} mdc_backing_route;

void mdc_backing_init(mdc_backing *backing);
void mdc_backing_fini(mdc_backing *backing);
/* While the target is stopped, after mappings and residency. proc as for them. */
mdc_status mdc_backing_begin(mdc_backing *backing, int proc, mdc_mappings *mappings, const mdc_residency *residency,
                             mdc_error *err);
/* As mdc_source_ops.content, for any region. */
size_t mdc_backing_content(mdc_backing *backing, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next);
/* As mdc_late_ops.end. */
uint64_t mdc_backing_late_end(mdc_backing *backing, size_t region);
/* How to read the region from the address on; *end is where that changes. */
mdc_backing_route mdc_backing_route_of(mdc_backing *backing, size_t region, uint64_t address, uint64_t *end);
/* Reads from the file. Bytes read; 0: the file has nothing there any more, or *os_errno. */
uint64_t mdc_backing_read(mdc_backing *backing, size_t region, uint64_t address, uint64_t size, uint8_t *to,
                          int *os_errno);

#endif
