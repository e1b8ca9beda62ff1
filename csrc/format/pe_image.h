/* The headers of a PE image, read through a function, so that it does not matter whether the image is in a
 * target's memory or in a test's array. Everything read is hostile: each offset is checked against the image's size,
 * each count is bounded, nothing is followed twice. Source: Microsoft's "PE Format". */
#ifndef MDC_FORMAT_PE_IMAGE_H
#define MDC_FORMAT_PE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MDC_PE_CODEVIEW_MAX = 24 + 4096, /* bytes of a CodeView record: with a longer path it is left out */
    MDC_PE_VERSION_WORDS = 13        /* VS_FIXEDFILEINFO */
};

/* Reads `size` bytes at this offset from the image's first byte, laid out as it is mapped; true if all are there. */
typedef bool (*mdc_pe_read)(void *context, uint64_t offset, void *out, size_t size);

typedef struct mdc_pe_image {
    uint16_t machine;  /* IMAGE_FILE_MACHINE_* */
    bool wide;         /* PE32+ */
    uint32_t size;     /* SizeOfImage */
    uint32_t checksum; /* as the header has it, 0 mostly */
    uint32_t timestamp;
    uint32_t version[MDC_PE_VERSION_WORDS]; /* all zero if there is none */
    size_t codeview_size;                   /* 0: there is none */
    uint8_t codeview[MDC_PE_CODEVIEW_MAX];  /* 'RSDS' or 'NB10', whole, up to the NUL of its path */
} mdc_pe_image;

/* IMAGE_SECTION_HEADER, as far as it is of use. */
typedef struct mdc_pe_section {
    uint32_t rva;
    uint32_t size;  /* bytes in memory */
    uint32_t flags; /* IMAGE_SCN_* */
} mdc_pe_section;
enum {
    MDC_PE_SECTIONS_MAX = 96, /* that Windows' loader takes */
    MDC_PE_SECTION_CODE = 0x20
};
#define MDC_PE_SECTION_WRITE 0x80000000u

/* limit: bytes of the image that may be read (what is mapped). False, and all zero, if it is not a PE image; what is
 * invalid further in is left out. */
bool mdc_pe_image_read(mdc_pe_image *image, mdc_pe_read read, void *context, uint64_t limit);
/* The sections of an image that mdc_pe_image_read has taken for one; how many there are, MDC_PE_SECTIONS_MAX at most.
 * What lies outside of the image is cut off. */
size_t mdc_pe_sections_read(mdc_pe_section *sections, mdc_pe_read read, void *context, uint64_t limit);

#endif
