/* Memory as the lists contain it: extents joined to ranges, without what was left out or excised. */
#ifndef MDC_ENGINE_FILE_RANGES_H
#define MDC_ENGINE_FILE_RANGES_H

#include "layout.h"

typedef struct mdc_file_range {
    uint64_t address;
    uint64_t size;
    uint64_t offset; /* in the dump */
    size_t extent;   /* its first */
} mdc_file_range;

/* In the order of the file, over [extent, end). */
typedef struct mdc_range_walk {
    const mdc_layout *layout;
    size_t extent, end; /* next extent, and where to stop */
    size_t excised;
    uint64_t offset;
    uint64_t skip; /* bytes of `extent` already returned */
} mdc_range_walk;
mdc_range_walk mdc_ranges_begin(const mdc_layout *layout, size_t extent, size_t end);
bool mdc_ranges_next(mdc_range_walk *walk, mdc_file_range *range);
size_t mdc_ranges_count(const mdc_layout *layout, size_t extent, size_t end);

/* All of them by address: stacks and the rest side by side, or the first walk through one chain after the other. */
typedef struct mdc_sorted_walk {
    mdc_range_walk walk[2];
    mdc_file_range range[2];
    bool there[2];
    size_t chain;
} mdc_sorted_walk;
mdc_sorted_walk mdc_ranges_sorted(const mdc_layout *layout);
bool mdc_ranges_next_sorted(mdc_sorted_walk *walk, mdc_file_range *range);

/* The range of the thread's stack that holds its stack pointer, or the first one of the part; below offset32_end. */
bool mdc_ranges_of_thread(const mdc_layout *layout, size_t thread, mdc_file_range *range);
/* The range that holds the address, below offset32_end; in an existing dump. */
bool mdc_ranges_of_address(const mdc_layout *layout, uint64_t address, mdc_file_range *range);

#endif
