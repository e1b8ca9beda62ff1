/* The regions: what MemoryInfoList says of the address space, and the pages of all memory that the file holds. Sorted,
 * disjoint, whole pages, named (see dump_file.h).
 *
 * Held memory that MemoryInfoList does not have as committed is a region of its own: nothing that the file holds may
 * escape the filter. What is not told of it is taken from the mappings of LinuxMaps, and from the modules. */
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../format/map_line.h"
#include "../source/name_kinds.h"
#include "dump_file.h"

/* Where a module is, sorted by base. */
typedef struct module_at {
    uint64_t base;
    uint64_t end;
    size_t index;
    uint32_t name_id;
} module_at;

typedef struct maker {
    mdc_dump_file *file;
    mdc_vec modules;         /* module_at */
    mdc_vec layer;           /* mdc_region, to be added */
    const module_at *module; /* of the last region in the layer of memory */
    const mdc_dump_mapping *mapping;
} maker;

/* -- MemoryInfoList ------------------------------------------------------------------------------------------------ */

static mdc_status take_info(mdc_dump_file *file, const uint8_t *entry, uint64_t offset, mdc_error *err) {
    MINIDUMP_MEMORY_INFO info;
    uint64_t end;
    memcpy(&info, entry, sizeof info);
    if (info.RegionSize == 0) return MDC_OK;
    if (!mdc_add_u64(info.BaseAddress, info.RegionSize - 1, &end)) {
        mdc_dump_broken(err, offset, "MemoryInfoList: an entry", "it extends beyond the end of the address space");
        return mdc_dump_tolerate(file, err);
    }
    mdc_region region = {.base = info.BaseAddress,
                         .size = info.RegionSize,
                         .state = info.State,
                         .protect = info.Protect,
                         .type = info.Type,
                         .alloc_base = info.AllocationBase,
                         .alloc_protect = info.AllocationProtect};
    return mdc_vec_push(&file->infos, &region, 1, NULL, err);
}

mdc_status mdc_dump_memory_infos(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    return mdc_dump_each_sized(file, stream, sizeof(MINIDUMP_MEMORY_INFO), true, MDC_DUMP_INFOS, "MemoryInfoList",
                               take_info, err);
}

/* -- layers -------------------------------------------------------------------------------------------------------- */

static int by_base(const void *left, const void *right) {
    const mdc_region *a = left, *b = right;
    if (a->base != b->base) return a->base < b->base ? -1 : 1;
    return a->size > b->size ? -1 : a->size < b->size;
}

/* Where the page of this byte ends; the last page of all has no end. */
static uint64_t page_end(uint64_t last) { return mdc_page_up(last == UINT64_MAX ? last : last + 1); }

