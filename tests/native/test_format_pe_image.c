/* PE headers: a sound image, the same with every field wrong in turn, and noise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/format/pe_image.h"
#include "check.h"

enum {
    IMAGE = 0x4000,
    NT = 0x80,
    OPTIONAL = NT + 24,
    DEBUG = 0x1000,
    RSDS = 0x1100,
    RESOURCES = 0x2000,
    INFO = 0x2100
};

/* An image in memory; counts what is read. */
typedef struct bytes {
    const uint8_t *data;
    size_t size;
    size_t reads;
    uint64_t read_bytes;
} bytes;

static bool read_bytes(void *context, uint64_t offset, void *out, size_t size) {
    bytes *from = context;
    from->reads++;
    from->read_bytes += size;
    if (size > from->size || offset > from->size - size) return false;
    memcpy(out, from->data + offset, size);
    return true;
}

static void put16(uint8_t *image, size_t at, uint16_t value) { memcpy(image + at, &value, sizeof value); }
static void put32(uint8_t *image, size_t at, uint32_t value) { memcpy(image + at, &value, sizeof value); }

static void make(uint8_t *image, bool wide) {
    size_t directories = OPTIONAL + (wide ? 112 : 96);
    memset(image, 0, IMAGE);
    memcpy(image, "MZ", 2);
    put32(image, 60, NT);
    memcpy(image + NT, "PE\0\0", 4);
    put16(image, NT + 4, wide ? 0x8664 : 0x14C);
    put32(image, NT + 8, 0x5F000001);
    put16(image, NT + 20, wide ? 240 : 224);
    put16(image, OPTIONAL, wide ? 0x20B : 0x10B);
    put32(image, OPTIONAL + 56, IMAGE);
    put32(image, OPTIONAL + 64, 0xC0FFEE);
    put32(image, directories - 4, 16);
    put32(image, directories + 2 * 8, RESOURCES);
    put32(image, directories + 2 * 8 + 4, 0x1000);
    put32(image, directories + 6 * 8, DEBUG);
    put32(image, directories + 6 * 8 + 4, 2 * 28);
    put32(image, DEBUG + 12, 13); /* some other kind */
    put32(image, DEBUG + 28 + 12, 2);
    put32(image, DEBUG + 28 + 16, 24 + 6 + 10);
    put32(image, DEBUG + 28 + 20, RSDS);
    memcpy(image + RSDS, "RSDS", 4);
    for (uint8_t i = 0; i < 20; i++) image[RSDS + 4 + i] = (uint8_t)(i + 1);
    memcpy(image + RSDS + 24, "a.pdb", 6);
    put16(image, RESOURCES + 14, 2); /* two types: 3 and 16 */
    put32(image, RESOURCES + 16, 3);
    put32(image, RESOURCES + 20, 0x80000500u);
    put32(image, RESOURCES + 24, 16);
    put32(image, RESOURCES + 28, 0x80000040u);
    put16(image, RESOURCES + 0x40 + 14, 1);
    put32(image, RESOURCES + 0x40 + 16, 1);
    put32(image, RESOURCES + 0x40 + 20, 0x80000060u);
    put16(image, RESOURCES + 0x60 + 14, 1);
    put32(image, RESOURCES + 0x60 + 16, 1033);
    put32(image, RESOURCES + 0x60 + 20, 0x80);
    put32(image, RESOURCES + 0x80, INFO);
    put32(image, RESOURCES + 0x84, 0x200);
    put32(image, INFO + 40, 0xFEEF04BD);
    put32(image, INFO + 48, 0x000A0001);
}

static bool parse(mdc_pe_image *parsed, const uint8_t *image, size_t size, uint64_t limit) {
    bytes from = {image, size, 0, 0};
    bool sound = mdc_pe_image_read(parsed, read_bytes, &from, limit);
    /* However wrong the image: the reads are bounded. */
    CHECK(from.reads < 3 * 4096 + 200 && from.read_bytes < 1 << 20);
    CHECK(parsed->codeview_size <= sizeof parsed->codeview);
    return sound;
}

