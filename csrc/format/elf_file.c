#include "elf_file.h"

#include <string.h>

enum { CLASS = 4, CLASS_32 = 1, CLASS_64 = 2, DATA = 5, DATA_LITTLE = 1 };

uint16_t mdc_elf_get16(const uint8_t *bytes) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

uint32_t mdc_elf_get32(const uint8_t *bytes) {
    return (uint32_t)mdc_elf_get16(bytes) | (uint32_t)mdc_elf_get16(bytes + 2) << 16;
}

uint64_t mdc_elf_get64(const uint8_t *bytes) {
    return (uint64_t)mdc_elf_get32(bytes) | (uint64_t)mdc_elf_get32(bytes + 4) << 32;
}

bool mdc_elf_header_parse(const uint8_t *bytes, size_t size, mdc_elf_header *header) {
    if (size < MDC_ELF_IDENT || memcmp(bytes, "\177ELF", 4) != 0 || bytes[DATA] != DATA_LITTLE) return false;
    if (bytes[CLASS] != CLASS_32 && bytes[CLASS] != CLASS_64) return false;
    const bool wide = bytes[CLASS] == CLASS_64;
    if (size < mdc_elf_header_size(wide)) return false;
    const size_t word = wide ? 8 : 4;
    /* e_entry, e_phoff, e_shoff are words; what follows e_flags has 16 bits. */
    const uint8_t *tail = bytes + 24 + 3 * word + 4;
    *header = (mdc_elf_header){.wide = wide,
                               .type = mdc_elf_get16(bytes + 16),
                               .machine = mdc_elf_get16(bytes + 18),
                               .segments = mdc_elf_get_word(bytes + 24 + word, wide),
                               .sections = mdc_elf_get_word(bytes + 24 + 2 * word, wide),
                               .segment_size = mdc_elf_get16(tail + 2),
                               .segment_count = mdc_elf_get16(tail + 4),
                               .section_size = mdc_elf_get16(tail + 6),
                               .section_count = mdc_elf_get16(tail + 8),
                               .name_section = mdc_elf_get16(tail + 10)};
    return true;
}

void mdc_elf_segment_parse(const uint8_t *bytes, bool wide, mdc_elf_segment *segment) {
    segment->type = mdc_elf_get32(bytes);
    segment->flags = mdc_elf_get32(bytes + (wide ? 4 : 24));
    segment->offset = mdc_elf_get_word(bytes + (wide ? 8 : 4), wide);
    segment->address = mdc_elf_get_word(bytes + (wide ? 16 : 8), wide);
    segment->file_size = mdc_elf_get_word(bytes + (wide ? 32 : 16), wide);
    segment->memory_size = mdc_elf_get_word(bytes + (wide ? 40 : 20), wide);
}

void mdc_elf_section_parse(const uint8_t *bytes, bool wide, mdc_elf_section *section) {
    section->name = mdc_elf_get32(bytes);
    section->type = mdc_elf_get32(bytes + 4);
    section->offset = mdc_elf_get_word(bytes + (wide ? 24 : 16), wide);
    section->size = mdc_elf_get_word(bytes + (wide ? 32 : 20), wide);
    section->info = mdc_elf_get32(bytes + (wide ? 44 : 28));
}

void mdc_elf_entry_parse(const uint8_t *bytes, bool wide, mdc_elf_entry *entry) {
    entry->tag = mdc_elf_get_word(bytes, wide);
    entry->value = mdc_elf_get_word(bytes + mdc_elf_entry_size(wide) / 2, wide);
}

const char *mdc_elf_machine_name(uint16_t machine) {
    static const struct {
        uint16_t machine;
        char name[14];
    } known[] = {{2, "SPARC"},     {3, "i386"},       {4, "m68k"},     {8, "MIPS"},
                 {20, "PowerPC"},  {21, "PowerPC64"}, {22, "S390"},    {40, "ARM"},
                 {42, "SuperH"},   {43, "SPARC v9"},  {50, "IA-64"},   {62, "x86-64"},
                 {92, "OpenRISC"}, {183, "AArch64"},  {243, "RISC-V"}, {258, "LoongArch"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].machine == machine) return known[i].name;
    return "an unknown machine";
}
