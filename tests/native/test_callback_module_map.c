/* Modules by address, overlapping as they like, against looking through all of them; paths from UTF-16 to bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/callback/module_map.h"
#include "../../csrc/format/utf16_path.h"
#include "check.h"

enum { ENTRIES = 12, SPACE = 64 };

static uint64_t state = 0xA0761D6478BD642Fu;
static unsigned roll(unsigned bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % bound;
}

static void overlapping(void) {
    mdc_error err = {.code = MDC_OK};
    mdc_module_table map;
    REQUIRE(mdc_module_table_init(&map, ENTRIES, &err) == MDC_OK);
    for (int round = 0; round < 20000; round++) {
        uint64_t first[ENTRIES], size[ENTRIES], base = roll(2) ? 0x1000 : (uint64_t)0 - SPACE;
        uint32_t row[ENTRIES], count = roll(ENTRIES + 1);
        mdc_module_table_clear(&map);
        for (uint32_t i = 0; i < count; i++) {
            first[i] = base + roll(SPACE);
            size[i] = roll(20);
            if (size[i] > 0 - first[i]) size[i] = 0 - first[i]; /* equal ends compare as equal */
            row[i] = roll(4);
            REQUIRE(mdc_module_table_enter(&map, first[i], size[i], row[i]));
            if (roll(4) == 0) mdc_module_table_seal(&map); /* a question in between */
        }
        mdc_module_table_seal(&map);
        REQUIRE(map.segments >= 1 && map.start[0] == 0 && map.start[map.segments] == 0);
        for (uint32_t i = 1; i < map.segments; i++) REQUIRE(map.start[i] > map.start[i - 1]);
        for (uint64_t offset = 0; offset < SPACE; offset++) {
            uint64_t address = base + offset;
            uint32_t expected = 0, best = ENTRIES, segment = map.segments - 1;
            for (uint32_t i = 0; i < count; i++) {
                if (address < first[i] || address - first[i] >= size[i]) continue;
                if (best == ENTRIES || first[i] > first[best] || (first[i] == first[best] && size[i] <= size[best]))
                    best = i;
            }
            if (best < ENTRIES) expected = row[best];
            while (map.start[segment] > address) segment--;
            REQUIRE(map.row[segment] == expected);
        }
    }
    for (uint32_t i = map.count; i < ENTRIES; i++) REQUIRE(mdc_module_table_enter(&map, i, 1, 1));
    REQUIRE(!mdc_module_table_enter(&map, 1, 1, 1) && mdc_module_table_enter(&map, 1, 0, 1));
    mdc_module_table_fini(&map);
}

static void path(const uint16_t *units, const char *expected) {
    static uint8_t out[MDC_PATH_BYTES_MAX];
    size_t size = mdc_path_bytes(units, out);
    REQUIRE(size == strlen(expected) && memcmp(out, expected, size) == 0);
}

static void paths(void) {
    path(NULL, "");
    path((const uint16_t[]){0}, "");
    path((const uint16_t[]){'/', 0xE9, 0x20AC, 0xD83D, 0xDE00, 0}, "/\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    path((const uint16_t[]){0xDC80, 0xDCFF, 'a', 0}, "\x80\xFF"
                                                     "a"); /* odd bytes of a Linux path */
    path((const uint16_t[]){0xD800, 'a', 0xDC00, 0}, "\xED\xA0\x80"
                                                     "a\xED\xB0\x80"); /* half characters */
    path((const uint16_t[]){'a', 0xD83D, 0}, "a\xED\xA0\xBD");
    uint16_t *longest = calloc(MDC_PATH_UNITS_MAX + 2, sizeof *longest);
    uint8_t *out = malloc(MDC_PATH_BYTES_MAX); /* exactly: a sanitizer sees one byte too many */
    for (size_t i = 0; i < MDC_PATH_UNITS_MAX; i++) longest[i] = 0x20AC;
    REQUIRE(mdc_path_bytes(longest, out) == MDC_PATH_BYTES_MAX);
    longest[MDC_PATH_UNITS_MAX - 1] = 0xD83D;
    longest[MDC_PATH_UNITS_MAX] = 0xDE00;
    REQUIRE(mdc_path_bytes(longest, out) == SIZE_MAX);
    free(longest);
    free(out);
}

int main(void) {
    overlapping();
    paths();
    return 0;
}
