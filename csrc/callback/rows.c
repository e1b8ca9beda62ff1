/* Distinct rows (see rows.h). */
#include "rows.h"

#include <string.h>

#include "../base/vec.h"

mdc_status mdc_rows_init(mdc_rows *rows, uint32_t words, uint64_t wanted, mdc_error *err) {
    uint64_t most = words == 0 ? 1 : MDC_ROWS_BYTES / (words * sizeof(uint64_t));
    if (most < 64) most = 64;
    if (wanted > most) wanted = most;
    if (wanted > UINT32_C(1) << 28) wanted = UINT32_C(1) << 28;
    uint32_t slots = 64;
    while (slots < wanted * 2) slots *= 2;
    *rows = (mdc_rows){.words = words, .capacity = (uint32_t)wanted, .mask = slots - 1};
    rows->data = mdc_alloc((size_t)wanted + 1, (words > 0 ? words : 1) * sizeof(uint64_t), err);
    rows->slots = mdc_alloc(slots, sizeof *rows->slots, err);
    rows->slot_of = mdc_alloc((size_t)wanted, sizeof *rows->slot_of, err);
    return rows->data != NULL && rows->slots != NULL && rows->slot_of != NULL ? MDC_OK : err->code;
}

void mdc_rows_fini(mdc_rows *rows) {
    mdc_dealloc(rows->data);
    mdc_dealloc(rows->slots);
    mdc_dealloc(rows->slot_of);
    *rows = (mdc_rows){.data = NULL};
}

/* Touches only what was used: the table may be much larger. */
void mdc_rows_clear(mdc_rows *rows) {
    for (uint32_t i = 0; i < rows->count; i++) rows->slots[rows->slot_of[i]] = 0;
    rows->count = 0;
}

uint32_t mdc_rows_keep(mdc_rows *rows) {
    const uint64_t *fresh = mdc_rows_scratch(rows);
    uint64_t hash = UINT64_C(0x9E3779B97F4A7C15);
    for (uint32_t w = 0; w < rows->words; w++) {
        hash = (hash ^ fresh[w]) * UINT64_C(0xD6E8FEB86659FD93);
        hash ^= hash >> 32;
    }
    uint32_t at = (uint32_t)hash & rows->mask;
    for (; rows->slots[at] != 0; at = (at + 1) & rows->mask) {
        uint32_t row = rows->slots[at] - 1;
        if (memcmp(mdc_rows_at(rows, row), fresh, rows->words * sizeof *fresh) == 0) return row;
    }
    if (rows->count == rows->capacity) return MDC_ROW_NONE;
    uint32_t row = rows->count++;
    memcpy(mdc_rows_at(rows, row), fresh, rows->words * sizeof *fresh);
    rows->slots[at] = row + 1;
    rows->slot_of[row] = at;
    return row;
}
