/* A hash index over items that live in an array elsewhere: finds the number of an item by its key. Cold path only.
 * Keys come from the target, so the hash is seeded: a hostile target cannot choose keys that all collide. */
#ifndef MDC_LINUX_SLOTS_H
#define MDC_LINUX_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_slot {
    uint32_t hash;
    uint32_t number; /* of the item + 1; 0: empty */
} mdc_slot;

typedef struct mdc_slots {
    mdc_slot *at;
    size_t size; /* power of two, or 0 */
    size_t used;
    uint64_t seed;
} mdc_slots;

/* Is item `number` the one looked for? */
typedef bool (*mdc_slots_equal)(const void *context, uint32_t number, const void *key);

void mdc_slots_init(mdc_slots *slots);
void mdc_slots_fini(mdc_slots *slots);
uint32_t mdc_slots_hash(const mdc_slots *slots, const void *bytes, size_t size);
/* The item's number, or -1. */
int64_t mdc_slots_find(const mdc_slots *slots, uint32_t hash, mdc_slots_equal equal, const void *context,
                       const void *key);
/* Enters an item that is not in it yet. MDC_ERR_NOMEM. */
mdc_status mdc_slots_add(mdc_slots *slots, uint32_t hash, uint32_t number, mdc_error *err);

#endif
