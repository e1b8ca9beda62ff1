/* What a mapping is, from what the kernel says of it: a pure function, so that every row of the table of when a page
 * may be a hole can be tested with made-up facts. */
#ifndef MDC_LINUX_VMA_KIND_H
#define MDC_LINUX_VMA_KIND_H

#include <stdbool.h>

#include "../source/source.h"

/* What is known of a mapping beyond its mdc_region fields base, size, inode and facts. */
typedef struct mdc_map_facts {
    uint32_t perms;      /* MDC_PERM_* */
    const uint8_t *name; /* without " (deleted)" */
    size_t name_size;
    uint32_t file_flags;  /* MDC_MAPPED_* */
    uint64_t file_size;   /* bytes, if MDC_MAPPED_REGULAR */
    uint32_t smaps_flags; /* MDC_SMAPS_* */
    bool smaps_known;     /* smaps_flags are those of this mapping or of what it grew from */
    bool smaps_exact;     /* ... and nothing about it has changed since: resident and CONTENT count */
    uint64_t resident;    /* bytes */
    uint32_t dontdump;    /* MDC_DONTDUMP_* */
} mdc_map_facts;

/* Fills state, protect, type, kinds, flags, valid_size, resident and alloc_base. */
void mdc_map_classify(mdc_region *region, const mdc_map_facts *facts);

#endif
