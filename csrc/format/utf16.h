/* Bytes of Linux names (UTF-8, mostly) to UTF-16. */
#ifndef MDC_FORMAT_UTF16_H
#define MDC_FORMAT_UTF16_H

#include <stddef.h>
#include <stdint.h>

/* For strings in a dump: always valid UTF-16. Invalid UTF-8 (and NUL) becomes U+FFFD, one per odd byte. So does a
 * character beyond U+FFFF: Breakpad (2026) takes the low half of a surrogate pair for an error and drops the whole
 * module list. Longer texts keep their tail: at most `room` units. Returns the units written; no NUL is added. */
size_t mdc_utf16_text(const uint8_t *bytes, size_t size, uint16_t *out, size_t room);

/* For MINIDUMP_MODULE_CALLBACK.FullPath: nothing is lost. An invalid UTF-8 byte b becomes the lone surrogate
 * U+DC00 + b (U+DC80 to U+DCFF), as in Python's surrogateescape, so that a callee can restore the bytes. `out` needs
 * room for size + 1 units; a NUL is added. Returns the units before it. */
size_t mdc_utf16_path(const uint8_t *bytes, size_t size, uint16_t *out);
/* How many units it returns. */
size_t mdc_utf16_units(const uint8_t *bytes, size_t size);

#endif