/* Entries of this state as whole pages, each from where those before it end. */
static mdc_status layer_of_infos(maker *make, uint32_t state, mdc_error *err) {
    const mdc_vec *infos = &make->file->infos;
    uint64_t floor = 0;
    make->layer.count = 0;
    for (size_t i = 0; i < infos->count; i++) {
        mdc_region region = mdc_vec_at(infos, const mdc_region, i);
        if (region.state != state) continue;
        uint64_t end = page_end(region.base + (region.size - 1));
        region.base = mdc_max_u64(mdc_page_down(region.base), floor);
        if (end <= region.base) continue;
        region.size = end - region.base;
        floor = end;
        if (mdc_vec_push(&make->layer, &region, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* What of the layer lies where there is no region yet becomes regions. */
static mdc_status paint(maker *make, mdc_error *err) {
    mdc_vec all, *regions = &make->file->regions;
    if (regions->count == 0) {
        all = *regions;
        *regions = make->layer;
        make->layer = all;
        return MDC_OK;
    }
    mdc_vec_init(&all, sizeof(mdc_region));
    size_t below = 0;
    mdc_status status = mdc_vec_reserve(&all, regions->count + make->layer.count, err);
    for (size_t i = 0; status == MDC_OK && i < make->layer.count; i++) {
        mdc_region piece = mdc_vec_at(&make->layer, const mdc_region, i);
        uint64_t at = piece.base, end = piece.base + piece.size;
        while (status == MDC_OK && at < end) {
            const mdc_region *next = below < regions->count ? &mdc_vec_at(regions, const mdc_region, below) : NULL;
            if (next != NULL && next->base + next->size <= at) {
                status = mdc_vec_push(&all, next, 1, NULL, err);
                below++;
            } else if (next != NULL && next->base <= at) {
                at = next->base + next->size;
            } else {
                piece.base = at;
                piece.size = (next != NULL ? mdc_min_u64(end, next->base) : end) - at;
                status = mdc_vec_push(&all, &piece, 1, NULL, err);
                at += piece.size;
            }
        }
    }
    for (; status == MDC_OK && below < regions->count; below++)
        status = mdc_vec_push(&all, &mdc_vec_at(regions, const mdc_region, below), 1, NULL, err);
    if (status != MDC_OK) {
        mdc_vec_fini(&all);
        return status;
    }
    mdc_vec_fini(regions);
    *regions = all;
    return MDC_OK;
}

/* -- names and kinds ----------------------------------------------------------------------------------------------- */

static int by_module(const void *left, const void *right) {
    const module_at *a = left, *b = right;
    if (a->base != b->base) return a->base < b->base ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static mdc_status sort_modules(maker *make, mdc_error *err) {
    mdc_dump_file *file = make->file;
    for (size_t i = 0; i < file->modules.count; i++) {
        const mdc_module *module = &mdc_vec_at(&file->modules, const mdc_module, i);
        module_at at = {.base = module->base, .index = i};
        mdc_name path = module->path;
        if (!mdc_add_u64(module->base, module->size, &at.end) || module->size == 0) continue;
        if (path.size > 0) { /* the pool may move while a name is added to it */
            memcpy(file->text, (const uint8_t *)file->pool.data + path.offset, path.size);
            if (mdc_dump_name_id(file, file->text, path.size, &at.name_id, err) != MDC_OK) return err->code;
        }
        if (mdc_vec_push(&make->modules, &at, 1, NULL, err) != MDC_OK) return err->code;
    }
    if (make->modules.count > 1) qsort(make->modules.data, make->modules.count, sizeof(module_at), by_module);
    return MDC_OK;
}

static const module_at *module_of(const maker *make, uint64_t address, uint64_t *next) {
    const module_at *all = make->modules.data;
    size_t at;
    mdc_lower_bound(at, 0, make->modules.count, all[at].base <= address);
    if (at < make->modules.count) *next = mdc_min_u64(*next, all[at].base);
    if (at == 0 || address >= all[at - 1].end) return NULL;
    *next = mdc_min_u64(*next, all[at - 1].end);
    return &all[at - 1];
}

static const mdc_dump_mapping *mapping_of(const maker *make, uint64_t address, uint64_t *next) {
    const mdc_dump_mapping *all = make->file->mappings.data;
    size_t at, count = make->file->mappings.count;
    mdc_lower_bound(at, 0, count, all[at].first <= address);
    if (at < count) *next = mdc_min_u64(*next, all[at].first);
    if (at == 0 || address >= all[at - 1].end) return NULL;
    *next = mdc_min_u64(*next, all[at - 1].end);
    return &all[at - 1];
}

/* [first, end) of memory that is only known to be there: a region of each mapping and module in it. */
static mdc_status add_plain(maker *make, uint64_t first, uint64_t end, mdc_error *err) {
    size_t count = make->layer.count;
    if (count > 0) {
        const mdc_region *last = &mdc_vec_at(&make->layer, const mdc_region, count - 1);
        first = mdc_max_u64(first, last->base + last->size);
    }
    while (first < end && (make->file->list_max == 0 || make->layer.count < make->file->list_max)) {
        uint64_t next = end;
        const module_at *module = module_of(make, first, &next);
        const mdc_dump_mapping *mapping = mapping_of(make, first, &next);
        if (next < end) next = mdc_max_u64(mdc_page_down(next), first + MDC_PAGE_SIZE);
        mdc_region region = {.base = first, .size = next - first, .state = MDC_MEM_COMMIT};
        region.type = module != NULL ? MDC_MEM_IMAGE : MDC_MEM_PRIVATE;
        region.protect = module != NULL ? MDC_PAGE_EXECUTE_READ : MDC_PAGE_READWRITE;
        if (mapping != NULL) region.protect = mdc_map_protection(mapping->perms);
        if (module == NULL && mapping != NULL && (mapping->inode != 0 || (mapping->perms & MDC_PERM_SHARED) != 0))
            region.type = MDC_MEM_MAPPED;
        /* What touches and is alike is one region, as it was in the target. */
        mdc_region *last = make->layer.count > 0 ? &mdc_vec_at(&make->layer, mdc_region, make->layer.count - 1) : NULL;
        if (last != NULL && last->base + last->size == first && module == make->module && mapping == make->mapping)
            last->size += region.size;
        else if (mdc_vec_push(&make->layer, &region, 1, NULL, err) != MDC_OK)
            return err->code;
        make->module = module;
        make->mapping = mapping;
        first = next;
    }
    return MDC_OK;
}

/* The pages of what is held, and of what was before the file was cut. */
static mdc_status layer_of_memory(maker *make, mdc_error *err) {
    const mdc_dump_file *file = make->file;
    make->layer.count = 0;
    for (size_t i = 0, k = 0; i < file->held.count || k < file->cut.count;) {
        const mdc_carried_run *held = i < file->held.count ? &mdc_vec_at(&file->held, const mdc_carried_run, i) : NULL;
        const mdc_set_range *cut = k < file->cut.count ? &mdc_vec_at(&file->cut, const mdc_set_range, k) : NULL;
        bool first_is_held = held != NULL && (cut == NULL || held->address <= cut->first);
        uint64_t first = first_is_held ? held->address : cut->first;
        uint64_t end = first_is_held ? held->address + held->size : cut->end;
        if (first_is_held)
            i++;
        else
            k++;
        if (add_plain(make, mdc_page_down(first), mdc_page_up(end), err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static bool is_named(const mdc_dump_file *file, uint32_t name_id, const char *text) {
    if (name_id == 0) return false;
    mdc_name name = mdc_vec_at(&file->names, const mdc_name, name_id - 1);
    return name.size == strlen(text) && memcmp((const uint8_t *)file->pool.data + name.offset, text, name.size) == 0;
}

static uint32_t kinds_of_file(const mdc_dump_file *file, const mdc_region *region, const mdc_dump_mapping *mapping) {
    mdc_name name = mdc_vec_at(&file->names, const mdc_name, region->name_id - 1);
    bool shared = mapping != NULL && (mapping->perms & MDC_PERM_SHARED) != 0;
    return mdc_name_kinds((const uint8_t *)file->pool.data + name.offset, name.size,
                          (region->facts & MDC_FACT_DELETED) != 0, shared);
}

static void label(maker *make, mdc_region *region) {
    const mdc_dump_file *file = make->file;
    uint64_t next = UINT64_MAX;
    const module_at *module = module_of(make, region->base, &next);
    const mdc_dump_mapping *mapping = mapping_of(make, region->base, &next);
    region->valid_size = region->size;
    if (mapping != NULL) {
        region->file_offset = mapping->file_offset + (mapping->inode != 0 ? region->base - mapping->first : 0);
        region->inode = mapping->inode;
        region->dev_major = mapping->dev_major;
        region->dev_minor = mapping->dev_minor;
        region->facts = mapping->facts;
        region->name_id = mapping->name_id;
    }
    if (module != NULL && region->name_id == 0 && region->type != MDC_MEM_PRIVATE) region->name_id = module->name_id;
    if (region->alloc_base == 0 || region->alloc_base > region->base)
        region->alloc_base = module != NULL && region->type == MDC_MEM_IMAGE ? module->base : region->base;
    if (region->type == MDC_MEM_IMAGE || (module != NULL && region->type == MDC_MEM_MAPPED))
        region->kinds = MDC_KIND_IMAGE;
    else if (region->type == MDC_MEM_MAPPED && region->name_id != 0)
        region->kinds = kinds_of_file(file, region, mapping);
    else if (region->type == MDC_MEM_MAPPED)
        region->kinds = MDC_KIND_SHARED;
    else
        region->kinds = MDC_KIND_ANONYMOUS;
    if (region->type != MDC_MEM_PRIVATE) region->flags |= MDC_REGION_FILE;
    if (mapping != NULL && (mapping->perms & MDC_PERM_SHARED) != 0) {
        region->kinds |= MDC_KIND_SHARED;
        region->flags |= MDC_REGION_SHARED;
    }
    if (is_named(file, region->name_id, "[heap]")) region->kinds |= MDC_KIND_HEAP;
    if (is_named(file, region->name_id, "[stack]")) region->kinds |= MDC_KIND_STACK;
    if (is_named(file, region->name_id, "[vdso]"))
        region->kinds = (region->kinds & ~(uint32_t)MDC_KIND_ANONYMOUS) | MDC_KIND_VDSO;
}

/* Are both of one mapping, which a writer has described in parts? */
static bool one_mapping(const mdc_region *low, const mdc_region *high) {
    return low->type == MDC_MEM_PRIVATE && high->type == MDC_MEM_PRIVATE && low->alloc_base == high->alloc_base &&
           low->base + low->size == high->base;
}

/* address: a stack pointer, or where the stack is that a thread's descriptor names. */
static void mark_stack(mdc_dump_file *file, uint64_t address) {
    mdc_region *all = file->regions.data;
    size_t at;
    if (address == 0) return;
    mdc_lower_bound(at, 0, file->regions.count, all[at].base <= address);
    if (at == 0 || address - all[at - 1].base >= all[at - 1].size) return;
    size_t first = at - 1, end = at;
    if ((all[first].kinds & MDC_KIND_STACK) != 0) return; /* so are its other parts: each is gone through once */
    while (first > 0 && one_mapping(&all[first - 1], &all[first])) first--;
    while (end < file->regions.count && one_mapping(&all[end - 1], &all[end])) end++;
    for (; first < end; first++) all[first].kinds |= MDC_KIND_STACK;
}

static mdc_status make_regions(maker *make, mdc_error *err) {
    mdc_dump_file *file = make->file;
    if (file->infos.count > 1) qsort(file->infos.data, file->infos.count, sizeof(mdc_region), by_base);
    if (sort_modules(make, err) != MDC_OK || layer_of_infos(make, MDC_MEM_COMMIT, err) != MDC_OK ||
        paint(make, err) != MDC_OK || layer_of_memory(make, err) != MDC_OK || paint(make, err) != MDC_OK ||
        layer_of_infos(make, MDC_MEM_RESERVE, err) != MDC_OK || paint(make, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < file->regions.count; i++) label(make, &mdc_vec_at(&file->regions, mdc_region, i));
    for (size_t i = 0; i < file->threads.count; i++) {
        mark_stack(file, mdc_vec_at(&file->threads, const mdc_thread, i).stack_pointer);
        mark_stack(file, mdc_vec_at(&file->threads, const mdc_thread, i).stack_first);
    }
    for (size_t i = 0; i < file->exceptions.count; i++)
        mark_stack(file, mdc_vec_at(&file->exceptions, const mdc_dump_exception, i).stack_pointer);
    for (size_t i = 0; i < file->regions.count && file->system.platform != MDC_PLATFORM_WINDOWS; i++) {
        mdc_region *region = &mdc_vec_at(&file->regions, mdc_region, i);
        region->kinds = mdc_heap_kinds(region->kinds, region->type, region->protect);
    }
    return MDC_OK;
}

mdc_status mdc_dump_make_regions(mdc_dump_file *file, mdc_error *err) {
    maker make = {.file = file};
    mdc_vec_init(&make.modules, sizeof(module_at));
    mdc_vec_init(&make.layer, sizeof(mdc_region));
    mdc_status status = make_regions(&make, err);
    mdc_vec_fini(&make.modules);
    mdc_vec_fini(&make.layer);
    return status;
}
