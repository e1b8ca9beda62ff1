/* Paths as the protocol carries them (UTF-16) back to the bytes that globs are written for. */
#ifndef MDC_FORMAT_UTF16_PATH_H
#define MDC_FORMAT_UTF16_PATH_H

#include <stddef.h>
#include <stdint.h>

/* Windows' longest path, units; a longer one is refused. */
#define MDC_PATH_UNITS_MAX ((size_t)32767)
/* What such a path can need, bytes: three per unit. */
#define MDC_PATH_BYTES_MAX (MDC_PATH_UNITS_MAX * 3)

/* Writes the path as UTF-8 to `out` (MDC_PATH_BYTES_MAX bytes) and returns its length; SIZE_MAX if it is too long.
 * Lone U+DC80..U+DCFF are the bytes 0x80..0xFF of a Linux path that is not UTF-8; any other lone surrogate
 * becomes three bytes as if it were a character. NULL is the empty path. */
size_t mdc_path_bytes(const uint16_t *path, uint8_t *out);

#endif