static void check_sound(const uint8_t *image, bool wide) {
    static mdc_pe_image parsed;
    CHECK(parse(&parsed, image, IMAGE, IMAGE));
    CHECK(parsed.wide == wide && parsed.machine == (wide ? 0x8664 : 0x14C));
    CHECK(parsed.size == IMAGE && parsed.checksum == 0xC0FFEE && parsed.timestamp == 0x5F000001);
    CHECK(parsed.codeview_size == 30 && memcmp(parsed.codeview, image + RSDS, 30) == 0);
    CHECK(parsed.version[0] == 0xFEEF04BD && parsed.version[2] == 0x000A0001);
}

/* What a change of 32 bits leaves. */
typedef struct outcome {
    bool sound, codeview, version;
} outcome;

static outcome with(uint8_t *image, size_t at, uint32_t value) {
    static mdc_pe_image parsed;
    uint32_t before;
    memcpy(&before, image + at, sizeof before);
    put32(image, at, value);
    bool sound = parse(&parsed, image, IMAGE, IMAGE);
    put32(image, at, before);
    return (outcome){sound, parsed.codeview_size != 0, parsed.version[0] != 0};
}

static bool is(outcome found, bool sound, bool codeview, bool version) {
    return found.sound == sound && found.codeview == codeview && found.version == version;
}

static void check_wrong(uint8_t *image) {
    size_t directories = OPTIONAL + 112;
    const uint32_t far_away[] = {IMAGE, IMAGE - 1, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu};
    for (size_t i = 0; i < sizeof far_away / sizeof far_away[0]; i++) {
        CHECK(is(with(image, 60, far_away[i]), false, false, false));
        CHECK(is(with(image, directories + 6 * 8, far_away[i]), true, false, true));
        CHECK(is(with(image, DEBUG + 28 + 20, far_away[i]), true, false, true));
        CHECK(is(with(image, directories + 2 * 8, far_away[i]), true, true, false));
        CHECK(is(with(image, RESOURCES + 28, far_away[i] | 0x80000000u), true, true, false));
        CHECK(is(with(image, RESOURCES + 0x80, far_away[i]), true, true, false));
    }
    CHECK(is(with(image, 0, 0), false, false, false));
    CHECK(is(with(image, NT, 0x4551), false, false, false));
    CHECK(is(with(image, OPTIONAL, 0x30B), false, false, false));
    CHECK(is(with(image, NT + 20, 71), false, false, false));
    CHECK(is(with(image, NT + 20, 0xFFFF), true, true, true));      /* longer than any: what is known is read */
    CHECK(is(with(image, directories - 4, 0), true, false, false)); /* no directories */
    CHECK(is(with(image, directories - 4, 6), true, false, true));  /* the debug directory is not among them */
    CHECK(is(with(image, directories - 4, 0xFFFFFFFFu), true, true, true));
    CHECK(is(with(image, OPTIONAL + 56, RSDS), true, false, false)); /* SizeOfImage ends before it */
    CHECK(is(with(image, DEBUG + 28 + 16, 29), true, false, true));  /* the path has no end */
    CHECK(is(with(image, DEBUG + 28 + 16, 24), true, false, true));
    CHECK(is(with(image, RSDS, 0x12345678), true, false, true));
    CHECK(is(with(image, RESOURCES + 12, 0xFFFFFFFFu), true, true, true));  /* more entries than there are */
    CHECK(is(with(image, RESOURCES + 28, 0x40), true, true, false));        /* a type that is no directory */
    CHECK(is(with(image, RESOURCES + 28, 0x80000000u), true, true, false)); /* a circle */
    CHECK(is(with(image, RESOURCES + 0x60 + 20, 0x80000000u), true, true, false));
    CHECK(is(with(image, RESOURCES + 0x84, 8), true, true, false)); /* too short for a version */
    CHECK(is(with(image, INFO + 40, 1), true, true, false));
}

