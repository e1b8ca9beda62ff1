/* The mappings of a process: smaps before the stop (the only source of VmFlags and of copy-on-write sharing),
 * PROCMAP_QUERY or maps while it stands. */
#ifndef MDC_LINUX_MAPPINGS_H
#define MDC_LINUX_MAPPINGS_H

#include "../base/vec.h"
#include "../source/source.h"

/* Region lists and their names. */
typedef struct mdc_mappings {
    mdc_vec regions;  /* mdc_region */
    mdc_vec names;    /* mdc_name by name_id - 1, distinct */
    mdc_vec pool;     /* uint8_t */
    mdc_vec flags;    /* private: what smaps said before the stop */
    void *name_index; /* private */
} mdc_mappings;

void mdc_mappings_init(mdc_mappings *mappings);
void mdc_mappings_fini(mdc_mappings *mappings);
/* Before the stop. proc is a descriptor of /proc/PID (or /proc/PID/task/TID for a dead leader). */
mdc_status mdc_mappings_prepare(mdc_mappings *mappings, int proc, mdc_error *err);
/* While it stands: fills regions and names. A mapping whose flags are not known counts as DONTDUMP. dontdump is
 * MDC_DONTDUMP_*. */
mdc_status mdc_mappings_list(mdc_mappings *mappings, int proc, uint32_t dontdump, mdc_error *err);
/* The region that holds the address, or -1. */
int64_t mdc_mappings_find(const mdc_mappings *mappings, uint64_t address);
/* Adds raw bytes to the pool. */
mdc_status mdc_mappings_intern(mdc_mappings *mappings, const void *bytes, size_t size, mdc_name *name, mdc_error *err);

#endif
