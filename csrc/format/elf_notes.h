/* GNU build ids out of the bytes of an ELF note segment. The bytes come from a target or a file and are hostile. */
#ifndef MDC_FORMAT_ELF_NOTES_H
#define MDC_FORMAT_ELF_NOTES_H

#include <stddef.h>
#include <stdint.h>

/* The longest build id taken over, bytes: SHA-512 has 64. */
#define MDC_BUILD_ID_MAX 64

/* Looks through the notes in [notes, notes + size) for the first NT_GNU_BUILD_ID and copies its bytes to `out`.
 * Returns their number, or 0 if there is none, or it is empty or longer than MDC_BUILD_ID_MAX (cut notes too).
 * `notes` may be unaligned. */
size_t mdc_elf_build_id(const uint8_t *notes, size_t size, uint8_t out[MDC_BUILD_ID_MAX]);

#endif
