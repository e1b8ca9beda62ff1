/* Pages from mmap grow by mremap, which moves page tables instead of bytes (see sink_pages.h). */
#include "sink_pages.h"

#include <sys/mman.h>

void *mdc_pages_grow(void *block, size_t old_capacity, size_t used, size_t capacity) {
    (void)used;
    void *pages = block == NULL
                      ? mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                      : mremap(block, old_capacity, capacity, MREMAP_MAYMOVE);
    return pages != MAP_FAILED ? pages : NULL;
}

void mdc_pages_free(void *block, size_t capacity) { munmap(block, capacity); }
