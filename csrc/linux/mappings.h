/* The mappings of a process: smaps before the stop (the only source of VmFlags and of copy-on-write sharing),
 * PROCMAP_QUERY or maps while it stands. */
#ifndef MDC_LINUX_MAPPINGS_H
#define MDC_LINUX_MAPPINGS_H

#include "../base/vec.h"
#include "../source/source.h"
#include "slots.h"

/* Region lists and their names. */
typedef struct mdc_mappings {
    mdc_vec regions; /* mdc_region */
    mdc_vec names;   /* mdc_name by name_id - 1, distinct */
    mdc_vec pool;    /* uint8_t */
    /* The rest is private. */
    mdc_vec flags;        /* mdc_smaps_entry: what smaps said before the stop; empty again after list */
    bool flags_known;     /* smaps was read */
    mdc_slots name_slots; /* names by their bytes */
    mdc_vec files;        /* mdc_mapped_file by (device, inode) */
    mdc_slots file_slots;
    mdc_vec mounts; /* mdc_mount: which file systems are slow */
} mdc_mappings;

void mdc_mappings_init(mdc_mappings *mappings);
void mdc_mappings_fini(mdc_mappings *mappings);
/* Before the stop. proc is a descriptor of /proc/PID (or /proc/PID/task/TID for a dead leader). Call it whatever
 * dontdump is: smaps also tells devices, copy-on-write sharing and userfaultfd. A failure leaves the mappings usable:
 * with MDC_DONTDUMP_IGNORE it may be ignored, then everything is read through /proc/PID/mem. */
mdc_status mdc_mappings_prepare(mdc_mappings *mappings, int proc, mdc_error *err);
/* While it stands, once: fills regions and names. dontdump is MDC_DONTDUMP_*. Unless it is IGNORE, smaps is read again:
 * a program may have marked memory, or put other memory in the place of some, since the prepare. again_ns is what that
 * may cost by estimate; above it the flags of before the stop stand, and what is new counts as DONTDUMP. Without smaps
 * it fails with MDC_ERR_ACCESS unless dontdump is IGNORE; then no region has MDC_REGION_DONTDUMP. */
mdc_status mdc_mappings_list(mdc_mappings *mappings, int proc, uint32_t dontdump, uint64_t again_ns, mdc_error *err);
/* The region that holds the address, or -1. */
int64_t mdc_mappings_find(const mdc_mappings *mappings, uint64_t address);
/* Adds raw bytes to the pool. */
mdc_status mdc_mappings_intern(mdc_mappings *mappings, const void *bytes, size_t size, mdc_name *name, mdc_error *err);

#endif
