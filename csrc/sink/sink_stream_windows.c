/* Everything that is only written forwards: pipes, sockets, consoles, devices, files that may only be appended to.
 *
 * A reader that stalls must not hold the worker longer than the dump control allows. A handle opened for overlapped I/O
 * is waited for in slices. Any other write blocks until the reader has taken it all, and only another thread can cancel
 * it (CancelSynchronousIo): a thread of the sink watches the dump control for this. Switching a pipe to PIPE_NOWAIT
 * instead would change it for all its users. */
#include <inttypes.h>

#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/thread.h"
#include "../base/vec.h"
#include "sink_windows.h"

enum {
    SLICE_MS = 50,         /* how long a stalled reader can hide a cancel or a deadline */
    PIECE_BYTES = 1 << 15, /* consoles before Windows 8 take less than 64 KiB at once */
    PIECE_MIN = 512,
    WATCHER_STACK = 1 << 16,
    ZERO_BYTES = 1 << 14
};

static const uint8_t ZEROS[ZERO_BYTES];

typedef struct stream_sink {
    mdc_sink_base base;
    mdc_dump_control *control;
    HANDLE handle;
    HANDLE event; /* of the write */
    bool durable; /* flushing means something */
    /* Of a stream that can stall. */
    HANDLE watcher; /* the thread, NULL until the first write */
    HANDLE over;    /* event: the watcher shall end */
    mdc_lock lock;
    HANDLE writer; /* under the lock: the thread that is in a write now, else NULL */
} stream_sink;

static bool has_to_end(mdc_dump_control *control) {
    mdc_error unused;
    mdc_error_clear(&unused);
    return mdc_control_check(control, &unused) != MDC_OK;
}

/* Calls the write off as often as it takes: a call that comes before the write has reached the system does nothing. */
static DWORD WINAPI watch(void *argument) {
    stream_sink *stream = argument;
    while (WaitForSingleObject(stream->over, SLICE_MS) == WAIT_TIMEOUT) {
        if (!has_to_end(stream->control)) continue;
        mdc_lock_enter(&stream->lock);
        /* Held until it has returned: the writer cannot be in anything but that write. */
        if (stream->writer != NULL) CancelSynchronousIo(stream->writer);
        mdc_lock_leave(&stream->lock);
    }
    return 0;
}

static void set_writer(stream_sink *stream, HANDLE writer) {
    mdc_lock_enter(&stream->lock);
    stream->writer = writer;
    mdc_lock_leave(&stream->lock);
}

/* At most a piece of it; 0 and the bytes taken, or the error. */
static DWORD attempt(stream_sink *stream, const uint8_t *data, size_t size, DWORD *done) {
    OVERLAPPED operation;
    /* All ones: the end of the file. Other handles only accept offset 0. */
    DWORD os_errno =
        mdc_handle_write(stream->handle, stream->event, stream->durable ? UINT64_MAX : 0, data, size, done, &operation);
    if (os_errno != ERROR_IO_PENDING) return os_errno;
    while (WaitForSingleObject(stream->event, SLICE_MS) == WAIT_TIMEOUT)
        if (has_to_end(stream->control)) CancelIoEx(stream->handle, &operation);
    return GetOverlappedResult(stream->handle, &operation, done, TRUE) ? 0 : GetLastError();
}

static void stream_fail(stream_sink *stream, DWORD os_errno) {
    bool closed = os_errno == ERROR_BROKEN_PIPE || os_errno == ERROR_NO_DATA || os_errno == ERROR_PIPE_NOT_CONNECTED;
    /* Called off by the watcher: then the reason is the error. */
    if (os_errno == ERROR_OPERATION_ABORTED && mdc_control_check(stream->control, &stream->base.fault) != MDC_OK)
        return;
    mdc_fail(&stream->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, (int32_t)os_errno, "%s the output at offset %" PRIu64,
             closed ? "the reader closed" : "cannot write", stream->base.sink.position);
}

