/* Pages of the system (see arena.h). */
#include "arena.h"

#include <errno.h>
#include <sys/mman.h>

#include "arith.h"
#include "failpoint.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers */
#endif

bool mdc_arena_reserve(mdc_arena *arena, size_t size, int32_t *os_errno) {
    *os_errno = MDC_FAILPOINT("arena:reserve");
    if (*os_errno != 0) return false;
    /* Without MAP_NORESERVE a bound that is not used up would count against what may be committed. */
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        *os_errno = errno;
        return false;
    }
    *arena = (mdc_arena){data, size};
    /* Advice; all of it may be refused. Huge pages make touching several times faster. A child of ours does not get
     * what belongs to a target, and neither does a core of ours. */
    (void)madvise(data, size, MADV_HUGEPAGE);
    (void)madvise(data, size, MADV_DONTFORK);
    (void)madvise(data, size, MADV_DONTDUMP);
    return true;
}

bool mdc_arena_touch(mdc_arena *arena, size_t first, size_t end, int32_t *os_errno) {
    *os_errno = MDC_FAILPOINT("arena:touch");
    if (*os_errno != 0) return false;
    first = (size_t)mdc_page_down(first);
    int failed;
    do failed = madvise(arena->data + first, end - first, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
    while (failed == EINTR || failed == EAGAIN);
    if (failed == EINVAL) { /* an older kernel */
        for (size_t at = first; at < end; at += MDC_PAGE_SIZE) *(volatile uint8_t *)(arena->data + at) = 0;
        failed = 0;
    }
    *os_errno = failed;
    return failed == 0;
}

void mdc_arena_release(mdc_arena *arena, size_t first, size_t end) {
    first = (size_t)mdc_page_up(first);
    end = (size_t)mdc_page_down(end);
    if (first < end) (void)madvise(arena->data + first, end - first, MADV_DONTNEED);
}

void mdc_arena_free(mdc_arena *arena) {
    if (arena->data != NULL) munmap(arena->data, arena->size);
    *arena = (mdc_arena){NULL, 0};
}
