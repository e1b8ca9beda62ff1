/* UTF-8 to UTF-16 (see utf16.h). */
#include "utf16.h"

#include <stdbool.h>

enum { ODD_BYTE = -1 };

/* The character at bytes[0], and how many bytes it has. ODD_BYTE and 1 for invalid UTF-8: overlong forms,
 * surrogates, beyond U+10FFFF, cut sequences (Unicode, table 3-7). */
static int32_t decode(const uint8_t *bytes, size_t size, size_t *length) {
    uint8_t lead = bytes[0];
    *length = 1;
    if (lead < 0x80) return lead;
    size_t more = lead >= 0xC2 && lead <= 0xDF ? 1 : (lead & 0xF0) == 0xE0 ? 2 : lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
    if (more == 0 || more >= size) return ODD_BYTE;
    int32_t code = lead & (0x3F >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((bytes[i] & 0xC0) != 0x80) return ODD_BYTE;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) return ODD_BYTE;
    if (more == 3 && (code < 0x10000 || code > 0x10FFFF)) return ODD_BYTE;
    *length = more + 1;
    return code;
}

size_t mdc_utf16_text(const uint8_t *bytes, size_t size, uint16_t *out, size_t room) {
    size_t units = 0, written = 0, length;
    for (size_t at = 0; at < size; at += length, units++) (void)decode(bytes + at, size - at, &length);
    for (size_t at = 0; at < size; at += length, units--) {
        int32_t code = decode(bytes + at, size - at, &length);
        if (units > room) continue; /* of the head, which goes */
        bool plain = code != ODD_BYTE && code != 0 && code < 0x10000;
        out[written++] = plain ? (uint16_t)code : 0xFFFD;
    }
    return written;
}

size_t mdc_utf16_path(const uint8_t *bytes, size_t size, uint16_t *out) {
    size_t written = 0, length;
    for (size_t at = 0; at < size; at += length) {
        int32_t code = decode(bytes + at, size - at, &length);
        if (code < 0x10000) {
            out[written++] = (uint16_t)(code == ODD_BYTE ? 0xDC00 + bytes[at] : code);
        } else {
            out[written++] = (uint16_t)(0xD800 + ((code - 0x10000) >> 10));
            out[written++] = (uint16_t)(0xDC00 + ((code - 0x10000) & 0x3FF));
        }
    }
    out[written] = 0;
    return written;
}

size_t mdc_utf16_units(const uint8_t *bytes, size_t size) {
    size_t units = 0, length;
    for (size_t at = 0; at < size; at += length) units += decode(bytes + at, size - at, &length) < 0x10000 ? 1 : 2;
    return units;
}
