/* Modules of a core: the finder of all sources over its regions, and the files below root, which are looked at where
 * the core does not say what an image is, and for memory that it left out. */
#include <stdlib.h>
#include <string.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/protection.h"
#include "../source/elf_image.h"
#include "../source/modules.h"
#include "core.h"

/* Images that claim more than there is could make every region begin a walk over all others. */
enum { STEPS_PER_REGION = 16, STEPS_MIN = 4096, HEAD_BYTES = 4096 };

typedef struct searcher {
    mdc_core *core;
    size_t steps;  /* how many regions may still be walked over in search of an image's end */
    uint64_t exe;  /* number of the executable's file; 0: not known */
    mdc_vec links; /* mdc_core_link */
} searcher;

static mdc_image_reader memory_at(mdc_core *core, uint64_t base) {
    return (mdc_image_reader){.read = mdc_core_peek, .context = core, .base = base, .narrow = !core->wide};
}

static mdc_status read_file(void *context, uint64_t offset, void *to, size_t size, size_t *done, mdc_error *err) {
    (void)err;
    *done = mdc_root_file_read(context, offset, to, size);
    return MDC_OK;
}

/* The file of a mapping; *own: it is the one that was given as the executable. */
static bool open_file(const searcher *self, const mdc_region *region, mdc_root_file *file, bool *own) {
    const mdc_core *core = self->core;
    if (region->name_id == 0) return false;
    *own = core->executable != NULL && region->inode == self->exe && self->exe != 0;
    if (*own) return mdc_root_file_open(file, NULL, (const uint8_t *)core->executable, strlen(core->executable));
    const mdc_name name = mdc_vec_at(&core->names, const mdc_name, region->name_id - 1);
    /* A file that was removed is not the one that has its name now. */
    if (core->root == NULL || (region->facts & MDC_FACT_DELETED) != 0) return false;
    return mdc_root_file_open(file, core->root, &mdc_vec_at(&core->pool, const uint8_t, name.offset), name.size);
}

/* Whether the file has at this offset what the core has of the image's first page, as far as it does. */
static bool same_head(mdc_core *core, uint64_t address, const mdc_root_file *file, uint64_t offset) {
    uint8_t here[HEAD_BYTES], there[HEAD_BYTES];
    size_t done = 0;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    (void)mdc_core_peek(core, address, here, sizeof here, &done, &ignored);
    const size_t got = mdc_root_file_read(file, offset, there, done);
    return memcmp(here, there, got) == 0 && (got == done || offset + got == file->size);
}

static mdc_status identify(void *context, const mdc_region *head, uint64_t start, mdc_module *module, mdc_error *err) {
    const searcher *self = context;
    mdc_root_file file;
    bool own;
    if (!open_file(self, head, &file, &own)) return MDC_OK;
    const mdc_image_reader from = {
        .read = read_file, .context = &file, .base = start, .file = true, .narrow = !self->core->wide};
    mdc_status status = MDC_OK;
    if (same_head(self->core, head->base, &file, start)) status = mdc_elf_image_identify(&from, module, err);
    mdc_root_file_close(&file);
    return status;
}

/* AT_EXECFN: as it was given to exec(2). */
static void executable(void *context, uint8_t *path, size_t room, size_t *size) {
    mdc_core *core = ((searcher *)context)->core;
    mdc_error ignored;
    size_t done;
    mdc_error_clear(&ignored);
    *size = 0;
    if (core->start.execfn == 0 || mdc_core_peek(core, core->start.execfn, path, room, &done, &ignored) != MDC_OK ||
        done == 0)
        return;
    const uint8_t *nul = memchr(path, '\0', done);
    if (nul != NULL) *size = (size_t)(nul - path);
}

static bool executable_file(void *context, mdc_region *file) {
    (void)context;
    (void)file;
    return false;
}

/* ---- without NT_FILE ---- */

