/* Finding ELF images (see modules.h). */
#include "modules.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../format/elf_notes.h"
#include "mapfiles.h"

/* Bounds on what a hostile header can make us read. Real images have about a dozen program headers, and notes of a
 * few hundred bytes. */
enum { HEADERS_MAX = 128, NOTES_MAX = 8, NOTE_BYTES = 4096 };

typedef struct finder {
    mdc_vec *modules;
    mdc_mappings *mappings;
    mdc_memory *memory;
    int proc;
    uint64_t phdr;
    uint64_t exe_inode; /* 0: not known */
    uint32_t exe_major;
    uint32_t exe_minor;
    size_t steps; /* how many regions may still be walked over in search of an image's end */
} finder;

/* Where headers are read from: target memory at `base`, or a file. */
typedef struct image_reader {
    finder *self;
    int fd;        /* -1: target memory */
    uint64_t base; /* address of the image's first byte */
} image_reader;

/* What the program headers say, bounded. */
typedef struct elf_image {
    bool valid;
    uint32_t count;
    Elf64_Phdr headers[HEADERS_MAX];
    uint64_t first; /* page of the lowest PT_LOAD, as linked */
    uint64_t end;   /* page end of the highest, as linked */
} elf_image;

/* Reads exactly this much, or fails. */
static mdc_status read_at(const image_reader *from, uint64_t offset, void *to, size_t size, bool *read,
                          mdc_error *err) {
    *read = false;
    if (from->fd >= 0) {
        *read = offset <= INT64_MAX && pread(from->fd, to, size, (off_t)offset) == (ssize_t)size;
        return MDC_OK;
    }
    mdc_span span = {.size = size};
    if (!mdc_add_u64(from->base, offset, &span.address)) return MDC_OK;
    size_t done;
    int32_t os_errno;
    mdc_status status = mdc_memory_read(from->self->memory, from->self->mappings, &span, 1, to, &done, &os_errno, err);
    *read = status == MDC_OK && done == size;
    return status;
}

static mdc_status read_headers(const image_reader *from, elf_image *image, mdc_error *err) {
    Elf64_Ehdr header;
    bool read;
    image->valid = false;
    mdc_status status = read_at(from, 0, &header, sizeof header, &read, err);
    if (!read) return status;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0)
        return MDC_OK;
    image->count = header.e_phnum < HEADERS_MAX ? header.e_phnum : HEADERS_MAX;
    status = read_at(from, header.e_phoff, image->headers, image->count * sizeof(Elf64_Phdr), &read, err);
    if (!read) return status;
    image->first = UINT64_MAX;
    image->end = 0;
    for (uint32_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *load = &image->headers[i];
        uint64_t end;
        if (load->p_type != PT_LOAD || !mdc_add_u64(load->p_vaddr, load->p_memsz, &end)) continue;
        image->first = mdc_min_u64(image->first, mdc_page_down(load->p_vaddr));
        image->end = mdc_max_u64(image->end, mdc_page_up(end));
    }
    image->valid = image->first < image->end;
    return MDC_OK;
}

/* The build id from the note segments; the module's is not changed if there is none. */
static mdc_status read_build_id(const image_reader *from, const elf_image *image, mdc_module *module, mdc_error *err) {
    uint8_t notes[NOTE_BYTES];
    int seen = 0;
    for (uint32_t i = 0; i < image->count && seen < NOTES_MAX && module->build_id_size == 0; i++) {
        const Elf64_Phdr *note = &image->headers[i];
        if (note->p_type != PT_NOTE || note->p_filesz == 0) continue;
        seen++;
        size_t size = (size_t)mdc_min_u64(note->p_filesz, sizeof notes);
        /* Addresses in an image count from where it was linked to. */
        uint64_t offset = from->fd >= 0 ? note->p_offset : note->p_vaddr - image->first;
        bool read;
        mdc_status status = read_at(from, offset, notes, size, &read, err);
        if (status != MDC_OK) return status;
        if (read) module->build_id_size = (uint32_t)mdc_elf_build_id(notes, size, module->build_id);
    }
    return MDC_OK;
}

