/* What is free, and what the page file vouches for (see headroom.h). */
#include "headroom.h"

#include <windows.h>

#include "arith.h"

uint64_t mdc_headroom(void) {
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    if (!GlobalMemoryStatusEx(&status)) return UINT64_MAX;
    uint64_t free = mdc_min_u64(status.ullAvailPhys, mdc_min_u64(status.ullAvailPageFile, status.ullAvailVirtual));
    return free - free / 4;
}
