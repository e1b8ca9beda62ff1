/* ELF images in memory and in files (see elf_image.h). */
#include "elf_image.h"

#include <string.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../format/elf_notes.h"

enum {
    NOTES_MAX = 8,       /* note segments looked at */
    NOTE_BYTES = 4096,   /* of each; real ones have a few hundred */
    SECTIONS_MAX = 1024, /* real programs have about forty */
    DYNAMIC_MAX = 256,   /* entries of the dynamic section; real ones have about thirty */
    TEXT_BYTES = 4096,
    TEXT_ID = 16
};

/* Bytes from the start that could be read. */
static mdc_status read_some(const mdc_image_reader *from, uint64_t offset, void *to, size_t size, size_t *done,
                            mdc_error *err) {
    mdc_span span = {.size = size};
    *done = 0;
    if (!mdc_add_u64(from->base, offset, &span.address)) return MDC_OK;
    if (from->fd >= 0) {
        ssize_t got = span.address <= INT64_MAX ? pread(from->fd, to, size, (off_t)span.address) : 0;
        *done = got > 0 ? (size_t)got : 0;
        return MDC_OK;
    }
    int32_t os_errno;
    return mdc_memory_read(from->memory, from->mappings, &span, 1, to, done, &os_errno, err);
}

mdc_status mdc_image_read(const mdc_image_reader *from, uint64_t offset, void *to, size_t size, bool *read,
                          mdc_error *err) {
    size_t done;
    mdc_status status = read_some(from, offset, to, size, &done, err);
    *read = status == MDC_OK && done == size;
    return status;
}

/* Headers that say there are no sections, or too many of them for their fields, are taken as without. */
static void take_sections(mdc_elf_image *image, const Elf64_Ehdr *header) {
    image->section_count = 0;
    if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shstrndx >= header->e_shnum) return;
    image->sections = header->e_shoff;
    image->section_count = header->e_shnum < SECTIONS_MAX ? header->e_shnum : SECTIONS_MAX;
    image->name_section = header->e_shstrndx;
}

mdc_status mdc_elf_image_read(const mdc_image_reader *from, mdc_elf_image *image, mdc_error *err) {
    Elf64_Ehdr header;
    bool read;
    image->valid = image->dos = false;
    mdc_status status = mdc_image_read(from, 0, &header, sizeof header, &read, err);
    if (!read) return status;
    image->dos = header.e_ident[0] == 'M' && header.e_ident[1] == 'Z';
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0)
        return MDC_OK;
    image->count = header.e_phnum < MDC_ELF_HEADERS_MAX ? header.e_phnum : MDC_ELF_HEADERS_MAX;
    status = mdc_image_read(from, header.e_phoff, image->headers, image->count * sizeof(Elf64_Phdr), &read, err);
    if (!read) return status;
    image->first = UINT64_MAX;
    image->end = 0;
    for (uint32_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *load = &image->headers[i];
        uint64_t end;
        if (load->p_type != PT_LOAD || !mdc_add_u64(load->p_vaddr, load->p_memsz, &end)) continue;
        image->first = mdc_min_u64(image->first, mdc_page_down(load->p_vaddr));
        image->end = mdc_max_u64(image->end, mdc_page_up(end));
    }
    image->valid = image->first < image->end;
    take_sections(image, &header);
    return MDC_OK;
}

/* ---- sections of a file ---- */

/* The first section of this type with this name; sh_size 0: there is none. */
static mdc_status find_section(const mdc_image_reader *from, const mdc_elf_image *image, uint32_t type,
                               const char *name, Elf64_Shdr *found, mdc_error *err) {
    Elf64_Shdr names, section;
    char text[32];
    const size_t length = strlen(name) + 1;
    bool read;
    memset(found, 0, sizeof *found);
    if (image->section_count == 0 || image->sections > INT64_MAX) return MDC_OK;
    const uint64_t all = image->sections;
    mdc_status status =
        mdc_image_read(from, all + image->name_section * sizeof names, &names, sizeof names, &read, err);
    for (uint32_t i = 0; status == MDC_OK && read && i < image->section_count; i++) {
        uint64_t at;
        status = mdc_image_read(from, all + i * sizeof section, &section, sizeof section, &read, err);
        if (!read || section.sh_type != type || section.sh_size == 0 || section.sh_name >= names.sh_size ||
            !mdc_add_u64(names.sh_offset, section.sh_name, &at))
            continue;
        bool named;
        status = mdc_image_read(from, at, text, length, &named, err);
        if (!named || memcmp(text, name, length) != 0) continue;
        *found = section;
        break;
    }
    return status;
}

