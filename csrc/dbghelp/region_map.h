/* What lies where in the target of a dbghelp dump, asked of the system and not of dbghelp: names, kinds and the size of
 * the mapping, which IncludeVmRegion does not say. Also what the report's regions are made of. */
#ifndef MDC_DBGHELP_REGION_MAP_H
#define MDC_DBGHELP_REGION_MAP_H

#include "../api/minidump_protocol.h"
#include "../windows/win_names.h"
#include "../windows/win_paths.h"

typedef struct mdc_region_map {
    mdc_vec regions; /* mdc_region, sorted */
    mdc_vec copies;  /* mdc_copy: command line and environment */
    mdc_win_names names;
    mdc_win_paths paths;
} mdc_region_map;

mdc_status mdc_region_map_init(mdc_region_map *map, mdc_error *err);
void mdc_region_map_fini(mdc_region_map *map); /* also of one that was zeroed only */
/* Everything anew, with heaps and the stacks of all threads, kept or not. process: a HANDLE with
 * PROCESS_QUERY_INFORMATION and PROCESS_VM_READ; pid: whose threads they are (a clone has none of its own). */
mdc_status mdc_region_map_fill(mdc_region_map *map, void *process, int32_t pid, mdc_error *err);
/* All regions of the allocation with this address hold a stack. */
void mdc_region_map_mark_stack(mdc_region_map *map, uint64_t address);

/* Facts about a region. What the map does not contain, or contains differently, is queried from the process (NULL: not
 * at all). facts->Name is valid until the map learns another name. */
mdc_status mdc_region_map_facts(mdc_region_map *map, void *process, const MINIDUMP_MEMORY_INFO *region,
                                mdc_region_facts *facts, mdc_error *err);
/* Facts about what the map holds at an index. */
mdc_region_facts mdc_region_map_facts_at(const mdc_region_map *map, size_t index);

#endif
