/* UTF-16 of Windows to the bytes of names. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/format/utf16.h"
#include "../../csrc/format/wtf8.h"
#include "check.h"

static void expect(const uint16_t *units, size_t count, const char *bytes) {
    uint8_t out[64];
    size_t size = mdc_wtf8_from_utf16(units, count, out, sizeof out);
    CHECK(size == strlen(bytes) && memcmp(out, bytes, size) == 0);
}

int main(void) {
    expect((const uint16_t[]){'C', ':', '\\', 'a'}, 4, "C:\\a");
    expect((const uint16_t[]){0xE4, 0x7FF, 0x800, 0xFFFF}, 4, "\xC3\xA4\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF");
    expect((const uint16_t[]){0xD83D, 0xDE00}, 2, "\xF0\x9F\x98\x80");
    expect((const uint16_t[]){0xDBFF, 0xDFFF}, 2, "\xF4\x8F\xBF\xBF");
    /* Lone surrogates stay apart from each other: first half, second half, both in the wrong order, one at the end. */
    expect((const uint16_t[]){0xD800, 'x'}, 2, "\xED\xA0\x80x");
    expect((const uint16_t[]){0xDC00, 0xD800}, 2, "\xED\xB0\x80\xED\xA0\x80");
    expect((const uint16_t[]){'x', 0xDBFF}, 2, "x\xED\xAF\xBF");
    expect((const uint16_t[]){0}, 0, "");

    /* Every unit comes back through the other direction, but for surrogates. */
    for (uint32_t unit = 1; unit < 0x10000; unit++) {
        uint16_t one = (uint16_t)unit, back[8];
        uint8_t out[MDC_WTF8_PER_UNIT];
        size_t size = mdc_wtf8_from_utf16(&one, 1, out, sizeof out);
        size_t units = mdc_utf16_path(out, size, back);
        bool surrogate = unit >= 0xD800 && unit < 0xE000;
        CHECK(size > 0 && (surrogate || (units == 1 && back[0] == one)));
    }

    /* Only whole characters, and nothing beyond the room. */
    uint8_t small[8];
    for (size_t room = 0; room < 5; room++) {
        memset(small, 0xAA, sizeof small);
        size_t size = mdc_wtf8_from_utf16((const uint16_t[]){'a', 0xD83D, 0xDE00}, 3, small, room);
        CHECK(size == (room == 0 ? 0 : 1) && small[room] == 0xAA);
    }
    return failures == 0 ? 0 : 1;
}
