/* The store of dbghelp's output (see staging_file.h). */
#include "staging_file.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/vec.h"
#include "../windows/win_nt.h"

enum { ROOM_MIN = 1 << 20, PIECE = 1 << 24, FILE_MODE_INFORMATION = 16, SYNCHRONOUS = 0x30 };

/* -- the file ------------------------------------------------------------------------------------------------------ */

/* dbghelp knows nothing of handles that were opened for overlapped I/O. NtQueryInformationFile is documented in
 * ntifs.h; FILE_SYNCHRONOUS_IO_ALERT and _NONALERT are the bits of handles that wait. */
static bool is_synchronous(HANDLE file) {
    typedef struct io_status {
        void *status;
        ULONG_PTR information;
    } io_status;
    typedef LONG(WINAPI * query_file)(HANDLE, io_status *, void *, ULONG, int);
    query_file query = (query_file)mdc_win_function_of("ntdll.dll", "NtQueryInformationFile");
    io_status status;
    ULONG mode = 0;
    return query == NULL || query(file, &status, &mode, sizeof mode, FILE_MODE_INFORMATION) < 0 ||
           (mode & SYNCHRONOUS) != 0;
}

static bool can_read(HANDLE file) {
    uint8_t byte;
    DWORD done;
    OVERLAPPED at;
    memset(&at, 0, sizeof at);
    return ReadFile(file, &byte, 1, &done, &at) || GetLastError() == ERROR_HANDLE_EOF;
}

bool mdc_staging_file_use(mdc_staging_file *store, HANDLE file) {
    LARGE_INTEGER none = {.QuadPart = 0}, here;
    memset(store, 0, sizeof *store);
    if (GetFileType(file) != FILE_TYPE_DISK || !SetFilePointerEx(file, none, &here, FILE_CURRENT) || here.QuadPart != 0)
        return false;
    if (!is_synchronous(file) || !can_read(file) || !SetFilePointerEx(file, none, NULL, FILE_BEGIN) ||
        !SetEndOfFile(file))
        return false;
    store->file = file;
    return true;
}

mdc_status mdc_staging_file_open(mdc_staging_file *store, mdc_error *err) {
    wchar_t folder[MAX_PATH + 2], path[MAX_PATH];
    memset(store, 0, sizeof *store);
    DWORD size = GetTempPathW(MAX_PATH + 1, folder);
    if (size == 0 || size > MAX_PATH || GetTempFileNameW(folder, L"mdc", 0, path) == 0)
        return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot make a temporary file");
    store->file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, CREATE_ALWAYS,
                              FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    if (store->file == INVALID_HANDLE_VALUE) {
        DWORD error = GetLastError();
        store->file = NULL;
        DeleteFileW(path);
        return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, (int32_t)error, "cannot open a temporary file");
    }
    store->owned = true;
    return MDC_OK;
}

void mdc_staging_file_fini(mdc_staging_file *store) {
    if (store->owned && store->file != NULL) CloseHandle(store->file);
    mdc_dealloc(store->data);
    memset(store, 0, sizeof *store);
}

void mdc_staging_file_cut(mdc_staging_file *store) {
    LARGE_INTEGER start = {.QuadPart = 0};
    if (store->file != NULL && SetFilePointerEx(store->file, start, NULL, FILE_BEGIN)) SetEndOfFile(store->file);
    mdc_dealloc(store->data);
    store->data = NULL;
    store->size = store->room = 0;
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

static mdc_status make_room(mdc_staging_file *store, uint64_t size, mdc_error *err) {
    if (size <= store->room) return MDC_OK;
    uint64_t room = mdc_max_u64(ROOM_MIN, store->room);
    while (room < size)
        if (!mdc_mul_u64(room, 2, &room)) room = size;
    size_t bytes;
    if (!mdc_to_size(room, &bytes))
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_WRITE, 0, "the dump is too long for this process's memory");
    uint8_t *data = mdc_alloc(1, bytes, err); /* zeroed */
    if (data == NULL) return err->code;
    if (store->size != 0) memcpy(data, store->data, (size_t)store->size);
    mdc_dealloc(store->data);
    store->data = data;
    store->room = room;
    return MDC_OK;
}

mdc_status mdc_staging_file_put(mdc_staging_file *store, uint64_t offset, const void *data, size_t size,
                                mdc_error *err) {
    uint64_t end;
    if (!mdc_add_u64(offset, size, &end) || (store->limit != 0 && end > store->limit))
        return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_WRITE, 0, "the dump would be longer than the %llu bytes allowed",
                        (unsigned long long)store->limit);
    if (make_room(store, end, err) != MDC_OK) return err->code;
    if (size != 0) memcpy(store->data + offset, data, size);
    store->size = mdc_max_u64(store->size, end);
    return MDC_OK;
}

/* -- after the dump ------------------------------------------------------------------------------------------------ */

mdc_status mdc_staging_file_measure(mdc_staging_file *store, mdc_error *err) {
    LARGE_INTEGER size;
    if (store->in_memory) return MDC_OK;
    if (!GetFileSizeEx(store->file, &size))
        return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)GetLastError(),
                        "cannot get the length of the file that dbghelp wrote");
    store->size = (uint64_t)size.QuadPart;
    return MDC_OK;
}

bool mdc_staging_file_leave(const mdc_staging_file *store, bool flush) {
    LARGE_INTEGER end = {.QuadPart = (int64_t)store->size};
    return SetFilePointerEx(store->file, end, NULL, FILE_BEGIN) && (!flush || FlushFileBuffers(store->file));
}

static bool lies_inside(const mdc_staging_file *store, uint64_t offset, size_t size) {
    return offset <= store->size && size <= store->size - offset;
}

static OVERLAPPED place(uint64_t offset) {
    OVERLAPPED at;
    memset(&at, 0, sizeof at);
    at.Offset = (DWORD)offset;
    at.OffsetHigh = (DWORD)(offset >> 32);
    return at;
}

mdc_status mdc_staging_file_read(const mdc_staging_file *store, uint64_t offset, void *data, size_t size,
                                 mdc_error *err) {
    if (!lies_inside(store, offset, size))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0, "the dump ends before offset %llu + %zu",
                        (unsigned long long)offset, size);
    if (store->in_memory) {
        if (size != 0) memcpy(data, store->data + offset, size);
        return MDC_OK;
    }
    uint8_t *to = data;
    while (size > 0) {
        OVERLAPPED at = place(offset);
        DWORD done = 0;
        if (!ReadFile(store->file, to, size < PIECE ? (DWORD)size : PIECE, &done, &at) || done == 0)
            return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)GetLastError(),
                            "cannot read back what dbghelp wrote");
        to += done;
        offset += done;
        size -= done;
    }
    return MDC_OK;
}

mdc_status mdc_staging_file_overwrite(mdc_staging_file *store, uint64_t offset, const void *data, size_t size,
                                      mdc_error *err) {
    if (!lies_inside(store, offset, size))
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_FINISH, 0, "the dump ends before offset %llu + %zu",
                        (unsigned long long)offset, size);
    if (store->in_memory) {
        if (size != 0) memcpy(store->data + offset, data, size);
        return MDC_OK;
    }
    const uint8_t *from = data;
    while (size > 0) {
        OVERLAPPED at = place(offset);
        DWORD done = 0;
        if (!WriteFile(store->file, from, size < PIECE ? (DWORD)size : PIECE, &done, &at) || done == 0)
            return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)GetLastError(),
                            "cannot overwrite what a rule excludes in the file that dbghelp wrote");
        from += done;
        offset += done;
        size -= done;
    }
    return MDC_OK;
}
