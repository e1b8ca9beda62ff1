/* Open addressing (see hash.h). */
#include "hash.h"

#include <string.h>

#include "fail.h"
#include "seed.h"
#include "vec.h"

enum { SLOTS_MIN = 64, COUNT_MAX = 1 << 30 };

/* The upper and the lower half of the product, folded: each bit of it depends on all lower ones of both factors. */
static uint64_t fold(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return (other << 32 | (uint32_t)low) ^ (a1 * b1 + (middle >> 32) + (other >> 32));
#endif
}

void mdc_hash_init(mdc_hash *table) { *table = (mdc_hash){.slots = NULL, .seed = mdc_seed()}; }

void mdc_hash_fini(mdc_hash *table) {
    mdc_dealloc(table->slots);
    *table = (mdc_hash){.slots = NULL};
}

static void place(mdc_hash *table, uint32_t number) {
    uint32_t at = table->hashes[number] & table->mask;
    while (table->slots[at] != 0) at = (at + 1) & table->mask;
    table->slots[at] = number + 1;
}

mdc_status mdc_hash_reserve(mdc_hash *table, size_t count, mdc_error *err) {
    if (count <= table->capacity) return MDC_OK;
    if (count > COUNT_MAX)
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "more than %d different entries in one table",
                        COUNT_MAX);
    mdc_hash larger = *table;
    uint32_t slots = SLOTS_MIN;
    while (slots / 3 * 2 < count) slots *= 2;
    larger.capacity = slots / 3 * 2;
    larger.mask = slots - 1;
    larger.slots = mdc_alloc((size_t)slots + larger.capacity, sizeof *larger.slots, err);
    if (larger.slots == NULL) return err->code;
    larger.hashes = larger.slots + slots;
    if (table->count > 0) memcpy(larger.hashes, table->hashes, table->count * sizeof *larger.hashes);
    for (uint32_t number = 0; number < table->count; number++) place(&larger, number);
    mdc_dealloc(table->slots);
    *table = larger;
    return MDC_OK;
}

void mdc_hash_clear(mdc_hash *table) {
    for (uint32_t number = 0; number < table->count; number++) {
        uint32_t at = table->hashes[number] & table->mask;
        while (table->slots[at] != number + 1) at = (at + 1) & table->mask;
        table->slots[at] = 0;
    }
    table->count = 0;
}

uint32_t mdc_hash_of(const mdc_hash *table, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    uint64_t hash = table->seed ^ (uint64_t)size;
    while (size > 0) {
        uint64_t word = 0;
        size_t part = size < sizeof word ? size : sizeof word;
        memcpy(&word, from, part);
        hash = fold(hash ^ word ^ UINT64_C(0xA0761D6478BD642F), table->seed | 1) ^ UINT64_C(0xE7037ED1A0B428DB);
        from += part;
        size -= part;
    }
    /* Once more: after one product, keys in steps of one size still fall in places in steps of one size. */
    return (uint32_t)fold(hash ^ table->seed, UINT64_C(0x9E3779B97F4A7C15));
}

uint32_t mdc_hash_find(const mdc_hash *table, uint32_t hash, mdc_hash_same same, const void *context, const void *key) {
    if (table->slots == NULL) return MDC_HASH_NONE;
    /* A slot that is free ends every walk. */
    for (uint32_t at = hash & table->mask; table->slots[at] != 0; at = (at + 1) & table->mask) {
        uint32_t number = table->slots[at] - 1;
        if (table->hashes[number] == hash && same(context, number, key)) return number;
    }
    return MDC_HASH_NONE;
}

uint32_t mdc_hash_add(mdc_hash *table, uint32_t hash) {
    if (table->count == table->capacity) return MDC_HASH_NONE;
    uint32_t number = table->count++;
    table->hashes[number] = hash;
    place(table, number);
    return number;
}
