/* UTF-8 to UTF-16 (see utf16.h). */
#include "utf16.h"

#include <stdbool.h>

int32_t mdc_utf8_decode(const uint8_t *bytes, size_t size, size_t *length) {
    uint8_t lead = bytes[0];
    *length = 1;
    if (lead < 0x80) return lead;
    size_t more = lead >= 0xC2 && lead <= 0xDF ? 1 : (lead & 0xF0) == 0xE0 ? 2 : lead >= 0xF0 && lead <= 0xF4 ? 3 : 0;
    if (more == 0 || more >= size) return MDC_UTF8_ODD_BYTE;
    int32_t code = lead & (0x3F >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((bytes[i] & 0xC0) != 0x80) return MDC_UTF8_ODD_BYTE;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xD800 && code <= 0xDFFF))) return MDC_UTF8_ODD_BYTE;
    if (more == 3 && (code < 0x10000 || code > 0x10FFFF)) return MDC_UTF8_ODD_BYTE;
    *length = more + 1;
    return code;
}

/* Returns the units. */
static size_t put(int32_t code, uint16_t *out) {
    if (code < 0x10000) {
        out[0] = (uint16_t)code;
        return 1;
    }
    out[0] = (uint16_t)(0xD800 + ((code - 0x10000) >> 10));
    out[1] = (uint16_t)(0xDC00 + ((code - 0x10000) & 0x3FF));
    return 2;
}

size_t mdc_utf16_units(const uint8_t *bytes, size_t size) {
    size_t units = 0, length;
    for (size_t at = 0; at < size; at += length)
        units += mdc_utf8_decode(bytes + at, size - at, &length) < 0x10000 ? 1 : 2;
    return units;
}

size_t mdc_utf16_text(const uint8_t *bytes, size_t size, uint16_t *out, size_t room) {
    size_t units = mdc_utf16_units(bytes, size), written = 0, length;
    for (size_t at = 0; at < size; at += length) {
        int32_t code = mdc_utf8_decode(bytes + at, size - at, &length);
        bool head = units > room; /* which goes */
        units -= code < 0x10000 ? 1 : 2;
        if (!head) written += put(code > 0 ? code : 0xFFFD, out + written);
    }
    return written;
}

size_t mdc_utf16_path(const uint8_t *bytes, size_t size, uint16_t *out) {
    size_t written = 0, length;
    for (size_t at = 0; at < size; at += length) {
        int32_t code = mdc_utf8_decode(bytes + at, size - at, &length);
        written += put(code == MDC_UTF8_ODD_BYTE ? 0xDC00 + bytes[at] : code, out + written);
    }
    out[written] = 0;
    return written;
}
