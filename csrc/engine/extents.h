/* Kept memory by what is in it: stacks by address, then the rest by address; where the copying may end early, in the
 * order of copy_order.h. The plan makes them, mdc_plan_finish puts them into this order, the layout gives each its
 * file_offset; all others see them const. */
#ifndef MDC_ENGINE_EXTENTS_H
#define MDC_ENGINE_EXTENTS_H

#include <stdbool.h>

#include "../api/report.h"
#include "../base/vec.h"

/* Extents that are one range of memory: the first, and those that are joined to it. */
typedef struct mdc_chain {
    uint64_t address;
    size_t first, end; /* in the order of extents */
} mdc_chain;

typedef struct mdc_extents {
    const mdc_extent *all;
    size_t count;
    size_t stack_count; /* how many of them are stacks; in the order of copy_order.h all stacks are among so many */
    /* In that order: all chains by address, and how many extents are copied during the stop. Else NULL and 0. */
    const mdc_chain *chains;
    size_t chain_count;
    size_t timed_count;
} mdc_extents;

/* The chain that begins at the address or is the last to begin before it, NULL if there is none. */
const mdc_chain *mdc_extents_chain(const mdc_extents *extents, uint64_t address);

/* The extent that holds the address, or NULL. */
const mdc_extent *mdc_extents_find(const mdc_extents *extents, uint64_t address);
bool mdc_extents_cover(const mdc_extents *extents, uint64_t first, uint64_t end);

#endif
