/* A file that can be written anywhere: holes are left out, patches go back.
 *
 * Offsets count from the handle's initial position. Every write names its offset; on a handle that was not opened for
 * overlapped I/O the file pointer follows, and is set to the end of the dump when that is complete.
 * A hole needs a volume with sparse files: elsewhere zeros are written, because what is left out would be filled by the
 * system at once, or (FAT) not be defined. */
#include <inttypes.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"
#include "sink_windows.h"

enum {
    RESERVE_MIN = 1 << 20, /* bytes; below that a reservation is not worth its system calls */
    ZERO_BYTES = 1 << 14,
    QUOTA_EXCEEDED = 1295 /* ERROR_DISK_QUOTA_EXCEEDED, which not every winerror.h has */
};

static const uint8_t ZEROS[ZERO_BYTES];

typedef struct file_sink {
    mdc_sink_base base;
    HANDLE handle;
    HANDLE event;
    uint64_t origin;   /* offset in the file of the dump's first byte */
    uint64_t old_size; /* bytes of an earlier content that may still be there */
    bool marked;       /* FSCTL_SET_SPARSE was sent */
} file_sink;

/* A disk that is full has several names. */
static bool is_full(DWORD os_errno) {
    return os_errno == ERROR_DISK_FULL || os_errno == ERROR_HANDLE_DISK_FULL || os_errno == QUOTA_EXCEEDED ||
           os_errno == ERROR_FILE_TOO_LARGE;
}

static DWORD set_length(const file_sink *file, uint64_t length) {
    FILE_END_OF_FILE_INFO end;
    end.EndOfFile.QuadPart = (LONGLONG)length;
    return SetFileInformationByHandle(file->handle, FileEndOfFileInfo, &end, sizeof end) ? 0 : GetLastError();
}

static mdc_status file_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    /* With holes there is no one run to reserve. Less than the file has now would cut it off. */
    if (planned == written && planned >= RESERVE_MIN && mdc_sink_accepts(&file->base, planned) &&
        planned <= INT64_MAX - file->origin && file->origin + planned > file->old_size) {
        FILE_ALLOCATION_INFO room;
        room.AllocationSize.QuadPart = (LONGLONG)(file->origin + planned);
        BOOL reserved = SetFileInformationByHandle(file->handle, FileAllocationInfo, &room, sizeof room);
        DWORD os_errno = reserved ? 0 : GetLastError();
        if (is_full(os_errno))
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, (int32_t)os_errno,
                     "not enough space for a dump of %" PRIu64 " bytes", planned);
        /* Anything else: this file system does not reserve; the writes may fail. */
    }
    return mdc_sink_status(&file->base, err);
}

/* Writes all of it. */
static void put(file_sink *file, uint64_t offset, const uint8_t *data, size_t size) {
    DWORD os_errno = 0;
    if (offset > INT64_MAX - file->origin || size > INT64_MAX - file->origin - offset) os_errno = ERROR_FILE_TOO_LARGE;
    while (size > 0 && os_errno == 0) {
        OVERLAPPED operation;
        DWORD done;
        os_errno = mdc_handle_write(file->handle, file->event, file->origin + offset, data, size, &done, &operation);
        if (os_errno == ERROR_IO_PENDING)
            os_errno = GetOverlappedResult(file->handle, &operation, &done, TRUE) ? 0 : GetLastError();
        if (os_errno == 0 && done == 0) os_errno = ERROR_WRITE_FAULT;
        if (os_errno == 0) {
            data += done;
            size -= done;
            offset += done;
        }
    }
    if (os_errno != 0)
        mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, (int32_t)os_errno,
                 "cannot write the output at offset %" PRIu64, offset);
}

static mdc_status file_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_accepts(&file->base, size) && mdc_sink_passes(&file->base, "write:chunk")) {
        put(file, sink->position, data, size);
        if (file->base.fault.code == MDC_OK) sink->position += size;
    }
    return mdc_sink_status(&file->base, err);
}

