/* Snapshots (see pss_snapshot.h). The flags are those of Microsoft's sample of a dump from a snapshot; numbers from the
 * documentation of PSS_CAPTURE_FLAGS, since mingw-w64's headers of Windows 7 lack them.
 *
 * Order of the end: the clone is a process of its own, and PssFreeSnapshot closes a handle of it but does not promise
 * to end it, so a duplicate made at the start ends it afterwards. */
#include "pss_snapshot.h"

#include <string.h>

#include "../base/fail.h"
#include "library.h"

enum {
    PSS_VA_CLONE = 0x1,
    PSS_HANDLES = 0x4,
    PSS_HANDLE_NAMES = 0x8,
    PSS_HANDLE_BASIC = 0x10,
    PSS_HANDLE_TYPE_SPECIFIC = 0x20,
    PSS_HANDLE_TRACE = 0x40,
    PSS_THREADS = 0x80,
    PSS_THREAD_CONTEXT = 0x100,
    PSS_THREAD_CONTEXT_EXTENDED = 0x200,
    PSS_BREAKAWAY_OPTIONAL = 0x04000000,
    PSS_BREAKAWAY = 0x08000000,
    PSS_USE_VM_ALLOCATIONS = 0x20000000,
    PSS_QUERY_VA_CLONE = 1
};
#define PSS_RELEASE_SECTION 0x80000000u

#define CAPTURE_FLAGS                                                                                                  \
    ((DWORD)(PSS_VA_CLONE | PSS_HANDLES | PSS_HANDLE_NAMES | PSS_HANDLE_BASIC | PSS_HANDLE_TYPE_SPECIFIC |             \
             PSS_HANDLE_TRACE | PSS_THREADS | PSS_THREAD_CONTEXT | PSS_THREAD_CONTEXT_EXTENDED | PSS_BREAKAWAY |       \
             PSS_BREAKAWAY_OPTIONAL | PSS_USE_VM_ALLOCATIONS) |                                                        \
     PSS_RELEASE_SECTION)

mdc_status mdc_pss_snapshot_load(mdc_pss_snapshot *snapshot, const uint16_t *path, mdc_error *err) {
    memset(snapshot, 0, sizeof *snapshot);
    HMODULE dll = GetModuleHandleW(L"kernel32.dll"); /* stays loaded: not ours to free */
    if (path != NULL) dll = snapshot->dll = mdc_win_load_dll(path);
    if (dll == NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                        "cannot load the given library with PssCaptureSnapshot; give its full path");
    snapshot->capture = (mdc_pss_capture)mdc_win_find_routine(dll, "PssCaptureSnapshot");
    snapshot->query = (mdc_pss_query)mdc_win_find_routine(dll, "PssQuerySnapshot");
    snapshot->free = (mdc_pss_free)mdc_win_find_routine(dll, "PssFreeSnapshot");
    if (snapshot->capture != NULL && snapshot->query != NULL && snapshot->free != NULL) return MDC_OK;
    mdc_pss_snapshot_drop(snapshot);
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, ERROR_PROC_NOT_FOUND,
                    "this system has no PssCaptureSnapshot (it needs Windows 8.1; Wine has none): take the dump "
                    "without a snapshot");
}

mdc_status mdc_pss_snapshot_take(mdc_pss_snapshot *snapshot, HANDLE process, mdc_error *err) {
    DWORD error = snapshot->capture(process, CAPTURE_FLAGS, CONTEXT_ALL, &snapshot->handle);
    if (error != ERROR_SUCCESS || snapshot->handle == NULL) {
        snapshot->handle = NULL;
        return mdc_fail(err, error == ERROR_ACCESS_DENIED ? MDC_ERR_ACCESS : MDC_ERR_TARGET, MDC_PHASE_STOP,
                        (int32_t)error, "PssCaptureSnapshot failed for the target: take the dump without one");
    }
    HANDLE clone = NULL; /* PSS_VA_CLONE_INFORMATION has this one member */
    if (snapshot->query(snapshot->handle, PSS_QUERY_VA_CLONE, &clone, sizeof clone) != ERROR_SUCCESS || clone == NULL)
        return MDC_OK;
    if (!DuplicateHandle(GetCurrentProcess(), clone, GetCurrentProcess(), &snapshot->clone, 0, FALSE,
                         DUPLICATE_SAME_ACCESS))
        snapshot->clone = NULL;
    return MDC_OK;
}

void mdc_pss_snapshot_drop(mdc_pss_snapshot *snapshot) {
    if (snapshot->handle != NULL) snapshot->free(GetCurrentProcess(), snapshot->handle);
    if (snapshot->clone != NULL) {
        TerminateProcess(snapshot->clone, 0); /* fails if it has ended already */
        CloseHandle(snapshot->clone);
    }
    if (snapshot->dll != NULL) FreeLibrary(snapshot->dll);
    memset(snapshot, 0, sizeof *snapshot);
}
