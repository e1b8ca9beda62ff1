#include "buffered_output.h"

#include <string.h>

#include "../base/arith.h"

mdc_status mdc_out_flush(mdc_out *out, mdc_error *err) {
    size_t size = out->used;
    out->used = 0;
    if (size == 0) return MDC_OK;
    if (!out->patching) return out->sink->ops->write(out->sink, out->buffer, size, err);
    uint64_t offset = out->offset;
    out->offset += size;
    return out->sink->ops->patch(out->sink, offset, out->buffer, size, err);
}

mdc_status mdc_out_put(mdc_out *out, const void *data, uint64_t size, mdc_error *err) {
    const uint8_t *from = data;
    while (size > 0) {
        if (out->used == out->room && mdc_out_flush(out, err) != MDC_OK) return err->code;
        size_t part = (size_t)mdc_min_u64(size, out->room - out->used);
        if (from != NULL)
            memcpy(out->buffer + out->used, from, part);
        else
            memset(out->buffer + out->used, 0, part);
        if (from != NULL) from += part;
        out->used += part;
        size -= part;
    }
    return MDC_OK;
}

mdc_status mdc_out_pad_to(mdc_out *out, uint64_t offset, mdc_error *err) {
    uint64_t here = (out->patching ? out->offset : out->sink->position) + out->used;
    return here < offset ? mdc_out_put(out, NULL, offset - here, err) : MDC_OK;
}
