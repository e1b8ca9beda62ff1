/* Which module covers an address: filled at Module, sealed into disjoint segments before the first question. */
#ifndef MDC_CALLBACK_MODULE_MAP_H
#define MDC_CALLBACK_MODULE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "../api/error.h"
#include "../filter/match.h"

typedef struct mdc_module_table_entry {
    uint64_t first;
    uint64_t last; /* inclusive */
    uint32_t row;
    uint32_t order; /* as entered */
} mdc_module_table_entry;

typedef struct mdc_module_table {
    mdc_module_table_entry *entries;
    uint32_t *stack; /* entries that are open while segments are made */
    uint64_t *start; /* segments, see mdc_module_map */
    uint32_t *row;
    uint32_t capacity;
    uint32_t count;
    uint32_t segments;
    bool sealed;
} mdc_module_table;

mdc_status mdc_module_table_init(mdc_module_table *map, uint32_t capacity, mdc_error *err);
void mdc_module_table_fini(mdc_module_table *map);
void mdc_module_table_clear(mdc_module_table *map);

/* Enters [base, base + size); false if the table is full. Size 0 is nothing. */
bool mdc_module_table_enter(mdc_module_table *map, uint64_t base, uint64_t size, uint32_t row);

/* Makes the segments if anything was entered since; never allocates. Where modules overlap, an address belongs to the
 * one that begins last, of equal beginnings to the shorter one, of equal ranges to the one entered last. Row 0 means
 * no module. */
void mdc_module_table_seal(mdc_module_table *map);

#endif
