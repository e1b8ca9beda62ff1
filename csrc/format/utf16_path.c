/* UTF-16 paths to bytes (see utf16_path.h). */
#include "utf16_path.h"

#include <string.h>

static uint16_t unit(const uint16_t *path, size_t at) {
    uint16_t value; /* FullPath need not be aligned inside a packed struct's neighbourhood */
    memcpy(&value, (const char *)path + at * sizeof value, sizeof value);
    return value;
}

size_t mdc_path_bytes(const uint16_t *path, uint8_t *out) {
    size_t size = 0;
    if (path == NULL) return 0;
    for (size_t at = 0;; at++) {
        uint32_t c = unit(path, at);
        if (c == 0) return size;
        if (at >= MDC_PATH_UNITS_MAX) return SIZE_MAX;
        if (c < 0x80) {
            out[size++] = (uint8_t)c;
            continue;
        }
        if (c >= 0xDC80 && c <= 0xDCFF) {
            out[size++] = (uint8_t)(c - 0xDC00);
            continue;
        }
        if (c >= 0xD800 && c <= 0xDBFF) {
            uint32_t low = unit(path, at + 1);
            if (low >= 0xDC00 && low <= 0xDFFF && at + 1 < MDC_PATH_UNITS_MAX) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                at++;
                out[size++] = (uint8_t)(0xF0 | c >> 18);
                out[size++] = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
                out[size++] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
                out[size++] = (uint8_t)(0x80 | (c & 0x3F));
                continue;
            }
        }
        if (c < 0x800) {
            out[size++] = (uint8_t)(0xC0 | c >> 6);
        } else {
            out[size++] = (uint8_t)(0xE0 | c >> 12);
            out[size++] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        }
        out[size++] = (uint8_t)(0x80 | (c & 0x3F));
    }
}
