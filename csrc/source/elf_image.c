/* ELF images in memory and in files (see elf_image.h). */
#include "elf_image.h"

#include <string.h>

#include "../base/arith.h"
#include "../format/elf_notes.h"

enum {
    NOTES_MAX = 8,       /* note segments looked at */
    NOTE_BYTES = 4096,   /* of each; real ones have a few hundred */
    SECTIONS_MAX = 1024, /* real programs have about forty */
    DYNAMIC_MAX = 256,   /* entries of the dynamic section; real ones have about thirty */
    TEXT_BYTES = 4096,
    TEXT_ID = 16,

    TAG_NULL = 0,
    TAG_STRTAB = 5,
    TAG_STRSZ = 10,
    TAG_SONAME = 14
};

/* Bytes from the start that could be read. */
static mdc_status read_some(const mdc_image_reader *from, uint64_t offset, void *to, size_t size, size_t *done,
                            mdc_error *err) {
    uint64_t address;
    *done = 0;
    if (!mdc_add_u64(from->base, offset, &address)) return MDC_OK;
    return from->read(from->context, address, to, size, done, err);
}

mdc_status mdc_image_read(const mdc_image_reader *from, uint64_t offset, void *to, size_t size, bool *read,
                          mdc_error *err) {
    size_t done;
    mdc_status status = read_some(from, offset, to, size, &done, err);
    *read = status == MDC_OK && done == size;
    return status;
}

/* Headers that say there are no sections, or too many of them for their fields, are taken as without. */
static void take_sections(mdc_elf_image *image, const mdc_elf_header *header) {
    image->section_count = 0;
    if (header->section_size != mdc_elf_section_size(header->wide) || header->name_section >= header->section_count)
        return;
    image->sections = header->sections;
    image->section_count = header->section_count < SECTIONS_MAX ? header->section_count : SECTIONS_MAX;
    image->name_section = header->name_section;
}

/* The same where the beginning of the image has been read. */
static mdc_status read_known(const mdc_image_reader *from, const mdc_elf_image *image, uint64_t offset, void *to,
                             size_t size, bool *read, mdc_error *err) {
    if (offset > image->head_size || size > image->head_size - offset)
        return mdc_image_read(from, offset, to, size, read, err);
    memcpy(to, image->head + offset, size);
    *read = true;
    return MDC_OK;
}

mdc_status mdc_elf_image_read(const mdc_image_reader *from, mdc_elf_image *image, mdc_error *err) {
    const bool wide = !from->narrow;
    uint8_t bytes[MDC_ELF_HEADER_MAX], table[MDC_ELF_HEADERS_MAX * MDC_ELF_SEGMENT_MAX];
    mdc_elf_header header;
    bool read;
    size_t head;
    image->valid = image->dos = false;
    image->head_size = 0;
    mdc_status status = read_some(from, 0, image->head, sizeof image->head, &head, err);
    if (status != MDC_OK || head < mdc_elf_header_size(wide)) return status;
    image->head_size = (uint32_t)head;
    memcpy(bytes, image->head, mdc_elf_header_size(wide));
    image->dos = bytes[0] == 'M' && bytes[1] == 'Z';
    const size_t size = mdc_elf_segment_size(wide);
    if (!mdc_elf_header_parse(bytes, mdc_elf_header_size(wide), &header) || header.wide != wide ||
        header.segment_size != size || header.segment_count == 0)
        return MDC_OK;
    image->count = header.segment_count < MDC_ELF_HEADERS_MAX ? header.segment_count : MDC_ELF_HEADERS_MAX;
    status = read_known(from, image, header.segments, table, image->count * size, &read, err);
    if (!read) return status;
    image->first = UINT64_MAX;
    image->end = 0;
    for (uint32_t i = 0; i < image->count; i++) {
        mdc_elf_segment *load = &image->headers[i];
        uint64_t end;
        mdc_elf_segment_parse(table + i * size, wide, load);
        if (load->type != MDC_ELF_LOAD || !mdc_add_u64(load->address, load->memory_size, &end)) continue;
        image->first = mdc_min_u64(image->first, mdc_page_down(load->address));
        image->end = mdc_max_u64(image->end, mdc_page_up(end));
    }
    image->valid = image->first < image->end;
    take_sections(image, &header);
    return MDC_OK;
}

