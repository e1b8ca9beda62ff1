/* Hash index with linear probing (see slots.h). */
#include "slots.h"

#include <string.h>
#include <sys/random.h>

#include "../base/clock.h"
#include "../base/vec.h"

void mdc_slots_init(mdc_slots *slots) {
    memset(slots, 0, sizeof *slots);
    if (getrandom(&slots->seed, sizeof slots->seed, GRND_NONBLOCK) != (ssize_t)sizeof slots->seed)
        slots->seed = mdc_clock_ns() ^ (uint64_t)(uintptr_t)slots;
}

void mdc_slots_fini(mdc_slots *slots) {
    mdc_dealloc(slots->at);
    slots->at = NULL;
    slots->size = slots->used = 0;
}

uint32_t mdc_slots_hash(const mdc_slots *slots, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    uint64_t hash = slots->seed ^ (uint64_t)size;
    while (size > 0) {
        uint64_t word = 0;
        size_t part = size < sizeof word ? size : sizeof word;
        memcpy(&word, from, part);
        /* Multiply and fold: the 128-bit product mixes all bits of the word with the secret state. */
        __extension__ typedef unsigned __int128 wide;
        wide product = (wide)(hash ^ word ^ UINT64_C(0xA0761D6478BD642F)) * (slots->seed | 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ UINT64_C(0xE7037ED1A0B428DB);
        from += part;
        size -= part;
    }
    return (uint32_t)(hash ^ hash >> 32);
}

int64_t mdc_slots_find(const mdc_slots *slots, uint32_t hash, mdc_slots_equal equal, const void *context,
                       const void *key) {
    if (slots->size == 0) return -1;
    /* At most two thirds are used, so an empty slot ends every walk. */
    for (size_t i = hash & (slots->size - 1);; i = (i + 1) & (slots->size - 1)) {
        const mdc_slot *slot = &slots->at[i];
        if (slot->number == 0) return -1;
        if (slot->hash == hash && equal(context, slot->number - 1, key)) return (int64_t)slot->number - 1;
    }
}

static void put(mdc_slots *slots, mdc_slot slot) {
    size_t i = slot.hash & (slots->size - 1);
    while (slots->at[i].number != 0) i = (i + 1) & (slots->size - 1);
    slots->at[i] = slot;
}

mdc_status mdc_slots_add(mdc_slots *slots, uint32_t hash, uint32_t number, mdc_error *err) {
    if ((slots->used + 1) * 3 > slots->size * 2) {
        mdc_slots larger = *slots;
        larger.size = slots->size == 0 ? 64 : slots->size * 2;
        larger.at = mdc_alloc(larger.size, sizeof *larger.at, err);
        if (larger.at == NULL) return err->code;
        for (size_t i = 0; i < slots->size; i++)
            if (slots->at[i].number != 0) put(&larger, slots->at[i]);
        mdc_dealloc(slots->at);
        *slots = larger;
    }
    put(slots, (mdc_slot){hash, number + 1});
    slots->used++;
    return MDC_OK;
}
