/* The modules of a Windows process (see win_modules.h). */
#define PSAPI_VERSION 2 /* K32EnumProcessModulesEx and others, of kernel32 */
#include "win_modules.h"

#include <windows.h>
/* behind windows.h, whose types it uses */
#include <psapi.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../format/pe_image.h"
#include "win_memory.h"
#include "win_regions.h"

enum { MODULES_MAX = 16384 }; /* a list this long is no list of modules: the target wrote it */

/* What the list is made with. */
typedef struct finder {
    mdc_vec *modules;
    void *process;
    const mdc_vec *regions;
    mdc_win_names *names;
    mdc_pe_image *image; /* 4 KiB: too large for a stack that somebody else made small */
} finder;

typedef struct image_reader {
    void *process;
    uint64_t base;
} image_reader;

static bool read_image(void *context, uint64_t offset, void *out, size_t size) {
    const image_reader *reader = context;
    uint64_t address;
    uint32_t os_errno;
    return mdc_add_u64(reader->base, offset, &address) &&
           mdc_win_memory_read(reader->process, address, out, size, &os_errno) == size;
}

/* Bytes from `base` to the end of the last region of its allocation that follows without a hole. */
static uint64_t mapped_size(const mdc_vec *regions, uint64_t base) {
    int64_t found = mdc_win_regions_find(regions, base);
    if (found < 0) return 0;
    const mdc_region *all = regions->data;
    size_t at = (size_t)found;
    uint64_t end = all[at].base + all[at].size;
    for (at++; at < regions->count && all[at].base == end && all[at].alloc_base == all[found].alloc_base; at++)
        end += all[at].size;
    return end - base;
}

/* size: as the loader has it, 0 if it is not asked. */
static mdc_status add(finder *self, uint64_t base, uint64_t size, mdc_name path, mdc_error *err) {
    uint64_t mapped = mapped_size(self->regions, base);
    if (mapped == 0) return MDC_OK; /* gone, or never there: the list is the target's */
    image_reader reader = {self->process, base};
    mdc_module module = {.base = base, .size = size, .path = path};
    if (mdc_pe_image_read(self->image, read_image, &reader, mapped)) {
        if (self->image->size != 0) module.size = self->image->size;
        module.checksum = self->image->checksum;
        module.timestamp = self->image->timestamp;
        for (size_t i = 0; i < MDC_PE_VERSION_WORDS; i++) module.version[i] = self->image->version[i];
        if (self->image->codeview_size != 0 &&
            mdc_win_names_put(self->names, self->image->codeview, self->image->codeview_size, &module.codeview, err) !=
                MDC_OK)
            return err->code;
    }
    if (module.size == 0) module.size = mapped;
    uint64_t end;
    if (!mdc_add_u64(base, module.size, &end)) return MDC_OK;
    return mdc_vec_push(self->modules, &module, 1, NULL, err);
}

/* The path as the loader has it, which is how the program asked for the file; else the name of the mapping. */
static mdc_status path_of(finder *self, HMODULE module, mdc_name *path, mdc_error *err) {
    DWORD count = GetModuleFileNameExW(self->process, module, (wchar_t *)self->names->units, MDC_WIN_PATH_UNITS);
    *path = (mdc_name){0, 0};
    if (count != 0 && count < MDC_WIN_PATH_UNITS)
        return mdc_win_names_put16(self->names, self->names->units, count, path, err);
    int64_t found = mdc_win_regions_find(self->regions, (uint64_t)(uintptr_t)module);
    if (found < 0) return MDC_OK;
    uint32_t id = mdc_vec_at(self->regions, const mdc_region, found).name_id;
    if (id != 0) *path = mdc_vec_at(&self->names->names, const mdc_name, id - 1);
    return MDC_OK;
}

/* *listed: how many the loader has; 0 if its list cannot be read. */
static mdc_status list_loaded(finder *self, mdc_error *err) {
    mdc_vec handles;
    mdc_vec_init(&handles, sizeof(HMODULE));
    DWORD needed = 0;
    size_t count = 256;
    mdc_status status = MDC_OK;
    for (int round = 0; status == MDC_OK && round < 8; round++) {
        handles.count = 0;
        status = mdc_vec_push(&handles, NULL, count, NULL, err);
        if (status != MDC_OK) break;
        DWORD room = (DWORD)(count * sizeof(HMODULE));
        if (!EnumProcessModulesEx(self->process, handles.data, room, &needed, LIST_MODULES_ALL)) needed = 0;
        if (needed / sizeof(HMODULE) > MODULES_MAX) needed = 0;
        if (needed <= room) break;
        count = needed / sizeof(HMODULE) + 16;
        needed = 0;
    }
    for (size_t i = 0; status == MDC_OK && i < needed / sizeof(HMODULE); i++) {
        HMODULE module = mdc_vec_at(&handles, HMODULE, i);
        MODULEINFO info = {0};
        mdc_name path;
        if (!GetModuleInformation(self->process, module, &info, sizeof info)) info.SizeOfImage = 0;
        status = path_of(self, module, &path, err);
        if (status == MDC_OK) status = add(self, (uint64_t)(uintptr_t)module, info.SizeOfImage, path, err);
    }
    mdc_vec_fini(&handles);
    return status;
}

static mdc_status list_mapped(finder *self, mdc_error *err) {
    uint64_t last = UINT64_MAX;
    for (size_t i = 0; i < self->regions->count; i++) {
        const mdc_region *region = &mdc_vec_at(self->regions, const mdc_region, i);
        if (region->type != MDC_MEM_IMAGE || region->alloc_base == last || region->base != region->alloc_base) continue;
        last = region->alloc_base;
        mdc_name path = {0, 0};
        if (region->name_id != 0) path = mdc_vec_at(&self->names->names, const mdc_name, region->name_id - 1);
        if (add(self, region->base, 0, path, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* One module per address: a list that the target wrote may say the same thing twice. */
static void drop_doubles(mdc_vec *modules) {
    mdc_module *all = modules->data;
    size_t kept = 0;
    for (size_t i = 0; i < modules->count; i++) {
        size_t same = 0;
        while (same < kept && all[same].base != all[i].base) same++;
        if (same == kept) all[kept++] = all[i];
    }
    modules->count = kept;
}

mdc_status mdc_win_modules_list(mdc_vec *modules, void *process, const mdc_vec *regions, mdc_win_names *names,
                                mdc_error *err) {
    finder self = {modules, process, regions, names, mdc_alloc(1, sizeof(mdc_pe_image), err)};
    if (self.image == NULL) return err->code;
    mdc_status status = list_loaded(&self, err);
    if (status == MDC_OK && modules->count == 0) status = list_mapped(&self, err);
    if (status == MDC_OK) drop_doubles(modules);
    mdc_dealloc(self.image);
    return status;
}