static mdc_status read_notes(const mdc_image_reader *from, uint64_t offset, uint64_t bytes, mdc_module *module,
                             mdc_error *err) {
    uint8_t notes[NOTE_BYTES];
    bool read;
    size_t size = (size_t)mdc_min_u64(bytes, sizeof notes);
    mdc_status status = mdc_image_read(from, offset, notes, size, &read, err);
    if (read) module->build_id_size = (uint32_t)mdc_elf_build_id(notes, size, module->build_id);
    return status;
}

mdc_status mdc_elf_image_build_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                  mdc_error *err) {
    int seen = 0;
    for (uint32_t i = 0; i < image->count && seen < NOTES_MAX && module->build_id_size == 0; i++) {
        const Elf64_Phdr *note = &image->headers[i];
        if (note->p_type != PT_NOTE || note->p_filesz == 0) continue;
        seen++;
        /* Addresses in an image count from where it was linked to. */
        uint64_t offset = from->fd >= 0 ? note->p_offset : note->p_vaddr - image->first;
        mdc_status status = read_notes(from, offset, note->p_filesz, module, err);
        if (status != MDC_OK) return status;
    }
    if (from->fd < 0 || module->build_id_size != 0) return MDC_OK;
    Elf64_Shdr section;
    mdc_status status = find_section(from, image, SHT_NOTE, ".note.gnu.build-id", &section, err);
    if (status != MDC_OK || section.sh_size == 0) return status;
    return read_notes(from, section.sh_offset, section.sh_size, module, err);
}

mdc_status mdc_elf_image_text_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                 mdc_error *err) {
    uint8_t text[TEXT_BYTES] = {0}, id[TEXT_ID] = {0}, any = 0;
    Elf64_Shdr section;
    size_t done;
    mdc_status status = find_section(from, image, SHT_PROGBITS, ".text", &section, err);
    if (status == MDC_OK && section.sh_size == 0)
        status = find_section(from, image, SHT_PROGBITS, "text", &section, err);
    if (status != MDC_OK || section.sh_size == 0) return status;
    /* In whole units: of a short section, what follows it in the file is part of the last. */
    size_t size = ((size_t)mdc_min_u64(section.sh_size, sizeof text) + TEXT_ID - 1) & ~(size_t)(TEXT_ID - 1);
    status = read_some(from, section.sh_offset, text, size, &done, err);
    if (status != MDC_OK || done == 0) return status;
    for (size_t i = 0; i < size; i++) id[i % TEXT_ID] ^= text[i];
    for (size_t i = 0; i < TEXT_ID; i++) any |= id[i];
    if (any == 0) return MDC_OK;
    memcpy(module->build_id, id, sizeof id);
    module->build_id_size = sizeof id;
    module->hashed = 1;
    return MDC_OK;
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
    Elf64_Dyn entries[DYNAMIC_MAX];
    const Elf64_Phdr *dynamic = NULL;
    uint64_t soname = 0, table = 0, table_size = 0, at;
    size_t done;
    *size = 0;
    for (uint32_t i = 0; i < image->count && dynamic == NULL; i++)
        if (image->headers[i].p_type == PT_DYNAMIC) dynamic = &image->headers[i];
    if (dynamic == NULL || dynamic->p_vaddr < image->first) return MDC_OK;
    size_t bytes = (size_t)mdc_min_u64(dynamic->p_memsz, sizeof entries);
    mdc_status status = read_some(from, dynamic->p_vaddr - image->first, entries, bytes, &done, err);
    for (size_t i = 0; i < done / sizeof entries[0] && entries[i].d_tag != DT_NULL; i++) {
        if (entries[i].d_tag == DT_SONAME) soname = entries[i].d_un.d_val;
        if (entries[i].d_tag == DT_STRTAB) table = entries[i].d_un.d_ptr;
        if (entries[i].d_tag == DT_STRSZ) table_size = entries[i].d_un.d_val;
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