/* A short or cut image, and one in which bytes are anything at all. */
static void check_noise(uint8_t *image) {
    static mdc_pe_image parsed;
    static uint8_t noisy[IMAGE];
    uint32_t seed = 1;
    for (size_t size = 0; size < IMAGE; size += 61) {
        (void)parse(&parsed, image, size, IMAGE); /* the rest cannot be read */
        bool sound = parse(&parsed, image, IMAGE, size);
        CHECK(sound == (size >= OPTIONAL + 240));
    }
    for (int round = 0; round < 20000; round++) {
        memcpy(noisy, image, IMAGE);
        for (int i = 0; i < 6; i++) {
            seed = seed * 1664525u + 1013904223u;
            size_t area = seed >> 30 == 0 ? RESOURCES : seed >> 30 == 1 ? DEBUG : seed >> 30 == 2 ? NT : RSDS;
            put32(noisy, area + (seed >> 8 & 0x7F) * 2, seed & 0x80 ? seed : seed & 0x3FFF);
        }
        (void)parse(&parsed, noisy, IMAGE, round % 2 == 0 ? IMAGE : UINT64_MAX);
    }
    for (size_t i = 0; i < IMAGE; i++) {
        seed = seed * 1664525u + 1013904223u;
        noisy[i] = (uint8_t)(seed >> 24);
    }
    CHECK(!parse(&parsed, noisy, IMAGE, IMAGE) && parsed.size == 0);
}

static void put_section(uint8_t *image, size_t number, uint32_t rva, uint32_t size, uint32_t raw, uint32_t flags) {
    size_t at = OPTIONAL + 240 + number * 40;
    put32(image, at + 8, size);
    put32(image, at + 12, rva);
    put32(image, at + 16, raw);
    put32(image, at + 36, flags);
}

static size_t list(mdc_pe_section *sections, const uint8_t *image, size_t size, uint64_t limit) {
    bytes from = {image, size, 0, 0};
    size_t count = mdc_pe_sections_read(sections, read_bytes, &from, limit);
    CHECK(from.reads <= 2 + 0xFFFF && count <= MDC_PE_SECTIONS_MAX);
    for (size_t i = 0; i < count; i++)
        CHECK(sections[i].size != 0 && sections[i].rva < limit && sections[i].size <= limit - sections[i].rva);
    return count;
}

static void check_sections(uint8_t *image) {
    static mdc_pe_section sections[MDC_PE_SECTIONS_MAX];
    put16(image, NT + 6, 5);
    put_section(image, 0, 0x1000, 0x234, 0, 0x60000020);
    put_section(image, 1, 0x2000, 0, 0x456, 0xC0000040);          /* VirtualSize 0: SizeOfRawData */
    put_section(image, 2, 0x3000, 0x8000, 0, 0x40000040);         /* ends with the image */
    put_section(image, 3, 0x7FFFFFF0, 0xFFFFFFFF, 0, 0xC0000040); /* outside */
    put_section(image, 4, 0x1000, 0, 0, 0xC0000040);              /* empty */
    CHECK(list(sections, image, IMAGE, IMAGE) == 3);
    CHECK(sections[0].rva == 0x1000 && sections[0].size == 0x234 && sections[0].flags == 0x60000020);
    CHECK(sections[1].rva == 0x2000 && sections[1].size == 0x456 && sections[1].flags == 0xC0000040);
    CHECK(sections[2].rva == 0x3000 && sections[2].size == 0x1000);
    CHECK(list(sections, image, OPTIONAL + 240 + 40, IMAGE) == 1); /* the other headers cannot be read */
    put16(image, NT + 6, 0xFFFF);
    CHECK(list(sections, image, IMAGE, IMAGE) >= 3);
    put16(image, NT + 20, 0xFFFF);
    CHECK(list(sections, image, IMAGE, IMAGE) == 0);
    put32(image, 60, 0xFFFFFFFF);
    CHECK(list(sections, image, IMAGE, IMAGE) == 0);
    make(image, true);
}

int main(void) {
    static uint8_t image[IMAGE];
    make(image, false);
    check_sound(image, false);
    make(image, true);
    check_sound(image, true);
    check_sections(image);
    check_wrong(image);
    check_noise(image);

    /* A path of any length up to the limit is kept whole; beyond it the record is left out. */
    static mdc_pe_image parsed;
    put32(image, DEBUG + 28 + 16, 0x2000);
    memset(image + RSDS + 24, 'p', 3000);
    image[RSDS + 24 + 3000] = 0;
    CHECK(parse(&parsed, image, IMAGE, IMAGE) && parsed.codeview_size == 24 + 3001);
    return failures == 0 ? 0 : 1;
}
