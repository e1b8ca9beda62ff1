/* What lies where in the target (see region_map.h). */
#include "region_map.h"

#include <string.h>
#include <windows.h>

#include "../source/describe.h"
#include "../windows/win_nt.h"
#include "../windows/win_peb.h"
#include "../windows/win_regions.h"
#include "../windows/win_texts.h"
#include "../windows/win_threads.h"
#include "../windows/win_wow64.h"

mdc_status mdc_region_map_init(mdc_region_map *map, mdc_error *err) {
    memset(map, 0, sizeof *map);
    mdc_vec_init(&map->regions, sizeof(mdc_region));
    mdc_vec_init(&map->copies, sizeof(mdc_copy));
    mdc_win_paths_init(&map->paths);
    return mdc_win_names_init(&map->names, err);
}

void mdc_region_map_fini(mdc_region_map *map) {
    mdc_vec_fini(&map->regions);
    mdc_vec_fini(&map->copies);
    mdc_win_names_fini(&map->names);
}

static mdc_status mark_heaps(mdc_region_map *map, const mdc_win_nt *nt, void *process, mdc_error *err) {
    mdc_vec heaps;
    mdc_vec_init(&heaps, sizeof(uint64_t));
    uint64_t narrow = mdc_win_wow64_peb(nt, process);
    mdc_status status = mdc_win_peb_heaps(&heaps, process, mdc_win_peb_address(nt, process), err);
    if (status == MDC_OK && narrow != 0) status = mdc_win_wow64_heaps(&heaps, process, narrow, err);
    for (size_t i = 0; status == MDC_OK && i < heaps.count; i++)
        mdc_win_regions_mark(&map->regions, mdc_vec_at(&heaps, const uint64_t, i), MDC_KIND_HEAP);
    mdc_vec_fini(&heaps);
    return status;
}

/* narrow: of a 32-bit program on 64-bit Windows, whose threads have two stacks. */
static void mark_stack_of(mdc_region_map *map, const mdc_win_nt *nt, void *process, bool narrow, int32_t pid,
                          uint32_t tid) {
    bool limited;
    uint32_t os_errno;
    mdc_win_thread_basics basics;
    HANDLE thread = mdc_win_thread_open(tid, pid, &limited, &os_errno);
    if (thread == NULL) return; /* it has ended, or is marked when dbghelp reports its stack */
    if (mdc_win_thread_basics_of(nt, thread, &basics)) {
        uint64_t base = mdc_win_thread_stack_base(process, basics.teb);
        if (base != 0) mdc_region_map_mark_stack(map, base - 1);
        base = narrow ? mdc_win_wow64_stack_base(process, basics.teb) : 0;
        if (base != 0) mdc_region_map_mark_stack(map, base - 1);
    }
    CloseHandle(thread);
}

static mdc_status mark_stacks(mdc_region_map *map, const mdc_win_nt *nt, void *process, int32_t pid, mdc_error *err) {
    mdc_vec ids;
    bool narrow = mdc_win_wow64_peb(nt, process) != 0;
    mdc_vec_init(&ids, sizeof(uint32_t));
    mdc_status status = mdc_win_threads_ids(&ids, pid, err);
    for (size_t i = 0; status == MDC_OK && i < ids.count; i++)
        mark_stack_of(map, nt, process, narrow, pid, mdc_vec_at(&ids, const uint32_t, i));
    mdc_vec_fini(&ids);
    return status;
}

mdc_status mdc_region_map_fill(mdc_region_map *map, void *process, int32_t pid, mdc_error *err) {
    mdc_win_nt nt = mdc_win_nt_load();
    map->regions.count = map->copies.count = 0;
    if (mdc_win_regions_list(&map->regions, process, &map->names, &map->paths, err) != MDC_OK ||
        mark_heaps(map, &nt, process, err) != MDC_OK ||
        mdc_win_texts_find(&map->copies, process, mdc_win_peb_address(&nt, process), sizeof(void *), err) != MDC_OK ||
        mdc_win_texts_find(&map->copies, process, mdc_win_wow64_peb(&nt, process), 4, err) != MDC_OK)
        return err->code;
    return mark_stacks(map, &nt, process, pid, err);
}

void mdc_region_map_mark_stack(mdc_region_map *map, uint64_t address) {
    mdc_win_regions_mark(&map->regions, address, MDC_KIND_STACK);
}

static void describe(const mdc_region_map *map, const mdc_region *region, mdc_region_facts *facts) {
    mdc_name name = {0, 0};
    if (region->name_id != 0) name = mdc_vec_at(&map->names.names, const mdc_name, region->name_id - 1);
    mdc_describe_facts(region, map->names.pool.data, name, facts);
}

mdc_region_facts mdc_region_map_facts_at(const mdc_region_map *map, size_t index) {
    mdc_region_facts facts;
    describe(map, &mdc_vec_at(&map->regions, const mdc_region, index), &facts);
    return facts;
}

/* Whether a region from dbghelp is in one of the map, as it was when the map was made. */
static bool agrees(const mdc_region *known, const MINIDUMP_MEMORY_INFO *region) {
    return region->BaseAddress - known->base < known->size &&
           region->RegionSize <= known->size - (region->BaseAddress - known->base) && region->State == known->state &&
           region->Type == known->type && region->AllocationBase == known->alloc_base;
}

mdc_status mdc_region_map_facts(mdc_region_map *map, void *process, const MINIDUMP_MEMORY_INFO *region,
                                mdc_region_facts *facts, mdc_error *err) {
    int64_t found = mdc_win_regions_find(&map->regions, region->BaseAddress);
    if (found >= 0 && agrees(&mdc_vec_at(&map->regions, const mdc_region, found), region)) {
        *facts = mdc_region_map_facts_at(map, (size_t)found);
        return MDC_OK;
    }
    /* Newer than the map, or another part of it: the region as dbghelp has it, and its name as it is now. */
    uint32_t name_id = 0;
    if (process != NULL && region->Type != MDC_MEM_PRIVATE) {
        size_t size = mdc_win_region_name(process, &map->paths, region->BaseAddress, map->names.units, map->names.bytes,
                                          (size_t)MDC_WIN_PATH_UNITS * 3);
        if (mdc_win_names_id(&map->names, map->names.bytes, size, &name_id, err) != MDC_OK) return err->code;
    }
    const mdc_region fresh = {.base = region->BaseAddress,
                              .size = region->RegionSize,
                              .kinds = mdc_win_region_kinds(region->Type, name_id != 0),
                              .name_id = name_id};
    describe(map, &fresh, facts);
    return MDC_OK;
}
