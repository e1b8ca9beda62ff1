/* The hash table against a plain list of keys, with keys chosen to collide, and without memory. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/failpoint.h"
#include "../../csrc/base/hash.h"
#include "../../csrc/base/vec.h"
#include "check.h"

enum { KEY_MAX = 24, THINGS = 4096, STEPS = 20000, WALK_MAX = 1024 };

typedef struct thing {
    uint8_t bytes[KEY_MAX];
    size_t size;
} thing;

typedef struct model {
    thing things[THINGS];
    uint32_t count;
} model;

static uint64_t next_random(uint64_t *state) {
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = (*state ^ *state >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static bool same(const void *context, uint32_t number, const void *key) {
    const model *list = context;
    const thing *wanted = key;
    CHECK(number < list->count);
    return list->things[number].size == wanted->size &&
           memcmp(list->things[number].bytes, wanted->bytes, wanted->size) == 0;
}

static uint32_t find_plainly(const model *list, const thing *wanted) {
    for (uint32_t i = 0; i < list->count; i++)
        if (same(list, i, wanted)) return i;
    return MDC_HASH_NONE;
}

static uint32_t find(const mdc_hash *table, const model *list, const thing *wanted) {
    return mdc_hash_find(table, mdc_hash_of(table, wanted->bytes, wanted->size), same, list, wanted);
}

static uint32_t add(mdc_hash *table, model *list, const thing *fresh) {
    list->things[list->count] = *fresh;
    uint32_t number = mdc_hash_add(table, mdc_hash_of(table, fresh->bytes, fresh->size));
    if (number != MDC_HASH_NONE) list->count++;
    return number;
}

/* Few different bytes and lengths, so that keys come again, are prefixes of each other and differ in zeros alone. */
static thing any_thing(uint64_t *state) {
    thing made = {.size = next_random(state) % 4 == 0 ? (size_t)(next_random(state) % 3) : 8};
    for (size_t i = 0; i < made.size; i++) made.bytes[i] = (uint8_t)(next_random(state) % 4);
    if (next_random(state) % 2 == 0) made.size += (size_t)(next_random(state) % (KEY_MAX - 8));
    return made;
}

static void test_against_a_list(uint64_t seed) {
    static model list;
    list.count = 0;
    uint64_t state = seed;
    mdc_hash table;
    mdc_error err = {0};
    mdc_hash_init(&table);
    for (int step = 0; step < STEPS; step++) {
        if (next_random(&state) % 1000 == 0) {
            mdc_hash_clear(&table);
            list.count = 0;
        }
        thing wanted = any_thing(&state);
        uint32_t expected = find_plainly(&list, &wanted);
        CHECK(find(&table, &list, &wanted) == expected);
        if (expected != MDC_HASH_NONE || list.count == THINGS) continue;
        uint32_t ahead = next_random(&state) % 50 == 0 ? (uint32_t)(next_random(&state) % 300) : 1;
        CHECK(mdc_hash_reserve(&table, table.count + ahead, &err) == MDC_OK);
        if (table.count < table.capacity) CHECK(add(&table, &list, &wanted) == list.count - 1);
        CHECK(table.count == list.count);
    }
    for (uint32_t i = 0; i < list.count; i++) CHECK(find(&table, &list, &list.things[i]) == i);
    mdc_hash_fini(&table);
    mdc_hash_fini(&table);
}

/* The longest walk to a thing that is in the table. */
static uint32_t longest_walk(const mdc_hash *table) {
    uint32_t longest = 0;
    for (uint32_t at = 0; at <= table->mask; at++) {
        if (table->slots[at] == 0) continue;
        uint32_t walk = (at - table->hashes[table->slots[at] - 1]) & table->mask;
        if (walk > longest) longest = walk;
    }
    return longest;
}

