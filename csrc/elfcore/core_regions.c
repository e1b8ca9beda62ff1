/* Regions out of program headers and NT_FILE: what both say of one mapping. A mapping that only NT_FILE has is one that
 * gcore left out. */
#include <stdlib.h>
#include <string.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/protection.h"
#include "../format/elf_file.h"
#include "../format/map_line.h"
#include "../source/name_kinds.h"
#include "core.h"

/* fixed by the kernel's interface: arch/x86/include/uapi/asm/vsyscall.h */
#define VSYSCALL UINT64_C(0xFFFFFFFFFF600000)

static mdc_status make_pieces(mdc_core *core, mdc_error *err) {
    for (size_t i = 0; i < core->loads.count; i++) {
        const mdc_core_load *load = &mdc_vec_at(&core->loads, const mdc_core_load, i);
        if (load->file_size == 0) continue;
        const mdc_core_piece piece = {load->address, load->file_size, load->offset, 0};
        if (mdc_vec_push(&core->pieces, &piece, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static uint32_t perms_of(uint32_t flags) {
    uint32_t perms = (flags & MDC_ELF_READ) != 0 ? MDC_PERM_READ : 0;
    if ((flags & MDC_ELF_WRITE) != 0) perms |= MDC_PERM_WRITE;
    return (flags & MDC_ELF_EXECUTE) != 0 ? perms | MDC_PERM_EXECUTE : perms;
}

static mdc_status add_region(mdc_core *core, uint64_t first, uint64_t end, const mdc_core_load *load,
                             const mdc_core_file *file, mdc_error *err) {
    mdc_region region = {.base = first,
                         .size = end - first,
                         .state = MDC_MEM_COMMIT,
                         .protect = mdc_map_protection(load != NULL ? perms_of(load->flags) : MDC_PERM_READ),
                         .type = MDC_MEM_PRIVATE,
                         .kinds = MDC_KIND_ANONYMOUS,
                         .alloc_protect = load != NULL ? 0 : MDC_CORE_UNKNOWN_ACCESS,
                         .alloc_base = first,
                         .valid_size = end - first};
    if (file != NULL) {
        const mdc_name name = mdc_vec_at(&core->names, mdc_name, file->name_id - 1);
        region.kinds =
            mdc_name_kinds(&mdc_vec_at(&core->pool, uint8_t, name.offset), name.size, file->deleted != 0, false);
        region.name_id = file->name_id;
        region.file_offset = file->offset + (first - file->first);
        if (file->deleted != 0) region.facts = MDC_FACT_DELETED;
        if ((region.kinds & MDC_KIND_ANONYMOUS) == 0) {
            region.type = MDC_MEM_MAPPED;
            region.flags = MDC_REGION_FILE;
        }
        /* A number for each file, until the modules are known. */
        region.inode = 2 * (uint64_t)file->name_id + file->deleted;
    } else if (load != NULL && load->flags == 0 && load->file_size == 0) {
        region.state = MDC_MEM_RESERVE;
        region.protect = 0; /* undefined for reservations, by convention 0 */
        region.flags = MDC_REGION_NEVER_READ;
    }
    return mdc_vec_push(&core->regions, &region, 1, NULL, err);
}

typedef struct range {
    uint64_t first, end;
} range;

/* Whole pages of a load that none before it has. */
static range pages_of(const mdc_core_load *load, uint64_t floor) {
    return (range){mdc_max_u64(mdc_page_down(load->address), floor), mdc_page_up(load->address + load->memory_size)};
}

/* One pass over both lists; each step makes one region, or passes over what has ended. */
static mdc_status sweep(mdc_core *core, mdc_error *err) {
    const mdc_core_load *loads = core->loads.data;
    const mdc_core_file *files = core->files.data;
    size_t l = 0, f = 0;
    uint64_t at = 0;
    for (size_t step = 0;; step++) {
        if (step % 1024 == 0 && mdc_control_check(core->control, err) != MDC_OK) return err->code;
        while (l < core->loads.count && pages_of(&loads[l], at).end <= at) l++;
        while (f < core->files.count && files[f].end <= at) f++;
        const range none = {UINT64_MAX, UINT64_MAX};
        const range load = l < core->loads.count ? pages_of(&loads[l], at) : none;
        const range file = f < core->files.count ? (range){mdc_max_u64(files[f].first, at), files[f].end} : none;
        const uint64_t first = mdc_min_u64(load.first, file.first);
        if (first == UINT64_MAX) return MDC_OK;
        const bool in_load = load.first == first, in_file = file.first == first;
        const uint64_t end = mdc_min_u64(in_load ? load.end : load.first, in_file ? file.end : file.first);
        if (add_region(core, first, end, in_load ? &loads[l] : NULL, in_file ? &files[f] : NULL, err) != MDC_OK)
            return err->code;
        at = end;
    }
}

mdc_status mdc_core_name_region(mdc_core *core, uint64_t address, const char *name, uint32_t kinds, mdc_error *err) {
    int64_t found = address == 0 ? -1 : mdc_regions_at(&core->regions, address);
    if (found < 0) return MDC_OK;
    mdc_region *region = &mdc_vec_at(&core->regions, mdc_region, found);
    if (region->name_id != 0) return MDC_OK;
    region->kinds = kinds;
    return mdc_core_name(core, (const uint8_t *)name, strlen(name), &region->name_id, err);
}

mdc_status mdc_core_make_regions(mdc_core *core, mdc_error *err) {
    if (mdc_vec_reserve(&core->regions, core->loads.count, err) != MDC_OK || make_pieces(core, err) != MDC_OK ||
        sweep(core, err) != MDC_OK)
        return err->code;
    mdc_vec_fini(&core->loads);
    mdc_vec_fini(&core->files);
    mdc_vec_trim(&core->regions);
    if (mdc_core_name_region(core, core->vdso, "[vdso]", MDC_KIND_VDSO, err) != MDC_OK ||
        mdc_core_name_region(core, core->wide ? VSYSCALL : 0, "[vsyscall]", 0, err) != MDC_OK)
        return err->code;
    /* The strings of exec(2) are at the end of the main thread's stack. */
    const uint32_t stack = MDC_KIND_STACK | MDC_KIND_ANONYMOUS;
    return mdc_core_name_region(core, core->start.execfn != 0 ? core->start.execfn : core->start.random, "[stack]",
                                stack, err);
}

/* -- the heap ------------------------------------------------------------------------------------------------------ */

/* How far above the program the heap of brk(2) begins at most: arch_randomize_brk of arch/x86/kernel/process.c. */
enum { HEAP_FAR = 1 << 30, HEAP_FAR_NARROW = 32 << 20 };

static bool may_be_heap(const mdc_region *region) {
    return region->name_id == 0 && region->type == MDC_MEM_PRIVATE && region->state == MDC_MEM_COMMIT &&
           region->kinds == MDC_KIND_ANONYMOUS;
}

static bool is_writable(const mdc_region *region) { return (region->protect & MDC_PAGE_ANY_WRITE) != 0; }

mdc_status mdc_core_find_heap(mdc_core *core, mdc_error *err) {
    const mdc_region *regions = core->regions.data;
    const mdc_module *modules = core->modules.data;
    const uint64_t far = core->wide ? HEAP_FAR : HEAP_FAR_NARROW;
    uint64_t end = 0;
    size_t at;
    for (size_t i = 0; i < core->modules.count && end == 0; i++)
        if (core->phdr - modules[i].base < modules[i].size) end = modules[i].base + modules[i].size;
    if (core->phdr == 0 || end == 0) return MDC_OK;
    mdc_lower_bound(at, 0, core->regions.count, regions[at].base + regions[at].size < end);
    while (at < core->regions.count && !(may_be_heap(&regions[at]) && is_writable(&regions[at]))) at++;
    if (at == core->regions.count || regions[at].base < end || regions[at].base - mdc_page_up(end) > far) return MDC_OK;
    /* Parts of other access follow without a gap. */
    for (uint64_t next = regions[at].base;
         at < core->regions.count && regions[at].base == next && may_be_heap(&regions[at]); at++) {
        next += regions[at].size;
        if (mdc_core_name_region(core, regions[at].base, "[heap]", MDC_KIND_HEAP | MDC_KIND_ANONYMOUS, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}
