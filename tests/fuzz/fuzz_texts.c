/* libFuzzer: what a target tells as text or image: lines of maps and smaps, stat, ELF notes, PE headers, names in UTF-8
 * and UTF-16. The first byte says which. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/base/vec.h"
#include "../../csrc/format/elf_notes.h"
#include "../../csrc/format/map_line.h"
#include "../../csrc/format/pe_image.h"
#include "../../csrc/format/utf16.h"
#include "../../csrc/format/wtf8.h"
#include "../../csrc/linux/process.h"
#include "bytes.h"

enum { PE_READS_MAX = 3 * 4096 + 200 };

static void require(bool sound, const char *text) {
    if (sound) return;
    fprintf(stderr, "%s\n", text);
    abort();
}

/* A block of its exact size, so that ASan sees what lies beyond. */
static uint8_t *exact(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size + (size == 0));
    if (size != 0) memcpy(copy, data, size);
    return copy;
}

static void fuzz_line(const uint8_t *data, size_t size) {
    uint8_t *line = exact(data, size);
    mdc_map_record record;
    if (mdc_map_parse(line, size, &record)) {
        require(record.first < record.end, "an empty mapping");
        require(record.name >= line && record.name + record.name_size <= line + size, "a name outside its line");
    }
    free(line);
}

static void fuzz_stat(const uint8_t *data, size_t size) {
    mdc_process_stat stat;
    int file = memfd_create("stat", MFD_CLOEXEC);
    require(file >= 0 && write(file, data, size) == (ssize_t)size && lseek(file, 0, SEEK_SET) == 0, "no memfd");
    if (mdc_process_parse_stat(file, &stat) == 0) require(stat.name_size <= sizeof stat.name, "a name too long");
    close(file);
}

static void fuzz_notes(const uint8_t *data, size_t size) {
    uint8_t id[MDC_BUILD_ID_MAX], *notes = exact(data, size);
    require(mdc_elf_build_id(notes, size, id) <= sizeof id, "a build id too long");
    free(notes);
}

typedef struct image {
    const uint8_t *data;
    size_t size, reads;
} image;

static bool read_image(void *context, uint64_t offset, void *out, size_t size) {
    image *of = context;
    of->reads++;
    if (offset > of->size || size > of->size - offset) return false;
    memcpy(out, of->data + offset, size);
    return true;
}

static void fuzz_pe(const uint8_t *data, size_t size) {
    image of = {data, size, 0};
    mdc_pe_image found;
    (void)mdc_pe_image_read(&found, read_image, &of, size > 8 && (data[2] & 1) ? UINT64_MAX : size);
    require(of.reads <= PE_READS_MAX, "too many reads");
    require(found.codeview_size <= MDC_PE_CODEVIEW_MAX, "a CodeView record too long");
}

static void fuzz_names(const uint8_t *data, size_t size) {
    if (size < 2) return;
    size_t room = data[0], units;
    uint8_t *text = exact(data + 1, size - 1);
    uint16_t *some = malloc(room * 2 + 1), *all = malloc(size * 2);
    units = mdc_utf16_text(text, size - 1, some, room);
    require(units <= room, "more units than room");
    for (size_t i = 0; i < units; i++) {
        if (some[i] < 0xD800 || some[i] > 0xDFFF) continue;
        require(some[i] < 0xDC00 && i + 1 < units && some[i + 1] >= 0xDC00 && some[i + 1] <= 0xDFFF, "half a pair");
        i++;
    }
    units = mdc_utf16_path(text, size - 1, all);
    require(units <= size - 1, "more units than bytes");
    uint8_t *back = malloc(units * 3 + 1);
    require(mdc_wtf8_from_utf16(all, units, back, units * 3) <= units * 3, "more bytes than room");
    (void)mdc_wtf8_from_utf16(all, units, back, room < units * 3 ? room : units * 3);
    free(back);
    free(all);
    free(some);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parts[])(const uint8_t *, size_t) = {fuzz_line, fuzz_stat, fuzz_notes, fuzz_pe, fuzz_names};
    if (size == 0) return 0;
    parts[data[0] % (sizeof parts / sizeof parts[0])](data + 1, size - 1);
    return 0;
}
