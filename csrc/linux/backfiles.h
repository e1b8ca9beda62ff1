/* The files of mappings, open for reading as long as they are among the last ones used. */
#ifndef MDC_LINUX_BACKFILES_H
#define MDC_LINUX_BACKFILES_H

#include "mappings.h"

enum { MDC_BACKING_OPEN = 4 /* files that are held open: few, the descriptors are those of our caller's process */ };

typedef struct mdc_backing_file {
    uint64_t inode;
    uint64_t size;      /* bytes, when it was opened */
    uint64_t used;      /* when; 0: free */
    uint32_t dev_major; /* as in maps */
    uint32_t dev_minor;
    uint32_t name_id;
    uint32_t flags;
    int fd; /* -1: cannot be opened */
} mdc_backing_file;

typedef struct mdc_backfiles {
    int proc;               /* borrowed */
    mdc_mappings *mappings; /* borrowed */
    mdc_backing_file files[MDC_BACKING_OPEN];
    uint64_t clock;
    uint64_t budget; /* descriptors of the target that may still be searched for files */
} mdc_backfiles;

void mdc_backfiles_init(mdc_backfiles *self);
void mdc_backfiles_fini(mdc_backfiles *self);
/* The open file of a region, until the next call; NULL if it is not available, or may not be read instead of memory. */
const mdc_backing_file *mdc_backfiles_get(mdc_backfiles *self, const mdc_region *region);
/* The next run of the file's own bytes at or after `at`; *first is end if there is none. */
void mdc_backfile_next(const mdc_backing_file *file, uint64_t at, uint64_t end, uint64_t *first, uint64_t *stop);

#endif
