/* The files of mappings, each examined once per (device, inode): size, kind, name, and whether it was removed. */
#ifndef MDC_LINUX_MAPFILES_H
#define MDC_LINUX_MAPFILES_H

#include "mappings.h"
#include "proc_maps.h"

/* mdc_mapped_file.flags */
enum {
    MDC_MAPPED_REGULAR = 0x01,    /* size is known */
    MDC_MAPPED_CHAR = 0x02,       /* a character device */
    MDC_MAPPED_ZERO = 0x04,       /* it is /dev/zero */
    MDC_MAPPED_DELETED = 0x08,    /* the name was given with " (deleted)" and is not the name of a file */
    MDC_MAPPED_AGAIN = 0x10,      /* its size was asked for once more while the target is stopped */
    MDC_MAPPED_SLOW = 0x20,       /* on a file system that may never answer (slow_fs.h): it is not opened */
    MDC_MAPPED_MEMORY = 0x80,     /* on a file system that is nothing but memory */
    MDC_MAPPED_NO_STAT = 0x40,    /* ... and not asked about either */
    MDC_MAPPED_EXECUTABLE = 0x100 /* a bit of its mode lets it be executed */
};

typedef struct mdc_mapped_file {
    uint64_t inode;
    uint64_t size; /* bytes, if REGULAR */
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t name_id; /* of the name without " (deleted)" */
    uint32_t flags;   /* MDC_MAPPED_* */
} mdc_mapped_file;

/* The file's number, or -1 if it has not been seen. */
int64_t mdc_mapped_file_find(const mdc_mappings *mappings, uint32_t dev_major, uint32_t dev_minor, uint64_t inode);
/* The file of a mapping with an inode and a name; examined if it is new or its name has changed. */
mdc_status mdc_mapped_file_get(mdc_mappings *mappings, int proc, const mdc_map_record *record, size_t *number,
                               mdc_error *err);
/* Asks once more for the size of a regular file, by one of its mappings. */
void mdc_mapped_file_resize(const mdc_mappings *mappings, mdc_mapped_file *file, int proc, const mdc_region *region);
/* Whether the path of a mapping still leads to the file that is mapped. */
bool mdc_mapped_file_stays(const mdc_mappings *mappings, int proc, const mdc_region *region);
/* Enters a name once and gives its id; 0 for the empty name. */
mdc_status mdc_mapped_name(mdc_mappings *mappings, const uint8_t *bytes, size_t size, uint32_t *name_id,
                           mdc_error *err);
/* Opens the file that is mapped at [first, end), or fails with -1: through map_files (needs a capability), or by its
 * path in the target's root if that still is the same file. Never a file of a slow file system. O_RDONLY, O_CLOEXEC. */
int mdc_mapped_file_open(mdc_mappings *mappings, int proc, const mdc_region *region);
/* The same by a descriptor that the target has of it, which needs no capability. *budget: how many descriptors may
 * still be looked at. */
int mdc_mapped_file_reopen(mdc_mappings *mappings, int proc, const mdc_region *region, uint64_t *budget);

#endif
