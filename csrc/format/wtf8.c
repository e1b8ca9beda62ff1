/* UTF-16 to WTF-8 (see wtf8.h). */
#include "wtf8.h"

#include <stdbool.h>

static size_t encode(uint32_t code, uint8_t *out) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (uint8_t)(lead[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++) out[i] = (uint8_t)(0x80 | (code >> (6 * (more - i)) & 0x3F));
    return more + 1;
}

size_t mdc_wtf8_from_utf16(const uint16_t *units, size_t count, uint8_t *out, size_t room) {
    size_t written = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t code = units[i];
        bool pair = code >= 0xD800 && code < 0xDC00 && i + 1 < count && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000;
        if (pair) code = 0x10000 + ((code - 0xD800) << 10) + (units[++i] - 0xDC00u);
        uint8_t bytes[4];
        size_t size = encode(code, bytes);
        if (size > room - written) break;
        for (size_t j = 0; j < size; j++) out[written + j] = bytes[j];
        written += size;
    }
    return written;
}