static uint32_t walk_with(const model *keys) {
    mdc_hash table;
    mdc_error err = {0};
    mdc_hash_init(&table);
    CHECK(mdc_hash_reserve(&table, keys->count, &err) == MDC_OK);
    for (uint32_t i = 0; i < keys->count; i++)
        mdc_hash_add(&table, mdc_hash_of(&table, keys->things[i].bytes, keys->things[i].size));
    uint32_t longest = longest_walk(&table);
    mdc_hash_fini(&table);
    return longest;
}

/* Families of keys that weak hashes put in few places: multiples, one bit in each word, and what is found by trying to
 * collide in a table whose secret is known. */
static void test_hostile_keys(void) {
    static model keys;
    keys.count = THINGS;
    for (unsigned shift = 0; shift <= 48; shift += 4) {
        memset(keys.things, 0, sizeof keys.things);
        for (uint32_t i = 0; i < THINGS; i++) {
            uint64_t word = (uint64_t)i << shift;
            memcpy(keys.things[i].bytes, &word, sizeof word);
            keys.things[i].size = sizeof word;
        }
        CHECK(walk_with(&keys) < WALK_MAX);
    }

    memset(keys.things, 0, sizeof keys.things);
    for (uint32_t i = 0; i < THINGS; i++) { /* the highest bits of all three words, and every length */
        for (unsigned bit = 0; bit < 12; bit++)
            if (i >> bit & 1) keys.things[i].bytes[bit / 4 * 8 + 7] |= (uint8_t)(0x80 >> bit % 4);
        keys.things[i].size = KEY_MAX;
    }
    CHECK(walk_with(&keys) < WALK_MAX);

    mdc_hash known;
    mdc_hash_init(&known);
    uint64_t word = 0;
    for (uint32_t i = 0; i < THINGS; word++) {
        if ((mdc_hash_of(&known, &word, sizeof word) & 0xFFF) != 0) continue;
        memcpy(keys.things[i].bytes, &word, sizeof word);
        keys.things[i++].size = sizeof word;
    }
    CHECK(walk_with(&keys) < WALK_MAX);
    mdc_hash_fini(&known);
}

static void test_without_memory(void) {
    static model list;
    list.count = 0;
    mdc_hash table;
    mdc_error err = {0};
    mdc_hash_init(&table);
    thing wanted = {.size = sizeof(uint32_t)};
    CHECK(find(&table, &list, &wanted) == MDC_HASH_NONE);
    CHECK(add(&table, &list, &wanted) == MDC_HASH_NONE); /* nothing was reserved */
    CHECK(mdc_hash_reserve(&table, 1000, &err) == MDC_OK && table.capacity >= 1000);
    mdc_failpoint_set("alloc:0:12");
    uint32_t number = 0;
    for (int round = 0; round < 2; round++) {
        for (number = 0; number < table.capacity; number++) {
            memcpy(wanted.bytes, &number, sizeof number);
            CHECK(find(&table, &list, &wanted) == MDC_HASH_NONE && add(&table, &list, &wanted) == number);
        }
        memcpy(wanted.bytes, &number, sizeof number);
        CHECK(add(&table, &list, &wanted) == MDC_HASH_NONE);
        if (round == 1) break;
        mdc_hash_clear(&table);
        list.count = 0;
    }
    CHECK(mdc_hash_reserve(&table, table.capacity + 1, &err) == MDC_ERR_NOMEM);
    mdc_failpoint_set("");
    for (uint32_t i = 0; i < number; i++) { /* as it was */
        memcpy(wanted.bytes, &i, sizeof i);
        CHECK(find(&table, &list, &wanted) == i);
    }
    if (sizeof(size_t) > 4) {
        CHECK(mdc_hash_reserve(&table, (size_t)UINT32_MAX + 2, &err) == MDC_ERR_NOMEM);
        CHECK(table.count == number);
    }
    mdc_hash_fini(&table);
}

int main(void) {
    for (uint64_t seed = 1; seed <= 10; seed++) test_against_a_list(seed);
    test_hostile_keys();
    test_without_memory();
    return failures == 0 ? 0 : 1;
}
