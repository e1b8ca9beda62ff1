/* UTF-16 of Windows to the bytes names are kept as: UTF-8, where a lone surrogate becomes the three bytes of its number
 * (WTF-8), so that different names stay different. */
#ifndef MDC_FORMAT_WTF8_H
#define MDC_FORMAT_WTF8_H

#include <stddef.h>
#include <stdint.h>

/* Most bytes one unit can take; a pair takes four. */
enum { MDC_WTF8_PER_UNIT = 3 };

/* Writes what fits into `room` bytes, whole characters only; returns the bytes written. No NUL is added. */
size_t mdc_wtf8_from_utf16(const uint16_t *units, size_t count, uint8_t *out, size_t room);

#endif
