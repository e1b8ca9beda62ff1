/* What the name that Linux gives a mapping says of it. */
#ifndef MDC_SOURCE_NAME_KINDS_H
#define MDC_SOURCE_NAME_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MDC_NAME_DELETED_SIZE = 10 }; /* bytes of " (deleted)" */
/* Whether the name has " (deleted)" at its end; *size: without it. */
bool mdc_name_deleted(const uint8_t *name, size_t *size);
/* MDC_KIND_* of a mapping with a file, named without " (deleted)". */
uint32_t mdc_name_kinds(const uint8_t *name, size_t size, bool deleted, bool shared);
/* The kinds of a mapping once it is known what is a stack and a module: what allocators get from Linux has no name of
 * its own, and is all plain memory that is written and that nothing else is. */
uint32_t mdc_heap_kinds(uint32_t kinds, uint32_t type, uint32_t protect);

#endif
