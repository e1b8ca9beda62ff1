/* The mappings of a process: smaps before the stop (the only source of VmFlags and of copy-on-write sharing), maps
 * while it is stopped. */
#ifndef MDC_LINUX_MAPPINGS_H
#define MDC_LINUX_MAPPINGS_H

#include "../base/dump_control.h"
#include "../base/hash.h"
#include "../base/vec.h"
#include "../source/source.h"
#include "kept.h"
#include "noopen.h"
#include "smaps_thread.h"

/* What a mapping is classified by and no other source has. */
typedef struct mdc_mapping_note {
    uint32_t perms; /* MDC_PERM_* */
    bool head;      /* the kernel keeps its first page alone, if it is an image's: mdc_corefilter_heads */
} mdc_mapping_note;

/* Region lists and their names. */
typedef struct mdc_mappings {
    mdc_vec regions;       /* mdc_region */
    mdc_vec names;         /* mdc_name by name_id - 1, distinct */
    mdc_vec pool;          /* uint8_t */
    int64_t core_filter;   /* bits of coredump_filter that are honoured, -1: none; set before list */
    const mdc_vec *absent; /* mdc_smaps_entry: what the process whose mappings are listed, a child, does not have, and
                              is listed all the same; borrowed, NULL: nothing. Set before list, as the next */
    const mdc_kept *kept;  /* what is known of them, and of what a child finds empty; NULL: it is no child */
    mdc_vec text;          /* uint8_t: maps as the last list read it */
    /* Set before prepare: smaps is read under the stop alone if it takes no longer than this by estimate. */
    uint64_t defer_ns, resident_pages;
    bool without_smaps; /* set before prepare: it is not read at all, as if it could not be */
    bool few_files;     /* set before prepare: perhaps none is opened. What must not be is read when the first one is */
    bool exact;         /* after list: what smaps says of the regions is of then */
    /* The rest is private. */
    mdc_vec notes;    /* mdc_mapping_note by region */
    mdc_vec flags;    /* mdc_smaps_entry: what smaps said before the stop; empty again after list */
    bool flags_known; /* smaps was read */
    bool deferred;    /* and will be under the stop */
    size_t expected;  /* mappings that were seen before the stop, at least */
    mdc_smaps_thread smaps;
    mdc_hash name_table; /* names by their bytes */
    mdc_vec files;       /* mdc_mapped_file by (device, inode) */
    mdc_hash file_table;
    mdc_vec mounts;    /* mdc_mount: which file systems are slow */
    mdc_noopen noopen; /* which files are not opened */
    mdc_dump_control
        *control; /* borrowed; NULL, or notified which file is opened, which may hang, and how lists advance */
} mdc_mappings;

void mdc_mappings_init(mdc_mappings *mappings);
void mdc_mappings_fini(mdc_mappings *mappings);
/* Before the stop. proc is a descriptor of /proc/PID (or /proc/PID/task/TID for a dead leader). Call it whatever
 * dontdump is: smaps also shows devices, copy-on-write sharing and userfaultfd. A failure leaves the mappings usable:
 * with MDC_DONTDUMP_IGNORE it may be ignored, then everything is read through /proc/PID/mem. */
mdc_status mdc_mappings_prepare(mdc_mappings *mappings, int proc, mdc_error *err);
/* The same in two halves: a thread reads smaps between them. proc has to stay open. The second is for the status of the
 * first too. */
mdc_status mdc_mappings_begin(mdc_mappings *mappings, int proc, mdc_error *err);
mdc_status mdc_mappings_begun(mdc_mappings *mappings, mdc_status status, mdc_error *err);
/* What a mapping of smaps, and a page of it, take to be read, nanoseconds: measured on Linux 6.18. A page takes 56 ns
 * where all are looked at again and again, and four times as long where what the kernel knows of them is not in the
 * processor's cache. */
enum { MDC_SMAPS_NS_PER_MAPPING = 4000, MDC_SMAPS_NS_PER_PAGE = 200 };

/* When smaps is read again under the stop, which takes time in proportion to the target's memory. */
typedef struct mdc_again {
    uint64_t any_ns;           /* always, if it costs no more than this by estimate */
    uint64_t needed_ns;        /* up to here, if it is not known whether memory at one of the addresses may be dumped */
    const uint64_t *addresses; /* where the dump will read */
    size_t count;
} mdc_again;

/* Under the stop, once: fills regions, names and text. dontdump is MDC_DONTDUMP_*. Unless it is IGNORE, smaps is read
 * again: a program may have marked memory, or put other memory in the place of some, since the prepare. With `again`
 * (NULL: always) only where that is worth its time. Where it is not read, the flags of before the stop count for
 * mappings that have the same addresses, access and file as then, or have come of one such mapping; all others count as
 * DONTDUMP, and all are read through /proc/PID/mem, since a fork may have come to share them. Without smaps it fails
 * with MDC_ERR_ACCESS unless dontdump is IGNORE; then no region has MDC_REGION_DONTDUMP. */
mdc_status mdc_mappings_list(mdc_mappings *mappings, int proc, uint32_t dontdump, const mdc_again *again,
                             mdc_error *err);
/* The region that holds the address, or -1. */
int64_t mdc_mappings_find(const mdc_mappings *mappings, uint64_t address);
/* Adds raw bytes to the pool. */
mdc_status mdc_mappings_intern(mdc_mappings *mappings, const void *bytes, size_t size, mdc_name *name, mdc_error *err);

#endif
