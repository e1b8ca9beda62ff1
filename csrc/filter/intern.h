/* Gives equal things equal numbers while a filter is compiled: an open-addressing table of ids. The things themselves
 * are kept by the caller, in an array indexed by id. */
#ifndef MDC_FILTER_INTERN_H
#define MDC_FILTER_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_intern {
    uint64_t *slots; /* id + 1 in the low half, the hash's upper half above; 0: empty */
    size_t mask;
    size_t used;
} mdc_intern;

/* Whether the thing looked for is the one with this id. */
typedef bool (*mdc_intern_same)(const void *context, uint32_t id);

uint64_t mdc_hash_bytes(const void *data, size_t size);

void mdc_intern_init(mdc_intern *table);
void mdc_intern_fini(mdc_intern *table);
/* The id of the thing with this hash for which `same` says yes; if there is none, `fresh` becomes its id and *added is
 * true. UINT32_MAX with *err filled without memory. */
uint32_t mdc_intern_get(mdc_intern *table, uint64_t hash, mdc_intern_same same, const void *context, uint32_t fresh,
                        bool *added, mdc_error *err);
/* The same without adding: UINT32_MAX if there is none. */
uint32_t mdc_intern_find(const mdc_intern *table, uint64_t hash, mdc_intern_same same, const void *context);

#endif
