/* A HANDLE as a sink: looks what it is, and hands it to sink_file_windows.c or sink_stream_windows.c.
 *
 * What the handle may do is asked of ntdll: FileAccessInformation of NtQueryInformationFile, which Microsoft documents
 * for drivers (ntifs.h). A handle that may only append takes every write at the end, whatever the offset says. */
#include "../base/fail.h"
#include "sink_windows.h"

enum { FILE_ACCESS_INFORMATION = 8 };

typedef struct io_status {
    void *status;
    ULONG_PTR information;
} io_status;

typedef LONG(WINAPI *query_file)(HANDLE, io_status *, void *, ULONG, int);

DWORD mdc_handle_write(HANDLE handle, HANDLE event, uint64_t offset, const void *data, size_t size, DWORD *done,
                       OVERLAPPED *operation) {
    const size_t most = (size_t)1 << 30;
    memset(operation, 0, sizeof *operation);
    operation->Offset = (DWORD)offset;
    operation->OffsetHigh = (DWORD)(offset >> 32);
    /* The low bit keeps the end of it away from a completion port, which may be somebody else's. */
    operation->hEvent = (HANDLE)((ULONG_PTR)event | 1);
    *done = 0;
    return WriteFile(handle, data, (DWORD)(size < most ? size : most), done, operation) ? 0 : GetLastError();
}

/* The access rights of the handle; UINT32_MAX if they cannot be known. */
static uint32_t rights_of(HANDLE handle) {
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    FARPROC found = ntdll != NULL ? GetProcAddress(ntdll, "NtQueryInformationFile") : NULL;
    query_file query = (query_file)(void (*)(void))found;
    io_status status;
    ACCESS_MASK rights = 0;
    if (query == NULL || query(handle, &status, &rights, sizeof rights, FILE_ACCESS_INFORMATION) < 0) return UINT32_MAX;
    return rights;
}

mdc_sink *mdc_sink_fd_new(intptr_t fd, mdc_monitor *monitor, mdc_error *err) {
    HANDLE handle = (HANDLE)fd;
    SetLastError(0);
    DWORD type = GetFileType(handle);
    DWORD os_errno = type == FILE_TYPE_UNKNOWN ? GetLastError() : 0;
    if (os_errno != 0) {
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, (int32_t)os_errno, "cannot write to this handle");
        return NULL;
    }
    uint32_t rights = rights_of(handle);
    if ((rights & (FILE_WRITE_DATA | FILE_APPEND_DATA)) == 0) {
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, ERROR_ACCESS_DENIED, "the handle is not open for writing");
        return NULL;
    }
    mdc_sink *sink = NULL;
    LARGE_INTEGER zero = {.QuadPart = 0}, position, size;
    if (type == FILE_TYPE_DISK && (rights & FILE_WRITE_DATA) != 0 &&
        SetFilePointerEx(handle, zero, &position, FILE_CURRENT) && GetFileSizeEx(handle, &size) &&
        position.QuadPart >= 0 && size.QuadPart >= 0)
        sink = mdc_sink_file_new(handle, (uint64_t)size.QuadPart, (uint64_t)position.QuadPart, err);
    else
        sink = mdc_sink_stream_new(handle, type == FILE_TYPE_DISK, monitor, err);
    if (sink != NULL) sink->fd = fd;
    return sink;
}
