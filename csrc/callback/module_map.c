/* Modules by address (see module_map.h). */
#include "module_map.h"

#include "../base/vec.h"

mdc_status mdc_module_table_init(mdc_module_table *map, uint32_t capacity, mdc_error *err) {
    *map = (mdc_module_table){.capacity = capacity};
    /* Not cleared: that would touch megabytes, of which most dumps use a page. */
    map->entries = mdc_alloc_buffer(capacity, sizeof *map->entries, err);
    map->stack = mdc_alloc_buffer(capacity, sizeof *map->stack, err);
    /* Each end of an entry begins a segment; two more for address 0 and for 2**64. */
    map->start = mdc_alloc_buffer((size_t)capacity * 2 + 2, sizeof *map->start, err);
    map->row = mdc_alloc_buffer((size_t)capacity * 2 + 1, sizeof *map->row, err);
    if (map->entries == NULL || map->stack == NULL || map->start == NULL || map->row == NULL) return err->code;
    map->segments = 1; /* no module anywhere */
    map->start[0] = map->start[1] = 0;
    map->row[0] = 0;
    return MDC_OK;
}

void mdc_module_table_fini(mdc_module_table *map) {
    mdc_dealloc(map->entries);
    mdc_dealloc(map->stack);
    mdc_dealloc(map->start);
    mdc_dealloc(map->row);
    *map = (mdc_module_table){.entries = NULL};
}

void mdc_module_table_clear(mdc_module_table *map) {
    map->count = 0;
    map->sealed = false;
}

bool mdc_module_table_enter(mdc_module_table *map, uint64_t base, uint64_t size, uint32_t row) {
    if (size == 0) return true;
    if (map->count == map->capacity) return false;
    uint64_t last = size - 1 > UINT64_MAX - base ? UINT64_MAX : base + (size - 1);
    map->entries[map->count] = (mdc_module_table_entry){.first = base, .last = last, .row = row, .order = map->count};
    map->count++;
    map->sealed = false;
    return true;
}

/* Outer before inner. */
static bool before(const mdc_module_table_entry *a, const mdc_module_table_entry *b) {
    if (a->first != b->first) return a->first < b->first;
    if (a->last != b->last) return a->last > b->last;
    return a->order < b->order;
}

static void sift(mdc_module_table_entry *e, uint32_t at, uint32_t count) {
    mdc_module_table_entry moved = e[at];
    for (uint32_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && before(&e[child], &e[child + 1])) child++;
        if (!before(&moved, &e[child])) break;
        e[at] = e[child];
    }
    e[at] = moved;
}

/* Heapsort: in place, no worst case; qsort may allocate. Engines enter in rising order nearly always. */
static void sort(mdc_module_table_entry *e, uint32_t count) {
    uint32_t i = 1;
    while (i < count && before(&e[i - 1], &e[i])) i++;
    if (i >= count) return;
    for (i = count / 2; i-- > 0;) sift(e, i, count);
    for (i = count; i-- > 1;) {
        mdc_module_table_entry last = e[i];
        e[i] = e[0];
        e[0] = last;
        sift(e, 0, i);
    }
}

/* A segment from `start` on. */
static void put(mdc_module_table *map, uint64_t start, uint32_t row) {
    if (map->start[map->segments - 1] == start) {
        map->row[map->segments - 1] = row;
        return;
    }
    if (map->row[map->segments - 1] == row) return;
    map->start[map->segments] = start;
    map->row[map->segments++] = row;
}

void mdc_module_table_seal(mdc_module_table *map) {
    if (map->sealed) return;
    map->sealed = true;
    sort(map->entries, map->count);
    map->segments = 1;
    map->start[0] = 0;
    map->row[0] = 0;
    /* The stack holds the entries around the place reached, innermost on top; its lower ones may have ended. */
    uint32_t depth = 0;
    for (uint32_t i = 0; i <= map->count; i++) {
        uint64_t next = i < map->count ? map->entries[i].first : UINT64_MAX;
        while (depth > 0) {
            uint64_t end = map->entries[map->stack[depth - 1]].last;
            if (end >= next || end == UINT64_MAX) break;
            depth--;
            while (depth > 0 && map->entries[map->stack[depth - 1]].last <= end) depth--;
            put(map, end + 1, depth > 0 ? map->entries[map->stack[depth - 1]].row : 0);
        }
        if (i < map->count) {
            map->stack[depth++] = i;
            put(map, next, map->entries[i].row);
        }
    }
    map->start[map->segments] = 0;
}