/* ---- sections of a file ---- */

/* The first section of this type with this name; sh_size 0: there is none. */
static mdc_status read_section(const mdc_image_reader *from, uint64_t offset, mdc_elf_section *section, bool *read,
                               mdc_error *err) {
    uint8_t bytes[MDC_ELF_SECTION_MAX];
    mdc_status status = mdc_image_read(from, offset, bytes, mdc_elf_section_size(!from->narrow), read, err);
    if (*read) mdc_elf_section_parse(bytes, !from->narrow, section);
    return status;
}

static mdc_status find_section(const mdc_image_reader *from, const mdc_elf_image *image, uint32_t type,
                               const char *name, mdc_elf_section *found, mdc_error *err) {
    mdc_elf_section names, section;
    char text[32];
    const size_t length = strlen(name) + 1, size = mdc_elf_section_size(!from->narrow);
    bool read;
    memset(found, 0, sizeof *found);
    if (image->section_count == 0 || image->sections > INT64_MAX) return MDC_OK;
    const uint64_t all = image->sections;
    mdc_status status = read_section(from, all + image->name_section * size, &names, &read, err);
    for (uint32_t i = 0; status == MDC_OK && read && i < image->section_count; i++) {
        uint64_t at;
        status = read_section(from, all + i * size, &section, &read, err);
        if (!read || section.type != type || section.size == 0 || section.name >= names.size ||
            !mdc_add_u64(names.offset, section.name, &at))
            continue;
        bool named;
        status = mdc_image_read(from, at, text, length, &named, err);
        if (!named || memcmp(text, name, length) != 0) continue;
        *found = section;
        break;
    }
    return status;
}

static mdc_status read_notes(const mdc_image_reader *from, const mdc_elf_image *image, uint64_t offset, uint64_t bytes,
                             mdc_module *module, mdc_error *err) {
    uint8_t notes[NOTE_BYTES];
    bool read;
    size_t size = (size_t)mdc_min_u64(bytes, sizeof notes);
    mdc_status status = read_known(from, image, offset, notes, size, &read, err);
    if (read) module->build_id_size = (uint32_t)mdc_elf_build_id(notes, size, module->build_id);
    return status;
}

mdc_status mdc_elf_image_build_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                  mdc_error *err) {
    int seen = 0;
    for (uint32_t i = 0; i < image->count && seen < NOTES_MAX && module->build_id_size == 0; i++) {
        const mdc_elf_segment *note = &image->headers[i];
        if (note->type != MDC_ELF_NOTE || note->file_size == 0) continue;
        seen++;
        /* Addresses in an image count from where it was linked to. */
        uint64_t offset = from->file ? note->offset : note->address - image->first;
        mdc_status status = read_notes(from, image, offset, note->file_size, module, err);
        if (status != MDC_OK) return status;
    }
    if (!from->file || module->build_id_size != 0) return MDC_OK;
    mdc_elf_section section;
    mdc_status status = find_section(from, image, MDC_ELF_SECTION_NOTE, ".note.gnu.build-id", &section, err);
    if (status != MDC_OK || section.size == 0) return status;
    return read_notes(from, image, section.offset, section.size, module, err);
}

