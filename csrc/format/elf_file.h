/* The headers of ELF files and images, 32 and 64 bit, little endian: elf(5). Bytes in, numbers out; every number is as
 * the file has it, and hostile. */
#ifndef MDC_FORMAT_ELF_FILE_H
#define MDC_FORMAT_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MDC_ELF_TYPE_CORE = 4,

    MDC_ELF_386 = 3,
    MDC_ELF_X86_64 = 62,

    MDC_ELF_LOAD = 1,
    MDC_ELF_DYNAMIC = 2,
    MDC_ELF_NOTE = 4,

    MDC_ELF_EXECUTE = 1,
    MDC_ELF_WRITE = 2,
    MDC_ELF_READ = 4,

    MDC_ELF_SECTION_PROGBITS = 1,
    MDC_ELF_SECTION_NOTE = 7,

    MDC_ELF_MANY_SEGMENTS = 0xFFFF, /* e_phnum: the count is sh_info of section 0 */

    /* Bytes; of the longer class. */
    MDC_ELF_IDENT = 16,
    MDC_ELF_HEADER_MAX = 64,
    MDC_ELF_SEGMENT_MAX = 56,
    MDC_ELF_SECTION_MAX = 64,
    MDC_ELF_DYNAMIC_MAX = 16
};

typedef struct mdc_elf_header {
    bool wide; /* 64 bit */
    uint16_t type;
    uint16_t machine;
    uint16_t segment_size; /* bytes of a program header, as the file says */
    uint16_t segment_count;
    uint16_t section_size;
    uint16_t section_count;
    uint16_t name_section;
    uint64_t segments; /* offsets */
    uint64_t sections;
} mdc_elf_header;

typedef struct mdc_elf_segment {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t address;
    uint64_t file_size;
    uint64_t memory_size;
} mdc_elf_segment;

typedef struct mdc_elf_section {
    uint32_t name;
    uint32_t type;
    uint32_t info;
    uint64_t offset;
    uint64_t size;
} mdc_elf_section;

typedef struct mdc_elf_entry {
    uint64_t tag;
    uint64_t value;
} mdc_elf_entry;

static inline size_t mdc_elf_header_size(bool wide) { return wide ? 64 : 52; }
static inline size_t mdc_elf_segment_size(bool wide) { return wide ? 56 : 32; }
static inline size_t mdc_elf_section_size(bool wide) { return wide ? 64 : 40; }
static inline size_t mdc_elf_entry_size(bool wide) { return wide ? 16 : 8; }

/* false: these first bytes are not those of a little-endian ELF file of 32 or 64 bits, or there are too few. */
bool mdc_elf_header_parse(const uint8_t *bytes, size_t size, mdc_elf_header *header);
void mdc_elf_segment_parse(const uint8_t *bytes, bool wide, mdc_elf_segment *segment);
void mdc_elf_section_parse(const uint8_t *bytes, bool wide, mdc_elf_section *section);
/* Of a dynamic section, or an auxiliary vector. */
void mdc_elf_entry_parse(const uint8_t *bytes, bool wide, mdc_elf_entry *entry);

/* Name of a machine (EM_*), "an unknown machine" for one that is not in our list. */
const char *mdc_elf_machine_name(uint16_t machine);

/* Little-endian numbers at any place. */
uint16_t mdc_elf_get16(const uint8_t *bytes);
uint32_t mdc_elf_get32(const uint8_t *bytes);
uint64_t mdc_elf_get64(const uint8_t *bytes);
static inline uint64_t mdc_elf_get_word(const uint8_t *bytes, bool wide) {
    return wide ? mdc_elf_get64(bytes) : mdc_elf_get32(bytes);
}

#endif
