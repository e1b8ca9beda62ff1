/* Kept memory by what is in it: stacks by address, then the rest by address. The plan makes them, mdc_plan_finish puts
 * them into this order, the layout gives each its file_offset; all others see them const. */
#ifndef MDC_ENGINE_EXTENTS_H
#define MDC_ENGINE_EXTENTS_H

#include <stdbool.h>

#include "../api/report.h"
#include "../base/vec.h"

typedef struct mdc_extents {
    const mdc_extent *all;
    size_t count;
    size_t stack_count; /* how many of them are stacks */
} mdc_extents;

/* The extent that holds the address, or NULL. */
const mdc_extent *mdc_extents_find(const mdc_extents *extents, uint64_t address);
bool mdc_extents_cover(const mdc_extents *extents, uint64_t first, uint64_t end);

#endif
