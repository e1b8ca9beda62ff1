/* Blocks of pages in a chain (see pages.h). */
#include "pages.h"

#include <stdint.h>
#include <sys/mman.h>

#include "../base/arith.h"
#include "../base/failpoint.h"

typedef struct page_block {
    void *before;
    size_t size; /* bytes, this head included */
    size_t used; /* of them */
} page_block;

enum { HEAD_BYTES = 64, BLOCK_BYTES = 64 * 1024 }; /* a block has room for some pieces: what is not touched is free */
_Static_assert(sizeof(page_block) <= HEAD_BYTES, "the head of a block fits");

void mdc_pages_init(mdc_pages *pages) { atomic_init(&pages->blocks, NULL); }

void mdc_pages_fini(mdc_pages *pages) {
    void *at = atomic_load(&pages->blocks);
    while (at != NULL) {
        page_block block = *(page_block *)at;
        munmap(at, block.size);
        at = block.before;
    }
    atomic_store(&pages->blocks, NULL);
}

void *mdc_pages_alloc(mdc_pages *pages, size_t count, size_t size) {
    uint64_t bytes;
    if (!mdc_mul_u64(count, size, &bytes) || bytes > SIZE_MAX / 2 || MDC_FAILPOINT("alloc") != 0) return NULL;
    bytes = (bytes + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
    page_block *last = atomic_load(&pages->blocks);
    if (last != NULL && last->size - last->used >= bytes) {
        last->used += (size_t)bytes;
        return (uint8_t *)last + (last->used - (size_t)bytes);
    }
    const size_t used = (size_t)bytes + HEAD_BYTES, room = used < BLOCK_BYTES ? BLOCK_BYTES : used;
    page_block *block = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return NULL;
    *block = (page_block){last, room, used};
    atomic_store(&pages->blocks, block);
    return (uint8_t *)block + HEAD_BYTES;
}
