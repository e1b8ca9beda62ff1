/* Distinct rows of condition bits, each kept once. Names and modules that meet the same conditions share a row, so
 * thousands of libraries need a handful. Everything is reserved at the start; nothing allocates while a dump runs. */
#ifndef MDC_CALLBACK_ROWS_H
#define MDC_CALLBACK_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"

#define MDC_ROW_NONE UINT32_MAX

typedef struct mdc_rows {
    uint64_t *data; /* capacity + 1 rows; the last one is scratch, for rows not kept */
    mdc_hash table; /* rows by their bits */
    uint32_t words;
    uint32_t capacity;
} mdc_rows;

/* Reserves room for `wanted` rows of `words` words, or as many as MDC_ROWS_BYTES hold (at least 64). */
#define MDC_ROWS_BYTES (UINT64_C(64) << 20)
mdc_status mdc_rows_init(mdc_rows *rows, uint32_t words, uint64_t wanted, mdc_error *err);
void mdc_rows_fini(mdc_rows *rows);
void mdc_rows_clear(mdc_rows *rows);

static inline uint64_t *mdc_rows_at(const mdc_rows *rows, uint32_t row) {
    return rows->data + (size_t)row * rows->words;
}
/* Where a row is put together before mdc_rows_keep. */
static inline uint64_t *mdc_rows_scratch(const mdc_rows *rows) { return mdc_rows_at(rows, rows->capacity); }
/* The number of the row equal to the scratch row, which is kept if it is new; MDC_ROW_NONE if there is no room. */
uint32_t mdc_rows_keep(mdc_rows *rows);

#endif
