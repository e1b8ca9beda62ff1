/* An ELF core file of Linux (x86-64, i386) as a source: what the kernel, gcore or a debugger has written, whole or cut.
 *
 * Everything in the file is hostile. The memory that this takes is bounded by what the file holds: 32 bytes and a
 * region for each mapping, a context for each thread, two windows of 64 KiB. */
#ifndef MDC_ELFCORE_CORE_SOURCE_H
#define MDC_ELFCORE_CORE_SOURCE_H

#include "../source/source.h"

/* cdef: begin */
typedef struct mdc_core_options {
    const char *root;       /* files of mappings are below this folder; NULL: no files are read */
    const char *executable; /* where the main executable is; NULL: below root, as the others */
    uint32_t text_files;    /* 1: memory of modules that the core left out comes from their files, where the build id in
                               the core is that of the file */
    uint32_t xstate;        /* 1: contexts carry the extended state (MDC_TYPE_WITH_AVX_XSTATE_CONTEXT) */
} mdc_core_options;

/* The descriptor (on Windows a HANDLE) is duplicated; the strings are copied. The file is read by prepare. */
mdc_status mdc_core_source_new(int64_t fd, const mdc_core_options *options, mdc_source **slot, mdc_error *err);
/* cdef: end */

#endif
