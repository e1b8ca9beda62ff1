/* Bytes to UTF-16: valid for files, lossless for callbacks. */
#include <stdio.h>
#include <string.h>

#include "../../csrc/format/utf16.h"
#include "check.h"

/* Both forms of `bytes` against what they shall be; `odd` units of `text` that represent odd bytes. */
static void expect(const char *bytes, size_t size, const uint16_t *text, size_t text_units, const uint16_t *path,
                   size_t units) {
    uint16_t out[64];
    CHECK(mdc_utf16_text((const uint8_t *)bytes, size, out, 64) == text_units);
    for (size_t i = 0; i < text_units; i++) CHECK(out[i] == text[i]);
    CHECK(mdc_utf16_path((const uint8_t *)bytes, size, out) == units);
    for (size_t i = 0; i < units; i++) CHECK(out[i] == path[i]);
    CHECK(out[units] == 0);
}

int main(void) {
#define UNITS(...) ((const uint16_t[]){__VA_ARGS__}), sizeof((const uint16_t[]){__VA_ARGS__}) / 2
#define SAME(bytes, ...) expect(bytes, sizeof bytes - 1, UNITS(__VA_ARGS__), UNITS(__VA_ARGS__))
    SAME("a/\xC3\xA4", 'a', '/', 0xE4);
    SAME("\xE2\x82\xAC\xF0\x9F\x98\x80", 0x20AC, 0xD83D, 0xDE00);
    SAME("\xEF\xBF\xBF\xF4\x8F\xBF\xBF", 0xFFFF, 0xDBFF, 0xDFFF);
    SAME("\xF0\x90\x80\x80", 0xD800, 0xDC00);
    expect("", 0, NULL, 0, NULL, 0);
#define ODD(bytes, text, ...)                                                                                          \
    expect(bytes, sizeof bytes - 1, text, sizeof((const uint16_t[]){__VA_ARGS__}) / 2, UNITS(__VA_ARGS__))
    static const uint16_t bad[] = {0xFFFD, 0xFFFD, 0xFFFD, 0xFFFD};
    static const uint16_t bad_a[] = {0xFFFD, 'a', 0xFFFD};
    ODD("\x80"
        "a"
        "\xFF",
        bad_a, 0xDC80, 'a', 0xDCFF);
    ODD("\xC0\xAF", bad, 0xDCC0, 0xDCAF); /* overlong */
    ODD("\xE0\x80\x80", bad, 0xDCE0, 0xDC80, 0xDC80);
    ODD("\xED\xA0\x80", bad, 0xDCED, 0xDCA0, 0xDC80);             /* a surrogate */
    ODD("\xF4\x90\x80\x80", bad, 0xDCF4, 0xDC90, 0xDC80, 0xDC80); /* beyond U+10FFFF */
    ODD("\xF0\x9F\x98", bad, 0xDCF0, 0xDC9F, 0xDC98);             /* cut off */

    uint8_t longer[3000];
    uint16_t out[1100];
    for (size_t i = 0; i < sizeof longer; i++) longer[i] = (uint8_t)('a' + i % 26);
    CHECK(mdc_utf16_text(longer, sizeof longer, out, 1024) == 1024);
    for (size_t i = 0; i < 1024; i++) CHECK(out[i] == longer[sizeof longer - 1024 + i]); /* the tail stays */
    memcpy(longer + sizeof longer - 1026, "\xF0\x9F\x98\x80", 4);                        /* 1,022 follow it */
    CHECK(mdc_utf16_text(longer, sizeof longer, out, 1024) == 1024 && out[0] == 0xD83D && out[1] == 0xDE00);
    for (size_t room = 1022; room < 1024; room++) /* no half of a pair */
        CHECK(mdc_utf16_text(longer, sizeof longer, out, room) == 1022 && out[0] == longer[sizeof longer - 1022]);
    CHECK(mdc_utf16_text((const uint8_t *)"a\0b", 3, out, 8) == 3 && out[1] == 0xFFFD);
    return failures != 0;
}
