/* Finding ELF images (see modules.h). */
#include "modules.h"

#include <string.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/protection.h"
#include "../format/pe_image.h"
#include "elf_image.h"

enum { PATH_BYTES = 4096 };
enum { VERSION_STRUCTURE = 0x10000 }; /* VS_FIXEDFILEINFO */
#define VERSION_SIGNATURE 0xFEEF04BDu

typedef struct finder {
    mdc_vec *modules;
    const mdc_target_view *view;
    const mdc_module_ops *ops;
    uint64_t phdr;
    uint64_t exe_inode; /* 0: not known */
    uint32_t exe_major;
    uint32_t exe_minor;
    size_t steps;             /* how many regions may still be walked over in search of an image's end */
    size_t run_end, run_code; /* of the regions of one file that follow each other: index after them, and after code */
} finder;

static mdc_image_reader memory_at(const finder *self, uint64_t base) {
    const mdc_target_view *view = self->view;
    return (mdc_image_reader){.read = view->read, .context = view->context, .base = base, .narrow = view->narrow};
}

static bool same_file(const mdc_region *a, const mdc_region *b) {
    return a->inode != 0 && a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static bool executable(const mdc_region *region) { return (region->protect & MDC_PAGE_ANY_EXECUTE) != 0; }

/* Nothing but memory: .bss, or text that was moved to huge pages. */
static bool plain(const mdc_target_view *view, const mdc_region *region) {
    if (region->inode != 0 || (region->kinds & (MDC_KIND_HEAP | MDC_KIND_STACK | MDC_KIND_SHARED)) != 0) return false;
    if (region->name_id == 0) return true;
    mdc_name name = mdc_vec_at(view->names, mdc_name, region->name_id - 1);
    return name.size >= 6 && memcmp(&mdc_vec_at(view->pool, uint8_t, name.offset), "[anon:", 6) == 0;
}

/* Walks end where an image does, so that real targets take one step per region; headers that claim more than there is
 * could make every region begin a walk over all others. */
enum { STEPS_PER_REGION = 16, STEPS_MIN = 4096 };

/* The extent of an image that begins at region `head`: regions of the same file, and plain memory between or directly
 * after them, as far as the program headers reach (`span`, page end; only the file's own regions without one). */
typedef struct extent {
    size_t end_region; /* after the last one */
    uint64_t end;
    bool has_code;
} extent;

static extent measure(finder *self, size_t head, uint64_t span) {
    const mdc_target_view *view = self->view;
    const mdc_region *regions = view->regions->data;
    extent out = {head + 1, regions[head].base + regions[head].size, executable(&regions[head])};
    extent files = out; /* up to the last region of the file */
    for (size_t i = head + 1; i < view->regions->count && self->steps > 0; i++, self->steps--) {
        if (MDC_FAILPOINT("modules:step") != 0) break;
        const mdc_region *region = &regions[i];
        uint64_t region_end = region->base + region->size;
        bool file = same_file(&regions[head], region);
        /* The file mapped once more is another image, or none. */
        if (file && region->file_offset == 0 && (span == 0 || region->base >= span)) break;
        if (!file) {
            if (span == 0 || region->base >= span || region->base != out.end || !plain(view, region)) break;
        } else if (span != 0 && region->base >= span) {
            break;
        }
        if (executable(region)) out.has_code = true;
        out.end_region = i + 1;
        /* The kernel may have merged .bss with memory after it; then only the part given by the headers counts. */
        out.end = file || region_end <= span ? region_end : span;
        if (file) files = out;
    }
    /* All of .bss is mapped when an image is loaded. Headers that claim more than exists are not trusted:
     * they could claim any memory after it. */
    return span != 0 && out.end < span ? files : out;
}

static void mark(const mdc_target_view *view, size_t head, const extent *what) {
    mdc_region *regions = view->regions->data;
    const uint64_t base = regions[head].base;
    for (size_t i = head; i < what->end_region; i++) {
        mdc_region *region = &regions[i];
        if (region->base + region->size > what->end) break;
        region->kinds = (region->kinds & ~(uint32_t)MDC_KIND_FILE) | MDC_KIND_IMAGE;
        region->type = MDC_MEM_IMAGE;
        region->alloc_base = base;
    }
}

/* The vdso, by the name that Breakpad gave it and every reader knows. */
static mdc_status name_module(finder *self, const mdc_region *head, mdc_module *module, mdc_error *err) {
    static const char vdso[] = "linux-gate.so";
    if ((head->kinds & MDC_KIND_VDSO) != 0)
        return mdc_pool_add(self->view->pool, vdso, sizeof vdso - 1, &module->path, err);
    if (head->name_id != 0) module->path = mdc_vec_at(self->view->names, mdc_name, head->name_id - 1);
    return MDC_OK;
}

static bool is_exe(const finder *self, const mdc_region *region) {
    return self->exe_inode != 0 && region->inode == self->exe_inode && region->dev_major == self->exe_major &&
           region->dev_minor == self->exe_minor;
}

/* May the executable begin here, whatever its header says? Where AT_PHDR points, and at its first mapping. */
static bool exe_starts(const finder *self, const mdc_region *region, bool first) {
    return is_exe(self, region) && (first || self->phdr - region->base < region->size);
}

/* The numbers after ".so." of a library's name, four at most; how many. */
static size_t parse_version(const uint8_t *name, size_t size, uint32_t version[4]) {
    const uint8_t *at = name, *end = name + size;
    size_t count = 0;
    while (end - at >= 4 && memcmp(at, ".so.", 4) != 0) at++;
    if (end - at < 4) return 0;
    for (at += 4; count < 4 && at < end && *at >= '0' && *at <= '9'; at++) {
        uint64_t number = 0;
        for (; at < end && *at >= '0' && *at <= '9'; at++) number = mdc_min_u64(number * 10 + *at - '0', UINT32_MAX);
        version[count++] = (uint32_t)number;
        if (at == end || *at != '.') break;
    }
    return count;
}

/* SONAME, and the version in that or in the file's name: the one with more numbers. VS_FIXEDFILEINFO as minidump-writer
 * fills it: a number each in the two halves of file and product version. */
static mdc_status name_library(finder *self, const mdc_elf_image *image, mdc_module *module, mdc_error *err) {
    const mdc_image_reader memory = memory_at(self, module->base);
    uint8_t name[MDC_ELF_NAME_MAX];
    uint32_t numbers[4] = {0, 0, 0, 0}, others[4] = {0, 0, 0, 0};
    size_t size;
    if (mdc_elf_image_soname(&memory, image, name, &size, err) != MDC_OK) return err->code;
    if (size > 0 && mdc_pool_add(self->view->pool, name, size, &module->soname, err) != MDC_OK) return err->code;
    size_t path_size = module->path.size;
    const uint8_t *path = path_size > 0 ? &mdc_vec_at(self->view->pool, uint8_t, module->path.offset) : name;
    for (size_t i = path_size; i > 0; i--) {
        if (path[i - 1] != '/') continue;
        path += i;
        path_size -= i;
        break;
    }
    size_t count = parse_version(name, size, numbers), other = parse_version(path, path_size, others);
    if (count == 0 && other == 0) return MDC_OK;
    module->version[0] = VERSION_SIGNATURE;
    module->version[1] = VERSION_STRUCTURE;
    memcpy(&module->version[2], other > count ? others : numbers, sizeof numbers);
    return MDC_OK;
}

static bool read_pe(void *context, uint64_t offset, void *out, size_t size) {
    bool read;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    return mdc_image_read(context, offset, out, size, &read, &ignored) == MDC_OK && read;
}

/* A PE image that Wine has mapped: some of its sections from the file, the others as plain memory. */
static mdc_status try_pe(finder *self, size_t head, size_t *next, mdc_error *err) {
    const mdc_region *region = &mdc_vec_at(self->view->regions, mdc_region, head);
    mdc_image_reader memory = memory_at(self, region->base);
    mdc_pe_image image;
    uint64_t span;
    if (!mdc_pe_image_read(&image, read_pe, &memory, UINT32_MAX) ||
        !mdc_add_u64(region->base, mdc_page_up(image.size), &span) || span == region->base)
        return MDC_OK;
    extent what = measure(self, head, span);
    if (!what.has_code) return MDC_OK;
    mdc_module module = {.base = region->base,
                         .size = what.end - region->base,
                         .checksum = image.checksum,
                         .timestamp = image.timestamp};
    memcpy(module.version, image.version, sizeof module.version);
    if (image.codeview_size > 0 &&
        mdc_pool_add(self->view->pool, image.codeview, image.codeview_size, &module.codeview, err) != MDC_OK)
        return err->code;
    if (name_module(self, region, &module, err) != MDC_OK ||
        mdc_vec_push(self->modules, &module, 1, NULL, err) != MDC_OK)
        return err->code;
    mark(self->view, head, &what);
    *next = what.end_region;
    return MDC_OK;
}

/* Whether code follows that could be of an image which begins here: without it there is none, and neither the file nor
 * the memory is looked at (a process may map thousands of files that are data). As far as any header could reach: a run
 * of regions of one file, with plain memory in between, is walked over once. */
static bool code_follows(finder *self, size_t at) {
    const mdc_region *regions = self->view->regions->data;
    if (at >= self->run_end) {
        self->run_code = at;
        for (self->run_end = at; self->run_end < self->view->regions->count; self->run_end++) {
            const mdc_region *region = &regions[self->run_end];
            if (!same_file(&regions[at], region) && !plain(self->view, region)) break;
            if (executable(region)) self->run_code = self->run_end + 1;
        }
    }
    return at < self->run_code;
}

/* Looks whether an image begins at this region; exe: it needs no valid header. *next: the region to go on with. */
static mdc_status try_image(finder *self, size_t head, bool exe, size_t *next, mdc_error *err) {
    const mdc_region *region = &mdc_vec_at(self->view->regions, mdc_region, head);
    mdc_control_advance(self->view->control);
    const mdc_image_reader memory = memory_at(self, region->base);
    mdc_elf_image image; /* large: not cleared */
    image.valid = image.dos = false;
    mdc_status status = MDC_OK;
    if ((region->flags & MDC_REGION_NEVER_READ) == 0) status = mdc_elf_image_read(&memory, &image, err);
    if (status != MDC_OK) return status;
    if (image.dos && !exe && region->file_offset == 0) return try_pe(self, head, next, err);
    uint64_t span = 0;
    if (image.valid && !mdc_add_u64(region->base, image.end - image.first, &span)) image.valid = false;
    if (!image.valid && region->file_offset != 0 && !exe) return MDC_OK; /* no image in an archive */
    extent what = measure(self, head, image.valid ? span : 0);
    /* A file that is only read through a mapping has an ELF header too, but no code mapped from it. A header that
     * cannot be read does not hide code of the executable itself. */
    bool vdso = (region->kinds & MDC_KIND_VDSO) != 0;
    if (!vdso && !(image.valid && what.has_code) && !(exe && what.has_code)) return MDC_OK;
    mdc_module module = {.base = region->base, .size = what.end - region->base};
    if (image.valid) status = mdc_elf_image_build_id(&memory, &image, &module, err);
    if (status == MDC_OK && module.build_id_size == 0)
        status = self->ops->identify(self->ops->context, region, image.valid ? region->file_offset : 0, &module, err);
    if (status == MDC_OK) status = name_module(self, region, &module, err);
    if (status == MDC_OK && image.valid && !vdso) status = name_library(self, &image, &module, err);
    if (status == MDC_OK) status = mdc_vec_push(self->modules, &module, 1, NULL, err);
    if (status != MDC_OK) return status;
    mark(self->view, head, &what);
    *next = what.end_region;
    return MDC_OK;
}

/* The executable is the image that holds AT_PHDR, or the one mapped from /proc/PID/exe; it goes to the front. */
static bool main_first(finder *self) {
    mdc_module *modules = self->modules->data;
    for (size_t i = 0; i < self->modules->count; i++) {
        if (self->phdr < modules[i].base || self->phdr - modules[i].base >= modules[i].size) continue;
        mdc_module found = modules[i];
        memmove(&modules[1], &modules[0], i * sizeof found);
        modules[0] = found;
        return true;
    }
    return false;
}

/* An executable that unpacked itself lies in plain memory; the kernel still knows its path. */
static mdc_status unpacked_main(finder *self, mdc_error *err) {
    int64_t at = mdc_regions_at(self->view->regions, self->phdr);
    if (self->phdr == 0 || at < 0) return MDC_OK;
    size_t head = (size_t)at;
    const mdc_region *region = &mdc_vec_at(self->view->regions, mdc_region, head);
    const mdc_image_reader memory = memory_at(self, region->base);
    mdc_elf_image image; /* large: not cleared */
    image.valid = image.dos = false;
    if (region->inode != 0 || (region->flags & MDC_REGION_NEVER_READ) != 0) return MDC_OK;
    mdc_status status = mdc_elf_image_read(&memory, &image, err);
    uint64_t span;
    if (status != MDC_OK || !image.valid || !mdc_add_u64(region->base, image.end - image.first, &span)) return status;
    uint8_t path[PATH_BYTES];
    size_t size = 0;
    self->ops->executable(self->ops->context, path, sizeof path, &size);
    extent what = measure(self, head, span);
    mdc_module module = {.base = region->base, .size = what.end - region->base};
    status = mdc_elf_image_build_id(&memory, &image, &module, err);
    if (status == MDC_OK && size > 0) status = mdc_pool_add(self->view->pool, path, size, &module.path, err);
    if (status == MDC_OK) status = mdc_vec_push(self->modules, &module, 1, NULL, err);
    if (status != MDC_OK) return status;
    mark(self->view, head, &what);
    main_first(self);
    return MDC_OK;
}

mdc_status mdc_modules_find(mdc_vec *modules, const mdc_target_view *view, const mdc_module_ops *ops, uint64_t phdr,
                            mdc_error *err) {
    finder self = {.modules = modules, .view = view, .ops = ops, .phdr = phdr};
    /* Mostly the file that holds AT_PHDR, which costs no question. */
    int64_t at = mdc_regions_at(view->regions, phdr);
    const mdc_region *loaded = at >= 0 ? &mdc_vec_at(view->regions, mdc_region, at) : NULL;
    mdc_region exe;
    if (loaded != NULL && loaded->inode != 0) {
        exe = *loaded;
    } else if (!ops->executable_file(ops->context, &exe)) {
        exe.inode = 0;
        exe.dev_major = exe.dev_minor = 0;
    }
    self.exe_inode = exe.inode;
    self.exe_major = exe.dev_major;
    self.exe_minor = exe.dev_minor;
    self.steps = view->regions->count * STEPS_PER_REGION + STEPS_MIN;
    bool exe_seen = false;
    for (size_t i = 0; i < view->regions->count;) {
        const mdc_region *region = &mdc_vec_at(view->regions, mdc_region, i);
        size_t next = i + 1;
        bool exe_begins = exe_starts(&self, region, !exe_seen);
        if (is_exe(&self, region)) exe_seen = true;
        /* In the middle of a file only in a private mapping: of an archive. */
        bool starts = region->inode != 0 && (region->kinds & MDC_KIND_FILE) != 0 &&
                      (region->file_offset == 0 || exe_begins || (region->kinds & MDC_KIND_SHARED) == 0) &&
                      code_follows(&self, i);
        if (starts || (region->kinds & MDC_KIND_VDSO) != 0) {
            mdc_status status = try_image(&self, i, exe_begins, &next, err);
            if (status != MDC_OK) return status;
        }
        i = next;
    }
    return main_first(&self) ? MDC_OK : unpacked_main(&self, err);
}
