/* Numbers for equal things (see intern.h). */
#include "intern.h"

#include <string.h>

#include "../base/vec.h"

static const uint64_t HIGH = UINT64_C(0xFFFFFFFF00000000);

/* Multiply and fold; the tables here hold what a user wrote, and linear probing bounds nothing else. */
static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 29);
}

uint64_t mdc_hash_bytes(const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint64_t h = mix(UINT64_C(0x243F6A8885A308D3), size);
    uint64_t word;
    for (; size >= sizeof word; bytes += sizeof word, size -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        h = mix(h, word);
    }
    word = 0;
    if (size > 0) memcpy(&word, bytes, size);
    return mix(mix(h, word), UINT64_C(0x452821E638D01377));
}

void mdc_intern_init(mdc_intern *table) { *table = (mdc_intern){.slots = NULL}; }

void mdc_intern_fini(mdc_intern *table) {
    mdc_dealloc(table->slots);
    mdc_intern_init(table);
}

static void place(mdc_intern *table, uint64_t slot) {
    size_t at = (size_t)(slot >> 32) & table->mask;
    while (table->slots[at] != 0) at = (at + 1) & table->mask;
    table->slots[at] = slot;
}

static mdc_status grow(mdc_intern *table, mdc_error *err) {
    mdc_intern larger = {.used = table->used};
    size_t count = table->slots == NULL ? 64 : (table->mask + 1) * 2;
    larger.slots = mdc_alloc(count, sizeof larger.slots[0], err);
    if (larger.slots == NULL) return err->code;
    larger.mask = count - 1;
    for (size_t i = 0; table->slots != NULL && i <= table->mask; i++)
        if (table->slots[i] != 0) place(&larger, table->slots[i]);
    mdc_dealloc(table->slots);
    *table = larger;
    return MDC_OK;
}

uint32_t mdc_intern_find(const mdc_intern *table, uint64_t hash, mdc_intern_same same, const void *context) {
    if (table->slots == NULL) return UINT32_MAX;
    for (size_t at = (size_t)(hash >> 32) & table->mask; table->slots[at] != 0; at = (at + 1) & table->mask) {
        uint64_t slot = table->slots[at];
        if ((slot & HIGH) != (hash & HIGH)) continue;
        uint32_t id = (uint32_t)slot - 1;
        if (same(context, id)) return id;
    }
    return UINT32_MAX;
}

uint32_t mdc_intern_get(mdc_intern *table, uint64_t hash, mdc_intern_same same, const void *context, uint32_t fresh,
                        bool *added, mdc_error *err) {
    *added = false;
    if ((table->slots == NULL || table->used * 4 >= (table->mask + 1) * 3) && grow(table, err) != MDC_OK)
        return UINT32_MAX;
    uint32_t id = mdc_intern_find(table, hash, same, context);
    if (id != UINT32_MAX) return id;
    place(table, (hash & HIGH) | (fresh + 1));
    table->used++;
    *added = true;
    return fresh;
}
