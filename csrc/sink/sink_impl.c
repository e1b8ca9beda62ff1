/* What the sinks of this room share (see sink_impl.h). */
#include "sink_impl.h"

#include <inttypes.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/os_error.h"

void mdc_sink_setup(mdc_sink_base *base, const mdc_sink_ops *ops, bool patchable, bool sparse) {
    base->sink.ops = ops;
    base->sink.patchable = patchable;
    base->sink.sparse = sparse;
    base->sink.fd = -1;
    base->sink.position = 0;
    base->finished = false;
    mdc_error_clear(&base->fault);
}

mdc_status mdc_sink_status(const mdc_sink_base *base, mdc_error *err) {
    if (base->fault.code != MDC_OK && err->code == MDC_OK) *err = base->fault;
    return base->fault.code;
}

bool mdc_sink_accepts(mdc_sink_base *base, uint64_t size) {
    if (base->fault.code != MDC_OK) return false;
    uint64_t end;
    if (base->finished)
        mdc_fail(&base->fault, MDC_ERR_INVALID, MDC_PHASE_WRITE, 0, "the output is finished and accepts no more bytes");
    else if (!mdc_add_u64(base->sink.position, size, &end) || end > INT64_MAX) /* off_t */
        mdc_fail(&base->fault, MDC_ERR_SINK, MDC_PHASE_WRITE, MDC_OS_TOO_LARGE,
                 "the output would become longer than any file: %" PRIu64 " bytes after offset %" PRIu64, size,
                 base->sink.position);
    return base->fault.code == MDC_OK;
}

bool mdc_sink_accepts_patch(mdc_sink_base *base, uint64_t offset, uint64_t size) {
    if (base->fault.code != MDC_OK) return false;
    uint64_t end;
    if (!base->sink.patchable || base->finished || !mdc_add_u64(offset, size, &end) || end > base->sink.position)
        mdc_fail(&base->fault, MDC_ERR_INVALID, MDC_PHASE_WRITE, 0,
                 "%" PRIu64 " bytes at offset %" PRIu64 " of the output cannot be written again: %s", size, offset,
                 !base->sink.patchable ? "it is a stream"
                 : base->finished      ? "it is finished"
                                       : "they have not been written yet");
    return base->fault.code == MDC_OK;
}

bool mdc_sink_finishes(mdc_sink_base *base) {
    if (base->finished || base->fault.code != MDC_OK) return false;
    base->finished = true;
    return true;
}

bool mdc_sink_passed(mdc_sink_base *base, int os_errno) {
    if (os_errno == 0) return true;
    mdc_fail(&base->fault, MDC_ERR_SINK, base->finished ? MDC_PHASE_FINISH : MDC_PHASE_WRITE, os_errno,
             "writing the output failed at offset %" PRIu64, base->sink.position);
    return false;
}
