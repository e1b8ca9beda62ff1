/* Pages of the system (see arena.h). */
#include "arena.h"

#include <windows.h>

#include "arith.h"
#include "failpoint.h"

bool mdc_arena_reserve(mdc_arena *arena, size_t size, int32_t *os_errno) {
    *os_errno = MDC_FAILPOINT("arena:reserve");
    if (*os_errno != 0) return false;
    /* Committed at once: the page file has to vouch for all of it. */
    void *data = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (data == NULL) {
        *os_errno = (int32_t)GetLastError();
        return false;
    }
    *arena = (mdc_arena){data, size};
    return true;
}

bool mdc_arena_touch(mdc_arena *arena, size_t first, size_t end, int32_t *os_errno) {
    *os_errno = MDC_FAILPOINT("arena:touch");
    if (*os_errno != 0) return false;
    for (size_t at = (size_t)mdc_page_down(first); at < end; at += MDC_PAGE_SIZE)
        *(volatile uint8_t *)(arena->data + at) = 0;
    return true;
}

void mdc_arena_release(mdc_arena *arena, size_t first, size_t end) {
    first = (size_t)mdc_page_up(first);
    end = (size_t)mdc_page_down(end);
    if (first < end) VirtualFree(arena->data + first, end - first, MEM_DECOMMIT);
}

void mdc_arena_free(mdc_arena *arena) {
    if (arena->data != NULL) VirtualFree(arena->data, 0, MEM_RELEASE);
    *arena = (mdc_arena){NULL, 0};
}
