/* The callee takes the bytes itself: IoWriteAll (12) and IoFinish (13).
 *
 * IoWriteAll comes with ascending offsets, so that a stream can take it (dbghelp goes back and forth, and a callee has
 * to be ready for that); IoFinish is sent once, and not after a failed IoWriteAll (dbghelp sends it then too). Status
 * counts only together with a return of TRUE. A failing HRESULT in Status is the error, anything else that is not S_OK
 * becomes E_FAIL. Neither type carries ProcessId and ProcessHandle, as observed of dbghelp. */
#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"
#include "sink_impl.h"

enum { PIECE_BYTES = 1 << 20, ZERO_BYTES = 4096 };

static const uint8_t ZEROS[ZERO_BYTES];

typedef struct io_sink {
    mdc_sink_base base;
    MINIDUMP_CALLBACK_INFORMATION callback;
    void *handle;
    uint64_t *calls;
    /* All of its 1312 bytes: a callee may copy the whole union. Aligned as the allocator does on every system. */
    _Alignas(2 * sizeof(void *)) MINIDUMP_CALLBACK_INPUT input;
    _Alignas(2 * sizeof(void *)) MINIDUMP_CALLBACK_OUTPUT output;
} io_sink;

/* Sends one callback; false with the fault filled. */
static bool ask(io_sink *io, uint32_t type, uint64_t offset, const uint8_t *data, uint32_t size) {
    memset(&io->input, 0, sizeof io->input); /* the last callee may have scribbled */
    memset(&io->output, 0, sizeof io->output);
    io->input.CallbackType = type;
    io->input.u.Io.Handle = io->handle;
    io->input.u.Io.Offset = offset;
    io->input.u.Io.Buffer = data;
    io->input.u.Io.BufferBytes = size;
    io->output.Status = (int32_t)MDC_E_FAIL;
    if (io->calls != NULL) io->calls[type]++;
    int32_t handled = io->callback.CallbackRoutine(io->callback.CallbackParam, &io->input, &io->output);
    int32_t answer = io->output.Status;
    if (handled != 0 && answer == (int32_t)MDC_S_OK) return true;
    bool finish = type == MDC_CB_IO_FINISH;
    mdc_fail(&io->base.fault, MDC_ERR_SINK, finish ? MDC_PHASE_FINISH : MDC_PHASE_WRITE, 0,
             "the callback refused %s (%u) at offset %" PRIu64 ": it returned %s, Status 0x%08X",
             finish ? "IoFinish" : "IoWriteAll", (unsigned)type, io->base.sink.position,
             handled != 0 ? "TRUE" : "FALSE", (unsigned)answer);
    io->base.fault.callback_type = (int32_t)type;
    io->base.fault.hresult = answer < 0 ? (uint32_t)answer : MDC_E_FAIL;
    return false;
}

static mdc_status io_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    (void)planned, (void)written;
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status io_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    io_sink *io = (io_sink *)sink;
    const uint8_t *next = data;
    if (mdc_sink_accepts(&io->base, size) && mdc_sink_passes(&io->base, "write:chunk")) {
        while (size > 0) {
            uint32_t piece = size < PIECE_BYTES ? (uint32_t)size : PIECE_BYTES;
            if (!ask(io, MDC_CB_IO_WRITE_ALL, sink->position, next, piece)) break;
            sink->position += piece;
            next += piece;
            size -= piece;
        }
    }
    return mdc_sink_status(&io->base, err);
}

static mdc_status io_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    io_sink *io = (io_sink *)sink;
    if (mdc_sink_accepts(&io->base, size)) {
        while (size > 0) {
            uint32_t piece = (uint32_t)mdc_min_u64(size, ZERO_BYTES);
            if (!ask(io, MDC_CB_IO_WRITE_ALL, sink->position, ZEROS, piece)) break;
            sink->position += piece;
            size -= piece;
        }
    }
    return mdc_sink_status(&io->base, err);
}

static mdc_status io_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)data;
    mdc_sink_accepts_patch((mdc_sink_base *)sink, offset, size); /* never: fills the fault */
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status io_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    io_sink *io = (io_sink *)sink;
    (void)flush;
    if (mdc_sink_finishes(&io->base) && mdc_sink_passes(&io->base, "sink:finish"))
        ask(io, MDC_CB_IO_FINISH, 0, NULL, 0); /* only Handle has a meaning here */
    return mdc_sink_status(&io->base, err);
}

static void io_free(mdc_sink *sink) { mdc_dealloc(sink); }

static const mdc_sink_ops IO_OPS = {io_begin, io_write, io_hole, io_patch, io_finish, io_free};

mdc_sink *mdc_sink_io_new(const MINIDUMP_CALLBACK_INFORMATION *callback, void *handle, uint64_t *calls,
                          mdc_error *err) {
    io_sink *io = mdc_alloc(1, sizeof *io, err);
    if (io == NULL) return NULL;
    mdc_sink_setup(&io->base, &IO_OPS, false, false);
    io->callback = *callback;
    io->handle = handle;
    io->calls = calls;
    return &io->base.sink;
}
