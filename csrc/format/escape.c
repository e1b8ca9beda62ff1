/* Octal escapes (see escape.h). */
#include "escape.h"

#include <string.h>

#include "utf16.h"

enum { LAST_CONTROL = 0x9F, LINE_SEPARATOR = 0x2028, PARAGRAPH_SEPARATOR = 0x2029, DELETE = 0x7F };

/* The character at bytes[0], whose bytes are escaped or not, all of them. */
static bool escaped(const uint8_t *bytes, size_t size, mdc_escape what, size_t *length) {
    *length = 1;
    if (bytes[0] < DELETE) return bytes[0] < ' ' && (bytes[0] != '\n' || what == MDC_ESCAPE_ASCII);
    if (what == MDC_ESCAPE_ASCII || bytes[0] == DELETE) return true;
    int32_t code = mdc_utf8_decode(bytes, size, length);
    return code <= LAST_CONTROL || code == LINE_SEPARATOR || code == PARAGRAPH_SEPARATOR;
}

/* Whether eight bytes are ASCII without controls, or not seen at once to be. */
static bool plain8(const uint8_t *bytes) {
    const uint64_t ones = UINT64_MAX / 0xFF;
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    uint64_t below = word - ones * ' ', deleted = (word ^ ones * DELETE) - ones;
    return ((below | deleted | word) & ones * 0x80) == 0;
}

bool mdc_escape_needed(const uint8_t *bytes, size_t size, mdc_escape what) {
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        /* Plain ASCII, mostly: 1 MiB for 20,000 mappings. */
        while (size - at >= 8 && plain8(bytes + at)) at += 8;
        while (at < size && bytes[at] >= ' ' && bytes[at] < DELETE) at++;
        if (at == size) break;
        if (escaped(bytes + at, size - at, what, &length)) return true;
    }
    return false;
}

mdc_status mdc_escape_text(mdc_vec *out, const uint8_t *bytes, size_t size, mdc_escape what, mdc_error *err) {
    size_t length, plain = 0; /* where what was not appended yet begins */
    for (size_t at = 0; at < size; at += length) {
        if (!escaped(bytes + at, size - at, what, &length)) continue;
        if (mdc_vec_push(out, bytes + plain, at - plain, NULL, err) != MDC_OK) return err->code;
        for (size_t i = at; i < at + length; i++) {
            const uint8_t octal[] = {'\\', (uint8_t)('0' + (bytes[i] >> 6)), (uint8_t)('0' + (bytes[i] >> 3 & 7)),
                                     (uint8_t)('0' + (bytes[i] & 7))};
            if (mdc_vec_push(out, octal, sizeof octal, NULL, err) != MDC_OK) return err->code;
        }
        plain = at + length;
    }
    return mdc_vec_push(out, bytes + plain, size - plain, NULL, err);
}
