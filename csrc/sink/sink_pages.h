/* A block of zeroed pages that grows. */
#ifndef MDC_SINK_SINK_PAGES_H
#define MDC_SINK_SINK_PAGES_H

#include <stddef.h>

/* Makes the block at least `capacity` bytes long, a multiple of the page size and more than `old_capacity`; `block`
 * NULL makes a new one. The first `used` bytes are kept, the bytes after them are zero: nothing was written there.
 * Returns where it is now, or NULL: no memory, and the old block is as it was. */
void *mdc_pages_grow(void *block, size_t old_capacity, size_t used, size_t capacity);
void mdc_pages_free(void *block, size_t capacity);

#endif
