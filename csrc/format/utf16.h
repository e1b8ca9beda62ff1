/* Bytes of Linux names (UTF-8, mostly) to UTF-16. */
#ifndef MDC_FORMAT_UTF16_H
#define MDC_FORMAT_UTF16_H

#include <stddef.h>
#include <stdint.h>

enum { MDC_UTF8_ODD_BYTE = -1 };
/* The character at bytes[0] (size is not 0), and how many bytes it has. MDC_UTF8_ODD_BYTE and 1 for invalid UTF-8:
 * overlong forms, surrogates, beyond U+10FFFF, cut sequences (Unicode, table 3-7). */
int32_t mdc_utf8_decode(const uint8_t *bytes, size_t size, size_t *length);

/* For strings in a dump: always valid UTF-16. Invalid UTF-8 (and NUL) becomes U+FFFD, one per odd byte. Longer texts
 * keep their tail: at most `room` units, and no half of a surrogate pair. Returns the units written; no NUL is added.
 */
size_t mdc_utf16_text(const uint8_t *bytes, size_t size, uint16_t *out, size_t room);

/* For MINIDUMP_MODULE_CALLBACK.FullPath: nothing is lost. An invalid UTF-8 byte b becomes the lone surrogate
 * U+DC00 + b (U+DC80 to U+DCFF), as in Python's surrogateescape, so that a callee can restore the bytes. `out` needs
 * room for size + 1 units; a NUL is added. Returns the units before it. */
size_t mdc_utf16_path(const uint8_t *bytes, size_t size, uint16_t *out);
/* How many units it returns. */
size_t mdc_utf16_units(const uint8_t *bytes, size_t size);

#endif
