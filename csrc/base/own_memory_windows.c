/* The kernel copies, and checks the address (see own_memory.h). */
#include "own_memory.h"

#include <windows.h>

bool mdc_own_memory_read(uint64_t address, void *out, size_t size) {
    SIZE_T done = 0;
    return address <= UINTPTR_MAX &&
           ReadProcessMemory(GetCurrentProcess(), (const void *)(uintptr_t)address, out, size, &done) && done == size;
}