/* false with the fault filled. */
static bool start_watcher(stream_sink *stream) {
    if (stream->watcher != NULL || stream->durable) return true;
    stream->watcher = CreateThread(NULL, WATCHER_STACK, watch, stream, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (stream->watcher == NULL)
        mdc_fail(&stream->base.fault, MDC_ERR_NOMEM, MDC_PHASE_WRITE, (int32_t)GetLastError(),
                 "cannot start the thread that watches the output");
    return stream->watcher != NULL;
}

/* Writes all of it, or fails into the fault; the position counts what went out. data NULL: zeros. */
static void put(stream_sink *stream, const uint8_t *data, uint64_t size) {
    HANDLE self;
    DWORD os_errno = 0;
    size_t piece = data != NULL ? PIECE_BYTES : ZERO_BYTES;
    if (!DuplicateHandle(GetCurrentProcess(), GetCurrentThread(), GetCurrentProcess(), &self, THREAD_TERMINATE, FALSE,
                         0)) {
        stream_fail(stream, GetLastError());
        return;
    }
    while (size > 0 && os_errno == 0 && mdc_control_check(stream->control, &stream->base.fault) == MDC_OK) {
        DWORD done = 0;
        set_writer(stream, self);
        os_errno = attempt(stream, data != NULL ? data : ZEROS, size < piece ? (size_t)size : piece, &done);
        set_writer(stream, NULL);
        if (os_errno == 0 && done == 0) {
            /* A pipe that is PIPE_NOWAIT already says so that it is full. It may have room for less. */
            if (piece > PIECE_MIN) piece /= 2;
            Sleep(SLICE_MS / 10);
        }
        if (done > 0) mdc_control_step(stream->control);
        if (data != NULL) data += done;
        size -= done;
        stream->base.sink.position += done;
    }
    CloseHandle(self);
    if (os_errno != 0) stream_fail(stream, os_errno);
}

static mdc_status stream_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    (void)planned, (void)written;
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status stream_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    if (mdc_sink_accepts(&stream->base, size) && mdc_sink_passes(&stream->base, "write:chunk") && size > 0 &&
        start_watcher(stream))
        put(stream, data, size);
    return mdc_sink_status(&stream->base, err);
}

static mdc_status stream_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    if (mdc_sink_accepts(&stream->base, size) && size > 0 && start_watcher(stream)) put(stream, NULL, size);
    return mdc_sink_status(&stream->base, err);
}

static mdc_status stream_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)data;
    mdc_sink_accepts_patch((mdc_sink_base *)sink, offset, size); /* never: fills the fault */
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status stream_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    /* Only of a file: on a pipe it would wait until the reader has read everything. */
    if (mdc_sink_finishes(&stream->base) && mdc_sink_passes(&stream->base, "sink:finish") && flush && stream->durable &&
        !FlushFileBuffers(stream->handle))
        mdc_fail(&stream->base.fault, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)GetLastError(),
                 "cannot flush the output");
    return mdc_sink_status(&stream->base, err);
}

static void stream_free(mdc_sink *sink) {
    stream_sink *stream = (stream_sink *)sink;
    if (stream->watcher != NULL) {
        SetEvent(stream->over);
        WaitForSingleObject(stream->watcher, INFINITE);
        CloseHandle(stream->watcher);
    }
    if (stream->over != NULL) CloseHandle(stream->over);
    if (stream->event != NULL) CloseHandle(stream->event);
    mdc_lock_fini(&stream->lock);
    mdc_dealloc(stream);
}

static const mdc_sink_ops STREAM_OPS = {stream_begin, stream_write,  stream_hole,
                                        stream_patch, stream_finish, stream_free};

mdc_sink *mdc_sink_stream_new(HANDLE handle, bool durable, mdc_dump_control *control, mdc_error *err) {
    stream_sink *stream = mdc_alloc(1, sizeof *stream, err);
    if (stream == NULL) return NULL;
    if (mdc_lock_init(&stream->lock, err) != MDC_OK) {
        mdc_dealloc(stream);
        return NULL;
    }
    mdc_sink_setup(&stream->base, &STREAM_OPS, false, false);
    stream->control = control;
    stream->handle = handle;
    stream->durable = durable;
    stream->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    stream->over = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (stream->event != NULL && stream->over != NULL) return &stream->base.sink;
    mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_OPEN, (int32_t)GetLastError(), "cannot make an event");
    stream_free(&stream->base.sink);
    return NULL;
}
