/* Collects small pieces in the one buffer, and writes them forwards or as patches. */
#ifndef MDC_ENGINE_BUFFERED_OUTPUT_H
#define MDC_ENGINE_BUFFERED_OUTPUT_H

#include "../sink/sink.h"

typedef struct mdc_out {
    mdc_sink *sink;
    uint8_t *buffer;
    size_t room; /* bytes */
    size_t used;
    bool patching;
    uint64_t offset; /* of the next patch */
} mdc_out;

mdc_status mdc_out_put(mdc_out *out, const void *data, uint64_t size, mdc_error *err); /* data NULL: zeros */
/* Zeros up to the offset. */
mdc_status mdc_out_pad_to(mdc_out *out, uint64_t offset, mdc_error *err);
mdc_status mdc_out_flush(mdc_out *out, mdc_error *err);

#endif
