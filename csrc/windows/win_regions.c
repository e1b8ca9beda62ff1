/* The address space of a Windows process (see win_regions.h). */
#define PSAPI_VERSION 2 /* K32GetMappedFileNameW, of kernel32 */
#include "win_regions.h"

#include <windows.h>
/* after windows.h, whose types it uses */
#include <psapi.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "../format/wtf8.h"

size_t mdc_win_region_name(void *process, const mdc_win_paths *paths, uint64_t address, uint16_t *units, uint8_t *out,
                           size_t room) {
    void *at = (void *)(uintptr_t)address;
    DWORD count = GetMappedFileNameW(process, at, (wchar_t *)units, MDC_WIN_PATH_UNITS);
    if (count == 0 || count >= MDC_WIN_PATH_UNITS) return 0;
    size_t size = 0;
    while (size < count && units[size] != 0) size++; /* Wine counts the NUL of some names */
    return mdc_wtf8_from_utf16(units, mdc_win_paths_to_dos(paths, units, size, MDC_WIN_PATH_UNITS), out, room);
}

uint32_t mdc_win_region_kinds(uint32_t type, bool named) {
    if (type == MDC_MEM_IMAGE) return MDC_KIND_IMAGE;
    if (type == MDC_MEM_MAPPED) return named ? MDC_KIND_FILE : MDC_KIND_SHARED;
    return MDC_KIND_ANONYMOUS;
}

/* Never read: guard pages (a read would not trip them, but they have no content), pages without access, and
 * pages that are not cached. Among the latter is what drivers map for a program: registers and frame buffers of
 * devices, where a read may do something or stop the bus. VirtualQueryEx does not distinguish those from plain memory
 * that was allocated with PAGE_NOCACHE or PAGE_WRITECOMBINE, so neither is touched; both are in MemoryInfoList. */
uint32_t mdc_win_region_flags(uint32_t state, uint32_t protect, uint32_t type) {
    const uint32_t untouchable = MDC_PAGE_GUARD | MDC_PAGE_NOACCESS | MDC_PAGE_NOCACHE | MDC_PAGE_WRITECOMBINE;
    uint32_t flags = type == MDC_MEM_PRIVATE ? 0 : MDC_REGION_FILE;
    if (state != MDC_MEM_COMMIT || (protect & untouchable) != 0 || (protect & 0xFF) == 0)
        flags |= MDC_REGION_NEVER_READ;
    return flags;
}

static mdc_region region_of(const MEMORY_BASIC_INFORMATION *info, uint64_t base, uint64_t size) {
    mdc_region region = {.base = base,
                         .size = size,
                         .state = info->State,
                         .protect = info->State == MEM_COMMIT ? info->Protect : 0,
                         .type = info->Type,
                         .alloc_base = (uint64_t)(uintptr_t)info->AllocationBase,
                         .alloc_protect = info->AllocationProtect,
                         .valid_size = size};
    region.flags = mdc_win_region_flags(region.state, region.protect, region.type);
    return region;
}

mdc_status mdc_win_regions_list(mdc_vec *regions, void *process, mdc_win_names *names, const mdc_win_paths *paths,
                                mdc_error *err) {
    uint64_t at = 0, named_base = UINT64_MAX;
    uint32_t name_id = 0;
    while (at <= UINTPTR_MAX) {
        MEMORY_BASIC_INFORMATION info;
        if (VirtualQueryEx(process, (void *)(uintptr_t)at, &info, sizeof info) != sizeof info) break; /* the end */
        uint64_t base = (uint64_t)(uintptr_t)info.BaseAddress, end;
        /* Whole pages that lead on; else nothing could be said of what follows. */
        if (!mdc_add_u64(base, info.RegionSize, &end) || end <= at || (end & (MDC_PAGE_SIZE - 1)) != 0) break;
        if (base < at) base = at;
        at = end;
        if (info.State == MEM_FREE) continue;
        mdc_region region = region_of(&info, base, end - base);
        if (region.type != MDC_MEM_PRIVATE && region.alloc_base != named_base) {
            size_t size = mdc_win_region_name(process, paths, base, names->units, names->bytes,
                                              (size_t)MDC_WIN_PATH_UNITS * MDC_WTF8_PER_UNIT);
            if (mdc_win_names_id(names, names->bytes, size, &name_id, err) != MDC_OK) return err->code;
            named_base = region.alloc_base;
        }
        region.name_id = region.type == MDC_MEM_PRIVATE ? 0 : name_id;
        region.kinds = mdc_win_region_kinds(region.type, region.name_id != 0);
        if (mdc_vec_push(regions, &region, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

int64_t mdc_win_regions_find(const mdc_vec *regions, uint64_t address) {
    const mdc_region *all = regions->data;
    size_t at;
    mdc_lower_bound(at, 0, regions->count, all[at].base <= address);
    if (at == 0 || address - all[at - 1].base >= all[at - 1].size) return -1;
    return (int64_t)at - 1;
}

void mdc_win_regions_mark(mdc_vec *regions, uint64_t address, uint32_t kind) {
    int64_t found = mdc_win_regions_find(regions, address);
    if (found < 0) return;
    mdc_region *all = regions->data;
    uint64_t base = all[found].alloc_base;
    if ((all[found].kinds & kind) == kind) return; /* all of it then: a target may list one heap thousands of times */
    size_t at = (size_t)found;
    while (at > 0 && all[at - 1].alloc_base == base) at--;
    for (; at < regions->count && all[at].alloc_base == base; at++) all[at].kinds |= kind;
}
