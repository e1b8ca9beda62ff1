/* Memory straight from the kernel, freed all at once: for a process that shares our memory and can be killed at any
 * instruction, and so must never hold a lock of the allocator. One thread or process at a time allocates; a block that
 * was being made when its process was killed may be lost, nothing else. */
#ifndef MDC_LINUX_PAGES_H
#define MDC_LINUX_PAGES_H

#include <stdatomic.h>
#include <stddef.h>

typedef struct mdc_pages {
    void *_Atomic blocks; /* each begins with a link to the one before */
} mdc_pages;

void mdc_pages_init(mdc_pages *pages);
void mdc_pages_fini(mdc_pages *pages);
/* count * size bytes, zero and aligned to 64 bytes; NULL if the kernel has none. */
void *mdc_pages_alloc(mdc_pages *pages, size_t count, size_t size);

#endif
