/* Finds things by their bytes. The things are kept by the caller, in an array; here they have numbers, 0, 1, 2 and so
 * on in the order in which they are added.
 *
 *     uint32_t hash = mdc_hash_of(&table, key, size), number = mdc_hash_find(&table, hash, same, context, key);
 *     if (number == MDC_HASH_NONE && mdc_hash_reserve(&table, table.count + 1, err) == MDC_OK) {
 *         push the thing to the array;
 *         number = mdc_hash_add(&table, hash);
 *     }
 *
 * Open addressing with linear probing; at least a third of the slots are free. Keys may come from a hostile target:
 * each table hashes with a secret of its own, so that keys which collide in one do not in the next. Only
 * mdc_hash_reserve allocates, and nothing locks. */
#ifndef MDC_BASE_HASH_H
#define MDC_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

#define MDC_HASH_NONE UINT32_MAX

typedef struct mdc_hash {
    uint32_t *slots;  /* number + 1; 0: free. One block with the hashes; NULL: none yet */
    uint32_t *hashes; /* by number */
    uint32_t mask;    /* slots - 1, all ones in binary */
    uint32_t count;
    uint32_t capacity; /* two thirds of the slots */
    uint64_t seed;
} mdc_hash;

/* Whether the entry with this number is the one searched for. */
typedef bool (*mdc_hash_same)(const void *context, uint32_t number, const void *key);

void mdc_hash_init(mdc_hash *table);
void mdc_hash_fini(mdc_hash *table); /* also of one that was zeroed only */
/* Room for `count` things in all; grows by doubling. MDC_ERR_NOMEM, and the table is as it was. */
mdc_status mdc_hash_reserve(mdc_hash *table, size_t count, mdc_error *err);
/* Forgets all things and keeps the room. Touches only what was used: the table may be much larger. */
void mdc_hash_clear(mdc_hash *table);

uint32_t mdc_hash_of(const mdc_hash *table, const void *bytes, size_t size);
/* The number of the thing with this hash for which `same` is true, or MDC_HASH_NONE. */
uint32_t mdc_hash_find(const mdc_hash *table, uint32_t hash, mdc_hash_same same, const void *context, const void *key);
/* Adds an entry that is not in the table; its number is the previous count. MDC_HASH_NONE if the table is full. */
uint32_t mdc_hash_add(mdc_hash *table, uint32_t hash);

#endif
