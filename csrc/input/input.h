/* A file that is read at any offset: a core, a minidump. */
#ifndef MDC_INPUT_INPUT_H
#define MDC_INPUT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_input mdc_input;

/* Duplicates the descriptor, on Windows the HANDLE, of a regular file, whose position is neither used nor changed. */
mdc_input *mdc_input_new(int64_t fd, mdc_error *err);
/* NULL is allowed. */
void mdc_input_free(mdc_input *input);
/* Bytes, as they were at mdc_input_new: a file that grows later does not. */
uint64_t mdc_input_size(const mdc_input *input);
/* Reads [offset, offset + size). Returns how many bytes from the start were read; less than size: *os_errno is the
 * system's error number, or 0 at the end of the file. */
size_t mdc_input_read(const mdc_input *input, uint64_t offset, void *buffer, size_t size, int32_t *os_errno);
/* Where the hole, or the data, that begins at `offset` ends, at most at `end`. Data wherever the system does not say
 * it. The last run is remembered, because tmpfs looks at each page of it. */
uint64_t mdc_input_run(mdc_input *input, uint64_t offset, uint64_t end, bool *hole);

enum { MDC_WINDOW_BYTES = 1 << 16 };

/* A part of the file in memory, for the many small reads of a parser. */
typedef struct mdc_window {
    const mdc_input *input;
    uint8_t *bytes; /* MDC_WINDOW_BYTES */
    uint64_t first; /* offset of the first */
    size_t count;
} mdc_window;

mdc_status mdc_window_init(mdc_window *window, const mdc_input *input, mdc_error *err);
void mdc_window_fini(mdc_window *window);
/* [offset, offset + size) of the file, at most MDC_WINDOW_BYTES; valid until the next call. NULL with the error, which
 * names `what` and the offset, if the file ends before or cannot be read. */
const uint8_t *mdc_window_get(mdc_window *window, uint64_t offset, size_t size, const char *what, mdc_error *err);

#endif
