/* GNU build ids out of ELF notes: elf(5), "Notes (Nhdr)". Little endian, as every target so far. */
#include "elf_notes.h"

#include <string.h>

enum { NOTE_HEADER = 12, NOTE_GNU_BUILD_ID = 3 };

static uint32_t get_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

size_t mdc_elf_build_id(const uint8_t *notes, size_t size, uint8_t out[MDC_BUILD_ID_MAX]) {
    size_t at = 0;
    while (size - at >= NOTE_HEADER) {
        /* In 64 bits nothing below can overflow: both sizes are 32-bit. Name and descriptor are padded to 4 bytes;
         * the 8-byte aligned notes there are (GNU properties) come out the same, their sizes are multiples of 8. */
        uint64_t name_size = get_u32(notes + at);
        uint64_t desc_size = get_u32(notes + at + 4);
        uint32_t type = get_u32(notes + at + 8);
        uint64_t left = size - at;
        uint64_t desc = NOTE_HEADER + ((name_size + 3) & ~UINT64_C(3));
        if (desc > left || desc_size > left - desc) return 0;
        if (type == NOTE_GNU_BUILD_ID && name_size == 4 && memcmp(notes + at + NOTE_HEADER, "GNU", 4) == 0) {
            if (desc_size == 0 || desc_size > MDC_BUILD_ID_MAX) return 0;
            memcpy(out, notes + at + desc, (size_t)desc_size);
            return (size_t)desc_size;
        }
        uint64_t step = desc + ((desc_size + 3) & ~UINT64_C(3)); /* at least the header: the loop ends */
        if (step > left) return 0;
        at += (size_t)step;
    }
    return 0;
}