/* Where in its file a page of an image is; false: it is not of the file (.bss). */
static bool offset_in_file(const mdc_elf_image *image, uint64_t address, uint64_t *offset) {
    for (uint32_t i = 0; i < image->count; i++) {
        const mdc_elf_segment *load = &image->headers[i];
        const uint64_t first = mdc_page_down(load->address);
        uint64_t end;
        if (load->type != MDC_ELF_LOAD || !mdc_add_u64(load->address, load->file_size, &end)) continue;
        if (address < first || address >= mdc_page_up(end)) continue;
        *offset = mdc_page_down(load->offset) + (address - first);
        return true;
    }
    return false;
}

/* Its path by the link map, else the name that it gives itself; of the executable as it was given to exec(2). */
static mdc_status name_image(searcher *self, const mdc_elf_image *image, uint64_t base, bool exe, uint32_t *name_id,
                             mdc_error *err) {
    const mdc_image_reader memory = memory_at(self->core, base);
    uint8_t name[MDC_CORE_PATH_MAX];
    size_t size = 0;
    for (size_t i = 0; !exe && i < self->links.count; i++) {
        const mdc_core_link *link = &mdc_vec_at(&self->links, const mdc_core_link, i);
        if (link->bias != base - image->first) continue;
        *name_id = link->name_id;
        return MDC_OK;
    }
    *name_id = 0;
    if (exe)
        executable(self, name, sizeof name, &size);
    else if (mdc_elf_image_soname(&memory, image, name, &size, err) != MDC_OK)
        return err->code;
    return mdc_core_name(self->core, name, size, name_id, err);
}

/* Says of the mappings of an image, which begins at this region, what NT_FILE would. *next: the region after them. */
static mdc_status mark_image(searcher *self, size_t head, uint64_t number, size_t *next, mdc_error *err) {
    mdc_core *core = self->core;
    mdc_region *regions = core->regions.data;
    const uint64_t base = regions[head].base;
    const mdc_image_reader memory = memory_at(core, base);
    mdc_elf_image image;
    if (mdc_elf_image_read(&memory, &image, err) != MDC_OK) return err->code;
    uint64_t end;
    if (!image.valid || !mdc_add_u64(base, image.end - image.first, &end)) return MDC_OK;
    bool has_code = false;
    size_t last = head;
    for (size_t i = head; i < core->regions.count && regions[i].base < end && regions[i].name_id == 0; i++) {
        if (self->steps == 0) return MDC_OK;
        self->steps--;
        has_code = has_code || (regions[i].protect & MDC_PAGE_ANY_EXECUTE) != 0;
        last = i;
    }
    if (!has_code) return MDC_OK;
    const bool exe = core->phdr >= base && core->phdr < end;
    uint32_t name_id;
    if (name_image(self, &image, base, exe, &name_id, err) != MDC_OK) return err->code;
    for (size_t i = head; i <= last; i++) {
        uint64_t offset;
        if (!offset_in_file(&image, image.first + (regions[i].base - base), &offset)) continue;
        regions[i].file_offset = offset;
        regions[i].inode = number;
        regions[i].name_id = name_id;
        regions[i].kinds = MDC_KIND_FILE;
        regions[i].type = MDC_MEM_MAPPED;
        regions[i].flags = MDC_REGION_FILE;
        regions[i].state = MDC_MEM_COMMIT;
    }
    *next = last + 1;
    return MDC_OK;
}

