/* A PssCaptureSnapshot of the target: its address space cloned in a moment, so that it runs on while it is dumped.
 * Windows 8.1 and later; looked up at run time. */
#ifndef MDC_DBGHELP_PSS_SNAPSHOT_H
#define MDC_DBGHELP_PSS_SNAPSHOT_H

#include <windows.h>

#include "../api/error.h"

typedef DWORD(WINAPI *mdc_pss_capture)(HANDLE process, DWORD flags, DWORD context_flags, void **snapshot);
typedef DWORD(WINAPI *mdc_pss_query)(void *snapshot, int what, void *buffer, DWORD size);
typedef DWORD(WINAPI *mdc_pss_free)(HANDLE process, void *snapshot);

typedef struct mdc_pss_snapshot {
    HMODULE dll; /* the given one, ours to free; else NULL */
    mdc_pss_capture capture;
    mdc_pss_query query;
    mdc_pss_free free;
    void *handle; /* HPSS; what MiniDumpWriteDump gets as its process */
    HANDLE clone; /* the process that holds the cloned memory; NULL if the system does not report it */
} mdc_pss_snapshot;

/* Finds the functions, before the target is touched. path: a DLL by its full path, UTF-16; NULL: kernel32.
 * MDC_ERR_TARGET with a hint where they are missing. */
mdc_status mdc_pss_snapshot_load(mdc_pss_snapshot *snapshot, const uint16_t *path, mdc_error *err);
/* process: with PROCESS_CREATE_PROCESS, PROCESS_DUP_HANDLE, PROCESS_QUERY_INFORMATION and PROCESS_VM_READ. */
mdc_status mdc_pss_snapshot_take(mdc_pss_snapshot *snapshot, HANDLE process, mdc_error *err);
/* Frees the snapshot, and sees that the clone ends. Idempotent; also of one that was zeroed only. */
void mdc_pss_snapshot_drop(mdc_pss_snapshot *snapshot);

#endif
