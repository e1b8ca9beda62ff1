/* The live process as mdc_target_view, and what its files say of its modules. */
#ifndef MDC_LINUX_VIEW_H
#define MDC_LINUX_VIEW_H

#include "../source/modules.h"
#include "mappings.h"
#include "memory.h"

typedef struct mdc_live_view {
    mdc_mappings *mappings;
    mdc_memory *memory;
    int proc;
} mdc_live_view;

/* live stays where it is as long as the view is used. */
mdc_target_view mdc_live_view_of(mdc_live_view *live);
/* mdc_modules_find for a live process. */
mdc_status mdc_live_modules_find(mdc_vec *modules, mdc_live_view *live, uint64_t phdr, mdc_error *err);

#endif
