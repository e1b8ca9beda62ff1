/* What is looked through in search of modules and texts, in a live process as in a file: the regions with their names,
 * and a way to read memory. */
#ifndef MDC_SOURCE_TARGET_VIEW_H
#define MDC_SOURCE_TARGET_VIEW_H

#include <stdbool.h>

#include "../base/dump_control.h"
#include "../base/vec.h"
#include "snapshot.h"

typedef struct mdc_target_view {
    mdc_vec *regions; /* mdc_region */
    mdc_vec *names;   /* mdc_name by name_id - 1 */
    mdc_vec *pool;    /* uint8_t; grows */
    bool narrow;      /* a 32-bit process */
    /* *done: bytes from the start that are there. Fails only where the target is gone. */
    mdc_status (*read)(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err);
    void *context;             /* for read */
    mdc_dump_control *control; /* NULL, or notified of advances */
} mdc_target_view;

/* The region that holds the address, or -1. regions: mdc_region, sorted and disjoint. */
int64_t mdc_regions_at(const mdc_vec *regions, uint64_t address);
/* Adds raw bytes to a pool (uint8_t). */
mdc_status mdc_pool_add(mdc_vec *pool, const void *bytes, size_t size, mdc_name *name, mdc_error *err);

#endif
