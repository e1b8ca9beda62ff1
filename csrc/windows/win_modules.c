/* The modules of a Windows process (see win_modules.h). */
#include "win_modules.h"

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../format/pe_image.h"
#include "win_memory.h"
#include "win_peb.h"
#include "win_regions.h"

/* Bytes of names after which paths are no longer taken from the target's list, where each may have 64 KiB: more than
 * any regular program has. */
enum { NAMES_MAX = 32 << 20 };

/* What the list is made with. Allocated: too large for a small stack of a caller. */
typedef struct finder {
    mdc_vec *modules;
    mdc_vec *sections; /* or NULL */
    void *process;
    const mdc_vec *regions;
    mdc_win_names *names;
    mdc_pe_image image;
    mdc_pe_section parts[MDC_PE_SECTIONS_MAX];
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

/* Bytes from `base` to the end of the last region of its allocation that follows without a hole. An address where no
 * allocation begins is not an image, whatever the target's list says: then one region, to avoid walking thousands. */
static uint64_t mapped_size(const mdc_vec *regions, uint64_t base) {
    int64_t found = mdc_win_regions_find(regions, base);
    if (found < 0) return 0;
    const mdc_region *all = regions->data;
    size_t at = (size_t)found;
    uint64_t end = all[at].base + all[at].size;
    if (all[at].alloc_base != base) return end - base;
    for (at++; at < regions->count && all[at].base == end && all[at].alloc_base == all[found].alloc_base; at++)
        end += all[at].size;
    return end - base;
}

/* Those of the module that comes next. */
static mdc_status add_sections(finder *self, image_reader *reader, uint64_t mapped, mdc_error *err) {
    if (self->sections == NULL) return MDC_OK;
    size_t count = mdc_pe_sections_read(self->parts, read_image, reader, mapped);
    for (size_t i = 0; i < count; i++) {
        const mdc_pe_section *part = &self->parts[i];
        mdc_section section = {reader->base + part->rva, part->size, (uint32_t)self->modules->count,
                               (part->flags & MDC_PE_SECTION_WRITE) != 0 ? MDC_SECTION_DATA : MDC_SECTION_CODE};
        if ((part->flags & (MDC_PE_SECTION_WRITE | MDC_PE_SECTION_CODE)) != 0 &&
            mdc_vec_push(self->sections, &section, 1, NULL, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* size: as the loader has it, 0 if it is not asked. */
static mdc_status add(finder *self, uint64_t base, uint64_t size, mdc_name path, mdc_error *err) {
    uint64_t mapped = mapped_size(self->regions, base);
    image_reader reader = {self->process, base};
    mdc_module module = {.base = base, .size = size, .path = path};
    bool is_image = mdc_pe_image_read(&self->image, read_image, &reader, mapped);
    if (is_image) {
        if (self->image.size != 0) module.size = self->image.size;
        module.checksum = self->image.checksum;
        module.timestamp = self->image.timestamp;
        for (size_t i = 0; i < MDC_PE_VERSION_WORDS; i++) module.version[i] = self->image.version[i];
        if (self->image.codeview_size != 0 &&
            mdc_win_names_put(self->names, self->image.codeview, self->image.codeview_size, &module.codeview, err) !=
                MDC_OK)
            return err->code;
    }
    if (module.size == 0) module.size = mapped;
    uint64_t end;
    if (!mdc_add_u64(base, module.size, &end)) return MDC_OK;
    if (is_image && add_sections(self, &reader, mapped, err) != MDC_OK) return err->code;
    return mdc_vec_push(self->modules, &module, 1, NULL, err);
}

static bool is_listed(const mdc_vec *modules, uint64_t base) {
    for (size_t i = 0; i < modules->count; i++)
        if (mdc_vec_at(modules, const mdc_module, i).base == base) return true;
    return false;
}

/* What is mapped there is called, if it has a name. */
static mdc_name mapped_name(const finder *self, uint64_t base) {
    int64_t found = mdc_win_regions_find(self->regions, base);
    uint32_t id = found < 0 ? 0 : mdc_vec_at(self->regions, const mdc_region, found).name_id;
    return id == 0 ? (mdc_name){0, 0} : mdc_vec_at(&self->names->names, const mdc_name, id - 1);
}

/* The path as the loader has it, which is how the program asked for the file; else the name of the mapping. */
static mdc_status path_of(finder *self, const mdc_win_loaded *loaded, mdc_name *path, mdc_error *err) {
    uint32_t os_errno;
    size_t bytes = loaded->path_bytes & ~(size_t)1; /* 65,534 at most: the scratch space holds as much */
    if (bytes == 0 || self->names->pool.count > NAMES_MAX ||
        mdc_win_memory_read(self->process, loaded->path, self->names->units, bytes, &os_errno) != bytes) {
        *path = mapped_name(self, loaded->base);
        return MDC_OK;
    }
    return mdc_win_names_put16(self->names, self->names->units, bytes / 2, path, err);
}

static mdc_status list_loaded(finder *self, uint64_t peb, bool *whole, mdc_error *err) {
    mdc_vec loaded;
    mdc_vec_init(&loaded, sizeof(mdc_win_loaded));
    mdc_status status = mdc_win_peb_modules(&loaded, self->process, peb, whole, err);
    for (size_t i = 0; status == MDC_OK && i < loaded.count; i++) {
        const mdc_win_loaded *module = &mdc_vec_at(&loaded, const mdc_win_loaded, i);
        mdc_name path = {0, 0};
        if (mapped_size(self->regions, module->base) == 0)
            continue; /* gone, or never there: the list is the target's */
        status = path_of(self, module, &path, err);
        if (status == MDC_OK) status = add(self, module->base, module->size, path, err);
    }
    mdc_vec_fini(&loaded);
    return status;
}

static mdc_status list_mapped(finder *self, mdc_error *err) {
    for (size_t i = 0; i < self->regions->count; i++) {
        const mdc_region *region = &mdc_vec_at(self->regions, const mdc_region, i);
        if (region->type != MDC_MEM_IMAGE || region->base != region->alloc_base ||
            is_listed(self->modules, region->base))
            continue;
        if (add(self, region->base, 0, mapped_name(self, region->base), err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_win_modules_list(mdc_vec *modules, mdc_vec *sections, void *process, uint64_t peb,
                                const mdc_vec *regions, mdc_win_names *names, mdc_error *err) {
    finder *self = mdc_alloc(1, sizeof *self, err);
    if (self == NULL) return err->code;
    self->modules = modules;
    self->sections = sections;
    self->process = process;
    self->regions = regions;
    self->names = names;
    bool whole = false;
    mdc_status status = list_loaded(self, peb, &whole, err);
    if (status == MDC_OK && !whole) status = list_mapped(self, err);
    mdc_dealloc(self);
    return status;
}
