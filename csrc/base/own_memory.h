/* Copying from this process's own memory at an address given by the caller: an invalid one fails instead of crashing.
 */
#ifndef MDC_BASE_OWN_MEMORY_H
#define MDC_BASE_OWN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if all of it was there. */
bool mdc_own_memory_read(uint64_t address, void *out, size_t size);

#endif
