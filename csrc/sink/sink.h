/* Where the bytes of a dump go. The engine writes forwards, once: every write and hole continues where the last one
 * ended. Only a patchable sink may be gone back into, for a few small patches at the end.
 * The first fault of a sink stays: later calls do nothing and return it. */
#ifndef MDC_SINK_SINK_H
#define MDC_SINK_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"
#include "../api/minidump_protocol.h"
#include "../base/dump_control.h"

typedef struct mdc_sink mdc_sink;

typedef struct mdc_sink_ops {
    /* Announces the final length, as far as planned, and how many bytes of it will really be written (the rest
     * are holes): the sink may reserve room (fallocate). Optional advice; a failure such as ENOSPC is final. */
    mdc_status (*begin)(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err);
    mdc_status (*write)(mdc_sink *sink, const void *data, size_t size, mdc_error *err);
    /* `size` bytes that read as zero: a hole where the sink has holes, written zeros elsewhere. */
    mdc_status (*hole)(mdc_sink *sink, uint64_t size, mdc_error *err);
    /* Only if patchable: overwrites [offset, offset + size), all of it already written. */
    mdc_status (*patch)(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err);
    /* The dump is complete: sets the length (truncating the rest of a reused descriptor), flushes on request. */
    mdc_status (*finish)(mdc_sink *sink, bool flush, mdc_error *err);
    void (*free)(mdc_sink *sink); /* does not close what it did not open */
} mdc_sink_ops;

struct mdc_sink {
    const mdc_sink_ops *ops;
    bool patchable;  /* patch works */
    bool sparse;     /* hole makes a hole */
    bool late_parts; /* and takes nothing, and patch no more than write: much may be left open and patched later */
    bool flushes; /* finish() will be asked to flush: set before begin(), so that writes may go to the disk at once */
    intptr_t fd;  /* the descriptor or HANDLE it writes to, -1 if there is none: Io.Handle of callees that write */
    uint64_t position; /* bytes written and holes so far: offset in the dump of the next byte */
};

/* A descriptor, on Windows a HANDLE. A regular file opened without O_APPEND is patchable and (where the file system
 * can) sparse, and offsets count from its present position; everything else (pipe, socket, terminal, device, O_APPEND)
 * is a stream. Writing to a stream whose reader stalls gives up when the dump control is aborted or its deadline
 * passes, without changing the descriptor's flags for other users. */
mdc_sink *mdc_sink_fd_new(intptr_t fd, mdc_dump_control *control, mdc_error *err);

/* A growing block of memory, at most `limit` bytes; patchable and sparse only in the sense of zeros. */
mdc_sink *mdc_sink_memory_new(uint64_t limit, mdc_error *err);
const uint8_t *mdc_sink_memory_data(const mdc_sink *sink, size_t *size);

/* A stream of IoStart (already answered S_FALSE), IoWriteAll and IoFinish callbacks. `handle` is Io.Handle. */
mdc_sink *mdc_sink_io_new(const MINIDUMP_CALLBACK_INFORMATION *callback, void *handle,
                          uint64_t *calls /* [32], counted up */, mdc_error *err);

/* Counts and throws away. */
mdc_sink *mdc_sink_null_new(mdc_error *err);

#endif
