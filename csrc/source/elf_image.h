/* What an ELF image says of itself, read from a target's memory or from a file: extent, build id, SONAME. Everything in
 * it is hostile: bounded and checked. */
#ifndef MDC_SOURCE_ELF_IMAGE_H
#define MDC_SOURCE_ELF_IMAGE_H

#include <stdbool.h>

#include "../format/elf_file.h"
#include "snapshot.h"

/* Bounds on what a hostile header can make us read. Real images have about a dozen program headers. */
enum { MDC_ELF_HEADERS_MAX = 128, MDC_ELF_NAME_MAX = 256, MDC_ELF_HEAD_BYTES = 4096 };

typedef struct mdc_image_reader {
    /* Reads from an address, or from an offset in a file. *done: bytes from the start that are there. Fails only where
     * the target is gone. */
    mdc_status (*read)(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err);
    void *context;
    uint64_t base; /* of the image's first byte: an address, or an offset in the file */
    bool file;     /* laid out as in a file, not as in memory */
    bool narrow;   /* only a 32-bit image is one; else only a 64-bit image */
} mdc_image_reader;

/* What the headers say, bounded. */
typedef struct mdc_elf_image {
    bool valid;
    bool dos; /* not valid, and begins like a PE image */
    uint32_t count;
    mdc_elf_segment headers[MDC_ELF_HEADERS_MAX];
    uint64_t first; /* page of the lowest PT_LOAD, as linked */
    uint64_t end;   /* page end of the highest, as linked */
    uint64_t sections;
    uint32_t section_count, name_section;
    uint32_t head_size; /* bytes of head: nearly always the tables and the notes are in it */
    uint8_t head[MDC_ELF_HEAD_BYTES];
} mdc_elf_image;

/* Reads exactly this much; *read: whether all of it was there. Fails only where the target is gone. */
mdc_status mdc_image_read(const mdc_image_reader *from, uint64_t offset, void *to, size_t size, bool *read,
                          mdc_error *err);
mdc_status mdc_elf_image_read(const mdc_image_reader *from, mdc_elf_image *image, mdc_error *err);
/* The GNU build id out of the note segments, or, of a file, out of the section .note.gnu.build-id, which no segment of
 * a Go program covers. The module's is not changed if there is none. */
mdc_status mdc_elf_image_build_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                  mdc_error *err);
/* Of a file without one, the id that Breakpad's dump_syms gives it: its first page of .text folded to 16 bytes by XOR
 * (HashElfTextSection of src/common/linux/file_id.cc). None if those are all zero. */
mdc_status mdc_elf_image_text_id(const mdc_image_reader *from, const mdc_elf_image *image, mdc_module *module,
                                 mdc_error *err);
/* What identifies the image in a file: its build id, else the id of its text, else nothing. */
mdc_status mdc_elf_image_identify(const mdc_image_reader *file, mdc_module *module, mdc_error *err);
/* DT_SONAME of an image in memory; *size 0: it has none, or one that is no name of a file. */
mdc_status mdc_elf_image_soname(const mdc_image_reader *from, const mdc_elf_image *image,
                                uint8_t name[MDC_ELF_NAME_MAX], size_t *size, mdc_error *err);

#endif
