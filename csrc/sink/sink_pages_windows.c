/* Pages from VirtualAlloc (see sink_pages.h). They cannot be moved, so growing copies; the engine announces the final
 * length, and then the block grows once. Holes are committed against the page file, but take no memory. */
#include "sink_pages.h"

#include <stdint.h>
#include <string.h>
#include <windows.h>

enum { PIECE_BYTES = 4096 };

static const uint8_t ZEROS[PIECE_BYTES];

void *mdc_pages_grow(void *block, size_t old_capacity, size_t used, size_t capacity) {
    (void)old_capacity;
    uint8_t *pages = VirtualAlloc(NULL, capacity, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (pages == NULL || block == NULL) return pages;
    for (size_t at = 0; at < used; at += PIECE_BYTES) {
        size_t size = used - at < PIECE_BYTES ? used - at : PIECE_BYTES;
        /* A page that is only read stays without memory of its own, one that is written does not. */
        if (memcmp((uint8_t *)block + at, ZEROS, size) != 0) memcpy(pages + at, (uint8_t *)block + at, size);
    }
    VirtualFree(block, 0, MEM_RELEASE);
    return pages;
}

void mdc_pages_free(void *block, size_t capacity) {
    (void)capacity;
    VirtualFree(block, 0, MEM_RELEASE);
}
