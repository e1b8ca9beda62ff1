/* A HANDLE as a sink: looks what it is, and hands it to sink_file_windows.c or sink_stream_windows.c.
 *
 * The rights of the handle are queried with documented calls of ntdll: NtQueryObject (winternl.h), which does
 * not wait for a reader of the same pipe, and for files NtQueryInformationFile (ntifs.h). A handle that may
 * only append takes every write at the end, whatever the offset says. */
#include "../base/fail.h"
#include "sink_windows.h"

enum {
    OBJECT_BASIC_INFORMATION = 0,
    FILE_MODE_INFORMATION = 16,
    UNBUFFERED = 0x8 /* FILE_NO_INTERMEDIATE_BUFFERING of the mode: FILE_FLAG_NO_BUFFERING of CreateFile */
};

typedef struct io_status {
    void *status;
    ULONG_PTR information;
} io_status;

typedef struct object_basic { /* PUBLIC_OBJECT_BASIC_INFORMATION */
    ULONG attributes;
    ACCESS_MASK granted;
    ULONG handles;
    ULONG pointers;
    ULONG reserved[10];
} object_basic;

typedef void (*any_routine)(void);
typedef LONG(WINAPI *query_object)(HANDLE, int, void *, ULONG, ULONG *);
typedef LONG(WINAPI *query_file)(HANDLE, io_status *, void *, ULONG, int);

DWORD mdc_handle_write(HANDLE handle, HANDLE event, uint64_t offset, const void *data, size_t size, DWORD *done,
                       OVERLAPPED *operation) {
    const size_t most = (size_t)1 << 30;
    memset(operation, 0, sizeof *operation);
    operation->Offset = (DWORD)offset;
    operation->OffsetHigh = (DWORD)(offset >> 32);
    /* The low bit keeps the end of it away from a completion port, which may belong to other code. */
    operation->hEvent = (HANDLE)((ULONG_PTR)event | 1);
    *done = 0;
    return WriteFile(handle, data, (DWORD)(size < most ? size : most), done, operation) ? 0 : GetLastError();
}

static any_routine ntdll(const char *name) {
    HMODULE library = GetModuleHandleW(L"ntdll.dll"); /* in every process */
    return library != NULL ? (any_routine)GetProcAddress(library, name) : NULL;
}

/* The access rights of the handle; all of them where they cannot be known. */
static uint32_t rights_of(HANDLE handle) {
    query_object query = (query_object)ntdll("NtQueryObject");
    object_basic basic;
    bool known = query != NULL && query(handle, OBJECT_BASIC_INFORMATION, &basic, sizeof basic, NULL) >= 0;
    return known ? basic.granted : UINT32_MAX;
}

static bool is_unbuffered(HANDLE handle) {
    query_file query = (query_file)ntdll("NtQueryInformationFile");
    io_status status;
    ULONG mode = 0;
    return query != NULL && query(handle, &status, &mode, sizeof mode, FILE_MODE_INFORMATION) >= 0 &&
           (mode & UNBUFFERED) != 0;
}

mdc_sink *mdc_sink_fd_new(intptr_t fd, mdc_dump_control *control, mdc_error *err) {
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
    if (type == FILE_TYPE_DISK && is_unbuffered(handle)) {
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, ERROR_INVALID_PARAMETER,
                 "the handle was opened with FILE_FLAG_NO_BUFFERING, which takes aligned blocks only: open it without "
                 "this flag");
        return NULL;
    }
    mdc_sink *sink = NULL;
    LARGE_INTEGER zero = {.QuadPart = 0}, position, size;
    if (type == FILE_TYPE_DISK && (rights & FILE_WRITE_DATA) != 0 &&
        SetFilePointerEx(handle, zero, &position, FILE_CURRENT) && GetFileSizeEx(handle, &size) &&
        position.QuadPart >= 0 && size.QuadPart >= 0)
        sink = mdc_sink_file_new(handle, (uint64_t)size.QuadPart, (uint64_t)position.QuadPart, err);
    else
        sink = mdc_sink_stream_new(handle, type == FILE_TYPE_DISK, control, err);
    if (sink != NULL) sink->fd = fd;
    return sink;
}
