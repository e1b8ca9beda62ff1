/* /proc/PID/smaps: the only source of MADV_DONTDUMP, device memory, userfaultfd and whether pages are shared by
 * copy on write. Read before the stop, and again while the target is stopped if the 4 us per mapping and 56 ns per
 * resident page are worth it (mappings.h). */
#ifndef MDC_LINUX_SMAPS_H
#define MDC_LINUX_SMAPS_H

#include <stdbool.h>

#include "../base/vec.h"
#include "../source/source.h"
#include "proc_maps.h"

/* mdc_smaps_entry.flags; the low four bits are MDC_PERM_*. */
enum {
    MDC_SMAPS_PERMS = 0x0F,
    MDC_SMAPS_DONTDUMP = 0x10,
    MDC_SMAPS_DEVICE = 0x20, /* VM_IO or VM_PFNMAP: reading may touch hardware */
    MDC_SMAPS_UFFD = 0x40,   /* registered with userfaultfd: process_vm_readv would hang in a stopped target */
    MDC_SMAPS_HUGETLB = 0x80,
    MDC_SMAPS_MIXED = 0x100,     /* VM_MIXEDMAP: a driver's pages */
    MDC_SMAPS_UNSHARES = 0x200,  /* anonymous pages shared by copy on write, or merged by KSM: a pin would copy them */
    MDC_SMAPS_CONTENT = 0x400,   /* something resident or swapped */
    MDC_SMAPS_HEAP = 0x800,      /* named [heap] */
    MDC_SMAPS_STACK = 0x1000,    /* named [stack] */
    MDC_SMAPS_VSYSCALL = 0x2000, /* named [vsyscall]: PROCMAP_QUERY does not list it */
    MDC_SMAPS_MISSING = 0x4000,  /* a userfaultfd handler supplies missing pages */
    MDC_SMAPS_OWN = 0x8000,      /* has pages of its own, written to: anonymous or swapped */
    MDC_SMAPS_NO_COPY = 0x10000, /* MADV_DONTFORK: a child does not have it */
    MDC_SMAPS_WIPE = 0x20000     /* MADV_WIPEONFORK: a child finds it empty */
};

/* One mapping as in smaps; kept small, there may be 100,000. */
typedef struct mdc_smaps_entry {
    uint64_t first;
    uint64_t end;
    uint64_t inode;
    uint32_t device;         /* major << 20 | minor, as the kernel's dev_t */
    uint32_t flags;          /* MDC_SMAPS_* */
    uint32_t resident_pages; /* saturating */
    uint32_t reserved;
} mdc_smaps_entry;

/* Called for the mapping line of each entry: as it is in maps, without its newline. */
typedef mdc_status (*mdc_smaps_seen)(void *context, const uint8_t *line, size_t size, mdc_error *err);

/* Appends the entries (ascending, disjoint) up to the first that begins at or above `limit`. seen may be NULL. */
mdc_status mdc_smaps_read(mdc_vec *entries, int proc, uint64_t limit, mdc_smaps_seen seen, void *context,
                          mdc_error *err);

/* What is known of a mapping that is there now. */
typedef enum mdc_smaps_match {
    MDC_SMAPS_UNKNOWN = 0,
    MDC_SMAPS_EXACT = 1,
    MDC_SMAPS_INHERITED = 2 /* split, shrunk, grown or with other protection since: the flags of what it was */
} mdc_smaps_match;

/* Looks up the mapping [first, end) with these perms, device and inode; `special` is MDC_SMAPS_HEAP, _STACK or 0 by its
 * name. Mappings must be asked in ascending order with one *cursor that starts at 0. `torn` says that a neighbour has
 * the same perms and backing, although it touches this mapping: the kernel would have merged the two if their flags
 * were the same, so flags of a common ancestor are not inherited. */
mdc_smaps_match mdc_smaps_lookup(const mdc_vec *entries, size_t *cursor, const mdc_smaps_entry *now, bool torn,
                                 uint32_t *flags, uint64_t *resident);

static inline uint32_t mdc_smaps_device(uint32_t dev_major, uint32_t dev_minor) {
    return dev_major << 20 | (dev_minor & 0xFFFFF);
}

#endif
