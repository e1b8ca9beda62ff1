/* ReadProcessMemory with partial results (see win_memory.h). */
#include "win_memory.h"

#include <windows.h>

#include "../base/arith.h"

/* One call; true if it read it all. */
static bool read_exactly(void *process, uint64_t address, uint8_t *out, size_t size, uint32_t *os_errno) {
    SIZE_T done = 0;
    if (address > UINTPTR_MAX || size - 1 > UINTPTR_MAX - address) {
        *os_errno = ERROR_PARTIAL_COPY; /* what Windows says of an address where nothing is */
        return false;
    }
    if (ReadProcessMemory(process, (const void *)(uintptr_t)address, out, size, &done) && done == size) {
        *os_errno = 0;
        return true;
    }
    uint32_t error = GetLastError();
    *os_errno = error != 0 ? error : ERROR_PARTIAL_COPY;
    return false;
}

size_t mdc_win_memory_read(void *process, uint64_t address, void *out, size_t size, uint32_t *os_errno) {
    uint8_t *to = out;
    size_t done = 0;
    *os_errno = 0;
    if (size == 0 || read_exactly(process, address, to, size, os_errno)) return size;
    /* Where one page cannot be read, how much of the rest was read is not dependable (0 on Windows before 8, and where
     * the range spans mappings): halves find the border in few calls, whatever the size. What was read twice is the
     * same both times, since the target is stopped. */
    size_t low = 0, high = size;
    while (low < high) {
        uint64_t middle = mdc_page_down(address + low + (high - low) / 2);
        size_t part =
            middle > address + low
                ? (size_t)(middle - address) - low
                : (size_t)mdc_min_u64(high - low, mdc_page_down(address + low) + MDC_PAGE_SIZE - (address + low));
        uint32_t error;
        if (read_exactly(process, address + low, to + low, part, &error)) {
            done = low += part;
            continue;
        }
        *os_errno = error;
        if (part <= MDC_PAGE_SIZE && mdc_page_down(address + low) == mdc_page_down(address + low + part - 1)) break;
        high = low + part;
    }
    if (done == size) *os_errno = 0; /* it could be read the second time */
    return done;
}
