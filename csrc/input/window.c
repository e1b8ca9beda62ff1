#include <inttypes.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/vec.h"
#include "input.h"

mdc_status mdc_window_init(mdc_window *window, const mdc_input *input, mdc_error *err) {
    *window = (mdc_window){.input = input, .bytes = mdc_alloc(1, MDC_WINDOW_BYTES, err)};
    return window->bytes != NULL ? MDC_OK : err->code;
}

void mdc_window_fini(mdc_window *window) {
    mdc_dealloc(window->bytes);
    window->bytes = NULL;
}

const uint8_t *mdc_window_get(mdc_window *window, uint64_t offset, size_t size, const char *what, mdc_error *err) {
    uint64_t end, all = mdc_input_size(window->input);
    if (!mdc_add_u64(offset, size, &end) || end > all || size > MDC_WINDOW_BYTES) {
        mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, 0,
                 "%s: %zu bytes at offset 0x%" PRIx64 " are not in the file, which has %" PRIu64, what, size, offset,
                 all);
        return NULL;
    }
    if (offset < window->first || end > window->first + window->count) {
        int32_t os_errno = 0;
        size_t wanted = (size_t)mdc_min_u64(all - offset, MDC_WINDOW_BYTES);
        window->first = offset;
        window->count = mdc_input_read(window->input, offset, window->bytes, wanted, &os_errno);
        if (window->count < size) {
            window->count = 0;
            mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_OPEN, os_errno, "%s: cannot read %zu bytes at offset 0x%" PRIx64,
                     what, size, offset);
            return NULL;
        }
    }
    return window->bytes + (offset - window->first);
}
