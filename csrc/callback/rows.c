/* Distinct rows (see rows.h). */
#include "rows.h"

#include <string.h>

#include "../base/vec.h"

mdc_status mdc_rows_init(mdc_rows *rows, uint32_t words, uint64_t wanted, mdc_error *err) {
    uint64_t most = words == 0 ? 1 : MDC_ROWS_BYTES / (words * sizeof(uint64_t));
    if (most < 64) most = 64;
    if (wanted > most) wanted = most;
    if (wanted > UINT32_C(1) << 28) wanted = UINT32_C(1) << 28;
    *rows = (mdc_rows){.words = words, .capacity = (uint32_t)wanted};
    mdc_hash_init(&rows->table);
    size_t size = (words > 0 ? words : 1) * sizeof(uint64_t);
    rows->data = mdc_alloc_buffer((size_t)wanted + 1, size, err); /* large, and each row is written when it is kept */
    if (rows->data == NULL) return err->code;
    memset(rows->data, 0, size); /* row 0 is there before any is kept */
    return mdc_hash_reserve(&rows->table, (size_t)wanted, err);
}

void mdc_rows_fini(mdc_rows *rows) {
    mdc_dealloc(rows->data);
    mdc_hash_fini(&rows->table);
    rows->data = NULL;
}

void mdc_rows_clear(mdc_rows *rows) { mdc_hash_clear(&rows->table); }

static bool same_row(const void *context, uint32_t row, const void *key) {
    const mdc_rows *rows = context;
    return memcmp(mdc_rows_at(rows, row), key, rows->words * sizeof(uint64_t)) == 0;
}

uint32_t mdc_rows_keep(mdc_rows *rows) {
    const uint64_t *fresh = mdc_rows_scratch(rows);
    size_t size = rows->words * sizeof *fresh;
    uint32_t hash = mdc_hash_of(&rows->table, fresh, size);
    uint32_t row = mdc_hash_find(&rows->table, hash, same_row, rows, fresh);
    if (row != MDC_HASH_NONE) return row;
    if (rows->table.count == rows->capacity) return MDC_ROW_NONE;
    row = mdc_hash_add(&rows->table, hash);
    memcpy(mdc_rows_at(rows, row), fresh, size);
    return row;
}