static bool same_file(const mdc_region *a, const mdc_region *b) {
    return a->inode != 0 && a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static bool executable(const mdc_region *region) {
    const uint32_t mask =
        MDC_PAGE_EXECUTE | MDC_PAGE_EXECUTE_READ | MDC_PAGE_EXECUTE_READWRITE | MDC_PAGE_EXECUTE_WRITECOPY;
    return (region->protect & mask) != 0;
}

/* Nothing but memory: .bss, or text that was moved to huge pages. */
static bool plain(const mdc_mappings *mappings, const mdc_region *region) {
    if (region->inode != 0 || (region->kinds & (MDC_KIND_HEAP | MDC_KIND_STACK | MDC_KIND_SHARED)) != 0) return false;
    if (region->name_id == 0) return true;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    return name.size >= 6 && memcmp(&mdc_vec_at(&mappings->pool, uint8_t, name.offset), "[anon:", 6) == 0;
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
    const mdc_mappings *mappings = self->mappings;
    const mdc_region *regions = mappings->regions.data;
    extent out = {head + 1, regions[head].base + regions[head].size, executable(&regions[head])};
    extent files = out; /* up to the last region of the file */
    for (size_t i = head + 1; i < mappings->regions.count && self->steps > 0; i++, self->steps--) {
        if (MDC_FAILPOINT("modules:step") != 0) break;
        const mdc_region *region = &regions[i];
        uint64_t region_end = region->base + region->size;
        bool file = same_file(&regions[head], region);
        /* The file mapped once more is another image, or none. */
        if (file && region->file_offset == 0 && (span == 0 || region->base >= span)) break;
        if (!file) {
            if (span == 0 || region->base >= span || region->base != out.end || !plain(mappings, region)) break;
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

static void mark(mdc_mappings *mappings, size_t head, const extent *what) {
    mdc_region *regions = mappings->regions.data;
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
        return mdc_mappings_intern(self->mappings, vdso, sizeof vdso - 1, &module->path, err);
    if (head->name_id != 0) module->path = mdc_vec_at(&self->mappings->names, mdc_name, head->name_id - 1);
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

static mdc_status build_id_of_file(finder *self, const mdc_region *head, mdc_module *module, mdc_error *err) {
    if (head->inode == 0) return MDC_OK;
    int fd = mdc_mapped_file_open(self->mappings, self->proc, head);
    if (fd < 0) return MDC_OK;
    image_reader file = {self, fd, 0};
    elf_image image;
    mdc_status status = read_headers(&file, &image, err);
    if (status == MDC_OK && image.valid) status = read_build_id(&file, &image, module, err);
    close(fd);
    return status;
}

/* Looks whether an image begins at this region; exe: it needs no valid header. *next: the region to go on with. */
static mdc_status try_image(finder *self, size_t head, bool exe, size_t *next, mdc_error *err) {
    mdc_mappings *mappings = self->mappings;
    const mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, head);
    mdc_control_advance(mappings->control);
    image_reader memory = {self, -1, region->base};
    elf_image image = {.valid = false};
    mdc_status status = MDC_OK;
    if ((region->flags & MDC_REGION_NEVER_READ) == 0) status = read_headers(&memory, &image, err);
    if (status != MDC_OK) return status;
    uint64_t span = 0;
    if (image.valid && !mdc_add_u64(region->base, image.end - image.first, &span)) image.valid = false;
    extent what = measure(self, head, image.valid ? span : 0);
    /* A file that is only read through a mapping has an ELF header too, but no code mapped from it. A header that
     * cannot be read does not hide code of the executable itself. */
    bool vdso = (region->kinds & MDC_KIND_VDSO) != 0;
    if (!vdso && !(image.valid && what.has_code) && !(exe && what.has_code)) return MDC_OK;
    mdc_module module = {.base = region->base, .size = what.end - region->base};
    if (image.valid) status = read_build_id(&memory, &image, &module, err);
    if (status == MDC_OK && module.build_id_size == 0) status = build_id_of_file(self, region, &module, err);
    if (status == MDC_OK) status = name_module(self, region, &module, err);
    if (status == MDC_OK) status = mdc_vec_push(self->modules, &module, 1, NULL, err);
    if (status != MDC_OK) return status;
    mark(mappings, head, &what);
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
    int64_t at = mdc_mappings_find(self->mappings, self->phdr);
    if (self->phdr == 0 || at < 0) return MDC_OK;
    size_t head = (size_t)at;
    const mdc_region *region = &mdc_vec_at(&self->mappings->regions, mdc_region, head);
    image_reader memory = {self, -1, region->base};
    elf_image image = {.valid = false};
    if (region->inode != 0 || (region->flags & MDC_REGION_NEVER_READ) != 0) return MDC_OK;
    mdc_status status = read_headers(&memory, &image, err);
    uint64_t span;
    if (status != MDC_OK || !image.valid || !mdc_add_u64(region->base, image.end - image.first, &span)) return status;
    char path[PATH_MAX];
    ssize_t size = readlinkat(self->proc, "exe", path, sizeof path);
    extent what = measure(self, head, span);
    mdc_module module = {.base = region->base, .size = what.end - region->base};
    status = read_build_id(&memory, &image, &module, err);
    if (status == MDC_OK && size > 0)
        status = mdc_mappings_intern(self->mappings, path, (size_t)size, &module.path, err);
    if (status == MDC_OK) status = mdc_vec_push(self->modules, &module, 1, NULL, err);
    if (status != MDC_OK) return status;
    mark(self->mappings, head, &what);
    main_first(self);
    return MDC_OK;
}

mdc_status mdc_modules_find(mdc_vec *modules, mdc_mappings *mappings, mdc_memory *memory, int proc, uint64_t phdr,
                            mdc_error *err) {
    finder self = {.modules = modules, .mappings = mappings, .memory = memory, .proc = proc, .phdr = phdr};
    /* Mostly the file that holds AT_PHDR, which costs no question. */
    int64_t at = mdc_mappings_find(mappings, phdr);
    const mdc_region *loaded = at >= 0 ? &mdc_vec_at(&mappings->regions, mdc_region, at) : NULL;
    struct statx exe;
    if (loaded != NULL && loaded->inode != 0) {
        self.exe_inode = loaded->inode;
        self.exe_major = loaded->dev_major;
        self.exe_minor = loaded->dev_minor;
    } else if (statx(proc, "exe", AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_INO, &exe) == 0) {
        self.exe_inode = exe.stx_ino;
        self.exe_major = exe.stx_dev_major;
        self.exe_minor = exe.stx_dev_minor;
    }
    self.steps = mappings->regions.count * STEPS_PER_REGION + STEPS_MIN;
    bool exe_seen = false;
    for (size_t i = 0; i < mappings->regions.count;) {
        const mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, i);
        size_t next = i + 1;
        bool exe_begins = exe_starts(&self, region, !exe_seen);
        if (is_exe(&self, region)) exe_seen = true;
        bool starts =
            region->inode != 0 && (region->kinds & MDC_KIND_FILE) != 0 && (region->file_offset == 0 || exe_begins);
        if (starts || (region->kinds & MDC_KIND_VDSO) != 0) {
            mdc_status status = try_image(&self, i, exe_begins, &next, err);
            if (status != MDC_OK) return status;
        }
        i = next;
    }
    return main_first(&self) ? MDC_OK : unpacked_main(&self, err);
}
