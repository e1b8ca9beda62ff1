/* Bytes that readers of a text may not take, written as the kernel writes newlines in its own (seq_path of
 * fs/seq_file.c): a backslash and three octal digits for each byte. A backslash stays as it is. */
#ifndef MDC_FORMAT_ESCAPE_H
#define MDC_FORMAT_ESCAPE_H

#include <stdbool.h>

#include "../base/vec.h"

typedef enum mdc_escape {
    MDC_ESCAPE_LINES, /* controls except newlines, what else breaks lines in Unicode, and invalid UTF-8 */
    MDC_ESCAPE_ASCII  /* all but printable ASCII */
} mdc_escape;

/* Whether anything is to be escaped. */
bool mdc_escape_needed(const uint8_t *bytes, size_t size, mdc_escape what);
/* Appends the bytes, escaped, to out (uint8_t). */
mdc_status mdc_escape_text(mdc_vec *out, const uint8_t *bytes, size_t size, mdc_escape what, mdc_error *err);

#endif