mdc_status mdc_elf_image_text_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                 mdc_error *err) {
    uint8_t text[TEXT_BYTES] = {0}, id[TEXT_ID] = {0}, any = 0;
    mdc_elf_section section;
    size_t done;
    mdc_status status = find_section(from, image, MDC_ELF_SECTION_PROGBITS, ".text", &section, err);
    if (status == MDC_OK && section.size == 0)
        status = find_section(from, image, MDC_ELF_SECTION_PROGBITS, "text", &section, err);
    if (status != MDC_OK || section.size == 0) return status;
    /* In whole units: of a short section, what follows it in the file is part of the last. */
    size_t size = ((size_t)mdc_min_u64(section.size, sizeof text) + TEXT_ID - 1) & ~(size_t)(TEXT_ID - 1);
    status = read_some(from, section.offset, text, size, &done, err);
    if (status != MDC_OK || done == 0) return status;
    for (size_t i = 0; i < size; i++) id[i % TEXT_ID] ^= text[i];
    for (size_t i = 0; i < TEXT_ID; i++) any |= id[i];
    if (any == 0) return MDC_OK;
    memcpy(module->build_id, id, sizeof id);
    module->build_id_size = sizeof id;
    module->hashed = 1;
    return MDC_OK;
}

mdc_status mdc_elf_image_identify(const mdc_image_reader *file, mdc_module *module, mdc_error *err) {
    mdc_elf_image image;
    mdc_status status = mdc_elf_image_read(file, &image, err);
    if (status == MDC_OK && image.valid) status = mdc_elf_image_build_id(file, &image, module, err);
    if (status == MDC_OK && image.valid && module->build_id_size == 0)
        status = mdc_elf_image_text_id(file, &image, module, err);
    return status;
}

/* ---- the dynamic section of an image in memory ---- */

/* Where in the image an address of its dynamic section lies: glibc has added the base to it, musl has not. */
static bool offset_of(const mdc_image_reader *from, const mdc_elf_image *image, uint64_t address, uint64_t *offset) {
    const uint64_t size = image->end - image->first;
    *offset = address - from->base;
    if (address >= from->base && *offset < size) return true;
    *offset = address - image->first;
    return address >= image->first && *offset < size;
}

mdc_status mdc_elf_image_soname(const mdc_image_reader *from, const mdc_elf_image *image,
                                uint8_t name[MDC_ELF_NAME_MAX], size_t *size, mdc_error *err) {
    uint8_t entries[DYNAMIC_MAX * MDC_ELF_DYNAMIC_MAX];
    const mdc_elf_segment *dynamic = NULL;
    const size_t each = mdc_elf_entry_size(!from->narrow);
    uint64_t soname = 0, table = 0, table_size = 0, at;
    size_t done;
    *size = 0;
    for (uint32_t i = 0; i < image->count && dynamic == NULL; i++)
        if (image->headers[i].type == MDC_ELF_DYNAMIC) dynamic = &image->headers[i];
    if (dynamic == NULL || dynamic->address < image->first) return MDC_OK;
    size_t bytes = (size_t)mdc_min_u64(dynamic->memory_size, DYNAMIC_MAX * each);
    mdc_status status = read_some(from, dynamic->address - image->first, entries, bytes, &done, err);
    for (size_t i = 0; i < done / each; i++) {
        mdc_elf_entry entry;
        mdc_elf_entry_parse(entries + i * each, !from->narrow, &entry);
        if (entry.tag == TAG_NULL) break;
        if (entry.tag == TAG_SONAME) soname = entry.value;
        if (entry.tag == TAG_STRTAB) table = entry.value;
        if (entry.tag == TAG_STRSZ) table_size = entry.value;
    }
    if (status != MDC_OK || soname == 0 || soname >= table_size || !offset_of(from, image, table, &at) ||
        !mdc_add_u64(at, soname, &at))
        return status;
    status = read_some(from, at, name, (size_t)mdc_min_u64(table_size - soname, MDC_ELF_NAME_MAX), &done, err);
    if (status != MDC_OK) return status;
    const uint8_t *end = memchr(name, '\0', done);
    if (end != NULL && memchr(name, '/', (size_t)(end - name)) == NULL) *size = (size_t)(end - name);
    return MDC_OK;
}
