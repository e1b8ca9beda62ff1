/* Memory of ours that is there before it is needed: a page that is written first while a target is stopped costs more
 * than what is copied into it. */
#ifndef MDC_BASE_ARENA_H
#define MDC_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mdc_arena {
    uint8_t *data; /* page-aligned; NULL: none */
    size_t size;   /* bytes */
} mdc_arena;

/* Addresses for `size` bytes, a multiple of the page size; pages come when they are touched. false: *os_errno says
 * why. */
bool mdc_arena_reserve(mdc_arena *arena, size_t size, int32_t *os_errno);
/* Makes the pages of [first, end) be there. false: *os_errno. */
bool mdc_arena_touch(mdc_arena *arena, size_t first, size_t end, int32_t *os_errno);
/* Gives the whole pages of [first, end) back: what was in them is lost. */
void mdc_arena_release(mdc_arena *arena, size_t first, size_t end);
/* All of it, if there is any. */
void mdc_arena_free(mdc_arena *arena);

#endif
