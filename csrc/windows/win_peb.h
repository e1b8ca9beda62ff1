/* The process environment block in the target's memory: hostile, like all of it. The offsets are those
 * of 64-bit and of 32-bit Windows, the same since Windows 7. What winternl.h has of them (Ldr, InMemoryOrderModuleList,
 * DllBase, FullDllName, ProcessParameters) is documented; those of the heaps and of the environment are not, and with
 * others heaps would not be called so, and the environment not be found. */
#ifndef MDC_WINDOWS_WIN_PEB_H
#define MDC_WINDOWS_WIN_PEB_H

#include <stdbool.h>

#include "../base/vec.h"
#include "../source/source.h"

/* PEB.ImageBaseAddress, 0 if it cannot be read. */
uint64_t mdc_win_peb_image(void *process, uint64_t peb);
/* Appends the addresses (uint64_t) of the process's heaps. */
mdc_status mdc_win_peb_heaps(mdc_vec *heaps, void *process, uint64_t peb, mdc_error *err);

/* Appends (mdc_span) the PEB, the parameters of the process and its environment: what WithProcessThreadData is about.
 */
mdc_status mdc_win_peb_blocks(mdc_vec *blocks, void *process, uint64_t peb, mdc_error *err);

/* An entry of the loader's list. */
typedef struct mdc_win_loaded {
    uint64_t base;
    uint64_t size; /* bytes, as the loader has it */
    uint64_t path; /* address of UTF-16 text */
    uint32_t path_bytes;
    uint32_t reserved;
} mdc_win_loaded;
/* Appends the entries of the loader's list in its order, each base once: the functions of psapi walk the list anew for
 * every fact of every module, and some walk a circle for ever. *whole: it ended where it began, so nothing is missing.
 */
mdc_status mdc_win_peb_modules(mdc_vec *loaded, void *process, uint64_t peb, bool *whole, mdc_error *err);

#endif
