/* The store of dbghelp's output until it is handed out: a file that is written at any offset and can be read back, or a
 * block of memory that the IoWriteAll callbacks fill.
 *
 * The order of offsets is documented nowhere: parts are written twice and gaps are filled in later, so the length is
 * the highest end of a write, not the sum of them. */
#ifndef MDC_DBGHELP_STAGING_FILE_H
#define MDC_DBGHELP_STAGING_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <windows.h>

#include "../api/error.h"

typedef struct mdc_staging_file {
    HANDLE file;    /* always open: dbghelp wants one even if it does not write to it */
    bool owned;     /* a temporary file of ours, gone when it is closed */
    bool in_memory; /* once IoStart was accepted: what follows is meaningful, and the file is empty */
    uint8_t *data;  /* allocated */
    uint64_t size;  /* bytes; of the file: after mdc_staging_file_measure */
    uint64_t room;  /* bytes of data */
    uint64_t limit; /* bytes that the dump may have */
} mdc_staging_file;

/* The caller's file, if it can hold a dump as it is written: a disk file at its start that we may read and cut. It is
 * emptied. false: it cannot, and nothing was done. */
bool mdc_staging_file_use(mdc_staging_file *store, HANDLE file);
/* A temporary file that only this process's user can open and that disappears with its handle. */
mdc_status mdc_staging_file_open(mdc_staging_file *store, mdc_error *err);
/* Also of one that was zeroed only. The caller's file stays open. */
void mdc_staging_file_fini(mdc_staging_file *store);
/* Nothing of a dump remains in it. */
void mdc_staging_file_cut(mdc_staging_file *store);

/* Into memory, at any offset; what was skipped is zero. */
mdc_status mdc_staging_file_put(mdc_staging_file *store, uint64_t offset, const void *data, size_t size,
                                mdc_error *err);

/* When the dump has been written: its length. */
mdc_status mdc_staging_file_measure(mdc_staging_file *store, mdc_error *err);
/* The caller's file is handed back with its position after the dump, and flushed on request. false: GetLastError. */
bool mdc_staging_file_leave(const mdc_staging_file *store, bool flush);
/* All of [offset, offset + size), which lies in the dump. */
mdc_status mdc_staging_file_read(const mdc_staging_file *store, uint64_t offset, void *data, size_t size,
                                 mdc_error *err);
mdc_status mdc_staging_file_overwrite(mdc_staging_file *store, uint64_t offset, const void *data, size_t size,
                                      mdc_error *err);

#endif