static mdc_status find_images(searcher *self, mdc_error *err) {
    mdc_core *core = self->core;
    uint64_t number = 0;
    self->steps = core->regions.count * STEPS_PER_REGION + STEPS_MIN;
    if (mdc_core_read_links(core, &self->links, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < core->regions.count;) {
        const mdc_region *region = &mdc_vec_at(&core->regions, const mdc_region, i);
        uint8_t magic[4];
        size_t next = i + 1, done = 0;
        if (i % 256 == 0 && mdc_control_check(core->control, err) != MDC_OK) return err->code;
        if (region->name_id == 0 && mdc_core_peek(core, region->base, magic, sizeof magic, &done, err) != MDC_OK)
            return err->code;
        if (done == sizeof magic && memcmp(magic, "\177ELF", 4) == 0 &&
            mark_image(self, i, ++number, &next, err) != MDC_OK)
            return err->code;
        i = next;
    }
    return MDC_OK;
}

/* ---- mappings that the core left out ---- */

/* How the mappings of one file, of which this is the first, may be accessed: as its program headers say. */
static mdc_status learn_access(mdc_core *core, size_t head, size_t end, mdc_error *err) {
    mdc_region *regions = core->regions.data;
    const mdc_image_reader memory = memory_at(core, regions[head].base);
    mdc_elf_image image;
    if (mdc_elf_image_read(&memory, &image, err) != MDC_OK || !image.valid) return err->code;
    for (size_t i = head; i < end; i++) {
        if (regions[i].alloc_protect != MDC_CORE_UNKNOWN_ACCESS) continue;
        for (uint32_t k = 0; k < image.count; k++) {
            const mdc_elf_segment *load = &image.headers[k];
            const uint64_t offset = regions[i].file_offset;
            if (load->type != MDC_ELF_LOAD || offset < mdc_page_down(load->offset) ||
                offset - mdc_page_down(load->offset) >= load->file_size)
                continue;
            const bool code = (load->flags & MDC_ELF_EXECUTE) != 0;
            regions[i].protect = code ? MDC_PAGE_EXECUTE_READ : MDC_PAGE_READONLY;
        }
    }
    return MDC_OK;
}

/* gcore leaves text out altogether, with its program header. */
static mdc_status learn_all(mdc_core *core, mdc_error *err) {
    mdc_region *regions = core->regions.data;
    for (size_t i = 0, end; i < core->regions.count; i = end) {
        bool unknown = regions[i].alloc_protect == MDC_CORE_UNKNOWN_ACCESS;
        for (end = i + 1; end < core->regions.count && regions[end].inode == regions[i].inode; end++)
            unknown = unknown || regions[end].alloc_protect == MDC_CORE_UNKNOWN_ACCESS;
        if (unknown && regions[i].file_offset == 0 && learn_access(core, i, end, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < core->regions.count; i++)
        if (regions[i].alloc_protect == MDC_CORE_UNKNOWN_ACCESS) regions[i].alloc_protect = 0;
    return MDC_OK;
}

/* ---- memory from files ---- */

/* The parts of [first, end) that the core does not hold, of a file that goes on to file_end. */
static mdc_status add_absent(mdc_core *core, uint64_t first, uint64_t end, uint64_t offset, uint64_t file_end,
                             size_t number, size_t own_pieces, mdc_error *err) {
    if (offset >= file_end) return MDC_OK;
    end = mdc_min_u64(end, first + (mdc_page_up(file_end) - offset));
    while (first < end) {
        /* The pieces of the core itself are the first ones, in order. */
        const mdc_core_piece *pieces = core->pieces.data;
        size_t low = 0, high = own_pieces;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (pieces[middle].address + (pieces[middle].size - 1) < first)
                low = middle + 1;
            else
                high = middle;
        }
        const uint64_t begin = low < own_pieces ? pieces[low].address : UINT64_MAX;
        const uint64_t held = low < own_pieces ? begin + pieces[low].size : 0;
        if (begin <= first) {
            offset += mdc_min_u64(held, end) - first;
            first = mdc_min_u64(held, end);
            continue;
        }
        const uint64_t stop = mdc_min_u64(begin, end);
        const mdc_core_piece piece = {first, stop - first, offset, number};
        if (mdc_vec_push(&core->pieces, &piece, 1, NULL, err) != MDC_OK) return err->code;
        offset += stop - first;
        first = stop;
    }
    return MDC_OK;
}

/* Whether the core's own build id of a module is that of the file. */
static mdc_status same_build(searcher *self, const mdc_region *head, mdc_root_file *file, bool *same, mdc_error *err) {
    mdc_core *core = self->core;
    const mdc_image_reader memory = memory_at(core, head->base);
    const mdc_image_reader from = {
        .read = read_file, .context = file, .base = head->file_offset, .file = true, .narrow = !core->wide};
    mdc_elf_image image;
    mdc_module here = {.build_id_size = 0}, there = {.build_id_size = 0};
    *same = false;
    if (mdc_elf_image_read(&memory, &image, err) != MDC_OK) return err->code;
    if (image.valid && mdc_elf_image_build_id(&memory, &image, &here, err) != MDC_OK) return err->code;
    if (here.build_id_size == 0) return MDC_OK;
    if (mdc_elf_image_read(&from, &image, err) != MDC_OK) return err->code;
    if (image.valid && mdc_elf_image_build_id(&from, &image, &there, err) != MDC_OK) return err->code;
    *same = here.build_id_size == there.build_id_size && memcmp(here.build_id, there.build_id, here.build_id_size) == 0;
    return MDC_OK;
}

static mdc_status add_text(searcher *self, const mdc_module *module, size_t own_pieces, mdc_error *err) {
    mdc_core *core = self->core;
    const int64_t found = mdc_regions_at(&core->regions, module->base);
    if (found < 0) return MDC_OK;
    const mdc_region *head = &mdc_vec_at(&core->regions, const mdc_region, found), *region = head;
    const mdc_region *end = (const mdc_region *)core->regions.data + core->regions.count;
    mdc_root_file file;
    bool own, same = false;
    if (head->inode == 0 || !open_file(self, head, &file, &own)) return MDC_OK;
    mdc_status status = same_build(self, head, &file, &same, err);
    mdc_root_file_close(&file);
    if (status != MDC_OK || !same) return status;
    const mdc_name none = {0, 0};
    const mdc_core_text_file text = {file, own ? none : mdc_vec_at(&core->names, mdc_name, head->name_id - 1)};
    if (mdc_vec_push(&core->text_files, &text, 1, NULL, err) != MDC_OK) return err->code;
    for (; region < end && region->base - module->base < module->size; region++) {
        if (region->inode != head->inode) continue;
        if (add_absent(core, region->base, region->base + region->size, region->file_offset, file.size,
                       core->text_files.count, own_pieces, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

static mdc_status find_all(searcher *self, mdc_error *err) {
    mdc_core *core = self->core;
    const mdc_module_ops ops = {identify, executable, executable_file, self};
    const mdc_target_view view = mdc_core_view(core);
    mdc_region *regions = core->regions.data;
    if (learn_all(core, err) != MDC_OK) return err->code;
    if (core->file_note.size == 0 && find_images(self, err) != MDC_OK) return err->code;
    const int64_t loaded = core->phdr != 0 ? mdc_regions_at(&core->regions, core->phdr) : -1;
    if (loaded >= 0) self->exe = regions[loaded].inode;
    if (mdc_modules_find(&core->modules, &view, &ops, core->phdr, err) != MDC_OK) return err->code;
    const size_t own_pieces = core->pieces.count;
    for (size_t i = 0; core->text_wanted && i < core->modules.count; i++) {
        if (mdc_control_check(core->control, err) != MDC_OK ||
            add_text(self, &mdc_vec_at(&core->modules, const mdc_module, i), own_pieces, err) != MDC_OK)
            return err->code;
    }
    if (core->pieces.count > own_pieces) mdc_core_sort_pieces(core);
    for (size_t i = 0; i < core->regions.count; i++) regions[i].inode = 0;
    return MDC_OK;
}

mdc_status mdc_core_find_modules(mdc_core *core, mdc_error *err) {
    searcher self = {.core = core};
    mdc_vec_init(&self.links, sizeof(mdc_core_link));
    mdc_status status = find_all(&self, err);
    mdc_vec_fini(&self.links);
    return status;
}
