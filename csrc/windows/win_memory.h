/* Reading the memory of a Windows process. */
#ifndef MDC_WINDOWS_WIN_MEMORY_H
#define MDC_WINDOWS_WIN_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Reads up to `size` bytes at the address; returns how many from the start are there, to the page at which it fails.
 * *os_errno: the Windows error, 0 if all was read. Rights: PROCESS_VM_READ. */
size_t mdc_win_memory_read(void *process, uint64_t address, void *out, size_t size, uint32_t *os_errno);

#endif
