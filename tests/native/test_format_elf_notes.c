/* Build ids from notes: found after other notes, and nothing read outside hostile ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/format/elf_notes.h"
#include "check.h"

static size_t put(uint8_t *at, uint32_t name_size, uint32_t desc_size, uint32_t type, const char *name,
                  const uint8_t *desc, size_t desc_bytes) {
    size_t name_room = (name_size + 3u) & ~3u;
    memcpy(at, &name_size, 4);
    memcpy(at + 4, &desc_size, 4);
    memcpy(at + 8, &type, 4);
    memset(at + 12, 0, name_room);
    memcpy(at + 12, name, strlen(name));
    memcpy(at + 12 + name_room, desc, desc_bytes);
    return 12 + name_room + ((desc_bytes + 3) & ~(size_t)3);
}

/* Asks with a block of exactly `size` bytes, so that a sanitizer sees the first byte read too much. */
static size_t ask(const uint8_t *notes, size_t size, uint8_t out[64]) {
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, notes, size);
    size_t found = mdc_elf_build_id(exact, size, out);
    free(exact);
    return found;
}

int main(void) {
    uint8_t id[80], notes[512] = {0}, out[64];
    for (size_t i = 0; i < sizeof id; i++) id[i] = (uint8_t)(0xA0 + i);

    size_t at = put(notes, 4, 16, 5, "GNU", id + 3, 16); /* NT_GNU_PROPERTY_TYPE_0 */
    at += put(notes + at, 6, 3, 3, "Other", id, 3);      /* same type, other owner, sizes that need padding */
    size_t before = at;
    at += put(notes + at, 4, 20, 3, "GNU", id, 20);
    CHECK(ask(notes, at, out) == 20 && memcmp(out, id, 20) == 0);
    for (size_t cut = 0; cut < at; cut++) CHECK(ask(notes, cut, out) == 0);
    CHECK(ask(notes, before, out) == 0);

    memset(notes, 0, sizeof notes);
    at = put(notes, 4, 64, 3, "GNU", id, 64);
    CHECK(ask(notes, at, out) == 64 && memcmp(out, id, 64) == 0);
    at = put(notes, 4, 65, 3, "GNU", id, 65);
    CHECK(ask(notes, at, out) == 0);
    at = put(notes, 4, 0, 3, "GNU", id, 0);
    CHECK(ask(notes, at, out) == 0);
    put(notes, 4, 0xFFFFFFFF, 3, "GNU", id, 20);
    CHECK(ask(notes, sizeof notes, out) == 0);
    uint32_t huge = 0xFFFFFFFF;
    memcpy(notes, &huge, 4);
    CHECK(ask(notes, sizeof notes, out) == 0);
    memset(notes, 0, sizeof notes); /* empty notes, one after the other */
    CHECK(ask(notes, sizeof notes, out) == 0);
    return failures != 0;
}