/* A refusal costs only room: on a volume that has sparse files, what is left out reads as zero in any case. */
static void mark_sparse(const file_sink *file) {
    OVERLAPPED operation = {.hEvent = (HANDLE)((ULONG_PTR)file->event | 1)}; /* as in mdc_handle_write */
    DWORD unused;
    if (!DeviceIoControl(file->handle, FSCTL_SET_SPARSE, NULL, 0, NULL, 0, &unused, &operation) &&
        GetLastError() == ERROR_IO_PENDING)
        GetOverlappedResult(file->handle, &operation, &unused, TRUE);
}

/* Leaves out `size` bytes at this offset of the file. */
static void leave_out(file_sink *file, uint64_t at, uint64_t size) {
    DWORD os_errno = 0;
    if (!file->marked) mark_sparse(file);
    file->marked = true;
    if (at < file->old_size) {
        os_errno = set_length(file, at); /* a reused file: its old bytes would show through the hole */
        file->old_size = at;
    }
    if (size > INT64_MAX - at) os_errno = ERROR_FILE_TOO_LARGE;
    if (os_errno != 0)
        mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, (int32_t)os_errno,
                 "cannot leave out %" PRIu64 " bytes of the output at offset %" PRIu64, size, file->base.sink.position);
    else
        file->base.sink.position += size;
}

static mdc_status file_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_accepts(&file->base, size) && size > 0) {
        if (sink->sparse) leave_out(file, file->origin + sink->position, size);
        while (!sink->sparse && size > 0 && file->base.fault.code == MDC_OK) {
            size_t part = size < ZERO_BYTES ? (size_t)size : ZERO_BYTES;
            put(file, sink->position, ZEROS, part);
            if (file->base.fault.code == MDC_OK) sink->position += part;
            size -= part;
        }
    }
    return mdc_sink_status(&file->base, err);
}

static mdc_status file_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_accepts_patch(&file->base, offset, size) && mdc_sink_passes(&file->base, "write:patch"))
        put(file, offset, data, size);
    return mdc_sink_status(&file->base, err);
}

static mdc_status file_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_finishes(&file->base) && mdc_sink_passes(&file->base, "sink:finish")) {
        LARGE_INTEGER end = {.QuadPart = (LONGLONG)(file->origin + sink->position)};
        const char *what = "set the length of";
        DWORD os_errno = set_length(file, (uint64_t)end.QuadPart);
        if (os_errno == 0 && !SetFilePointerEx(file->handle, end, NULL, FILE_BEGIN)) {
            os_errno = GetLastError();
            what = "move to the end of";
        } else if (os_errno == 0 && flush && !FlushFileBuffers(file->handle)) {
            os_errno = GetLastError();
            what = "flush";
        }
        if (os_errno != 0)
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)os_errno, "cannot %s the output",
                     what);
    }
    return mdc_sink_status(&file->base, err);
}

static void file_free(mdc_sink *sink) {
    CloseHandle(((file_sink *)sink)->event);
    mdc_dealloc(sink);
}

static const mdc_sink_ops FILE_OPS = {file_begin, file_write, file_hole, file_patch, file_finish, file_free};

static bool has_sparse_files(HANDLE handle) {
    DWORD flags;
    return GetVolumeInformationByHandleW(handle, NULL, 0, NULL, NULL, &flags, NULL, 0) &&
           (flags & FILE_SUPPORTS_SPARSE_FILES) != 0;
}

mdc_sink *mdc_sink_file_new(HANDLE handle, uint64_t size, uint64_t position, mdc_error *err) {
    file_sink *file = mdc_alloc(1, sizeof *file, err);
    if (file == NULL) return NULL;
    mdc_sink_setup(&file->base, &FILE_OPS, true, has_sparse_files(handle));
    file->handle = handle;
    file->origin = position;
    file->old_size = size;
    file->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (file->event != NULL) return &file->base.sink;
    mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot make an event");
    mdc_dealloc(file);
    return NULL;
}
