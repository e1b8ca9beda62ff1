/* A minidump file as a source: any writer's, any platform's. Its regions are what the file says of the address space;
 * what of it is not in the file is MDC_CONTENT_ABSENT. */
#ifndef MDC_DUMPFILE_DUMP_SOURCE_H
#define MDC_DUMPFILE_DUMP_SOURCE_H

#include "../source/source.h"
#include "dump_view.h"

/* cdef: begin */
typedef struct mdc_dump_source_options {
    uint32_t tolerant;  /* 1: damage is listed in the view, and the rest is read; 0: it is an error */
    uint32_t list_max;  /* entries of a list that are taken; 0: all */
    uint32_t range_max; /* ranges of a memory list; 0: all */
    uint32_t reserved;
} mdc_dump_source_options;

/* fd: a descriptor, on Windows a HANDLE, of a regular file; it is duplicated. options may be NULL. The file is parsed
 * by `prepare`: MDC_ERR_FORMAT, with offset and field. */
mdc_status mdc_dump_source_new(int64_t fd, const mdc_dump_source_options *options, mdc_source **slot, mdc_error *err);
/* After prepare, of a source made by mdc_dump_source_new; lives as long as it does. */
const mdc_dump_view *mdc_dump_source_view(const mdc_source *source);
/* cdef: end */

#endif
