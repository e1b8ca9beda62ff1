/* The process environment block, as it stands in the target's memory: hostile, like all of it. The offsets are those
 * of 64-bit and of 32-bit Windows, the same since Windows 7; a reader of another layout only labels heaps wrongly. */
#ifndef MDC_WINDOWS_WIN_PEB_H
#define MDC_WINDOWS_WIN_PEB_H

#include "../base/vec.h"

/* PEB.ImageBaseAddress, 0 if it cannot be read. */
uint64_t mdc_win_peb_image(void *process, uint64_t peb);
/* Appends the addresses (uint64_t) of the process's heaps. */
mdc_status mdc_win_peb_heaps(mdc_vec *heaps, void *process, uint64_t peb, mdc_error *err);

#endif
