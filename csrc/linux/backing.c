/* Asking the files behind mappings (see backing.h). */
#include "backing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "mapfiles.h"
#include "pagemap.h"
#include "vdso.h"

enum {
    FILE_DENSE = 0x01, /* it holds as many blocks as it is long: no holes */
    FILE_EMPTY = 0x02, /* it holds nothing at all */
    FILE_OVERLAY = 0x04
};
enum {
    FINE_RUNS = 256 * 1024,     /* from here on small holes are read, to bound memory */
    DESCRIPTORS_MAX = 64 * 1024 /* in search of files; half a microsecond each */
};
static const uint64_t glance_size = UINT64_C(256) << 10; /* bytes */
static const uint64_t fine_gap = UINT64_C(64) << 10;

typedef enum view_kind {
    VIEW_NEW = 0,
    VIEW_MEMORY, /* no file that is asked: as the residency says */
    VIEW_KNOWN   /* as its runs say: what the file holds, and what the process has */
} view_kind;

typedef struct view {
    size_t first;   /* of its runs */
    uint32_t count; /* of them */
    uint16_t kind;
    uint16_t between; /* MDC_CONTENT_*: what lies between them */
} view;

void mdc_backing_init(mdc_backing *backing) {
    memset(backing, 0, sizeof *backing);
    backing->proc = backing->pagemap = -1;
    mdc_vec_init(&backing->views, sizeof(view));
    mdc_vec_init(&backing->runs, sizeof(mdc_content));
    mdc_vec_init(&backing->owned, sizeof(mdc_content));
    mdc_latefiles_init(&backing->late);
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++) backing->files[i].fd = -1;
}

void mdc_backing_fini(mdc_backing *backing) {
    mdc_vec_fini(&backing->views);
    mdc_vec_fini(&backing->runs);
    mdc_vec_fini(&backing->owned);
    mdc_latefiles_fini(&backing->late);
    if (backing->pagemap >= 0) close(backing->pagemap);
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++)
        if (backing->files[i].fd >= 0) close(backing->files[i].fd);
}

mdc_status mdc_backing_begin(mdc_backing *backing, int proc, const mdc_mappings *mappings,
                             const mdc_residency *residency, mdc_error *err) {
    backing->proc = proc;
    backing->mappings = mappings;
    backing->residency = residency;
    backing->budget = DESCRIPTORS_MAX;
    backing->pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    return mdc_vec_push(&backing->views, NULL, mappings->regions.count, NULL, err);
}

static const mdc_region *region_at(const mdc_backing *backing, size_t region) {
    return &mdc_vec_at(&backing->mappings->regions, const mdc_region, region);
}

#define OVERLAYFS 0x794C7630
#define HUGETLBFS 0x958458F6

/* Do mappings of this file system show what read(2) gives, and has reading no effect? include/uapi/linux/magic.h, and
 * the sources of file systems that are not in it. Pseudo file systems are not named: a read may do anything there. */
static bool coherent(const struct statfs *facts) {
    static const uint32_t types[] = {
        0x01021994, /* tmpfs, memfd, SysV, shared anonymous memory */
        HUGETLBFS,  /* which finds no holes */
        0x858458F6, /* ramfs */
        0x0000EF53, /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x9123683E, /* btrfs */
        0xF2F52010, /* f2fs */
        OVERLAYFS,  /* but see replaceable */
        0x00004D44, /* vfat */
        0x2011BAB0, /* exfat */
        0x7366746E, /* ntfs3 */
        0x00009660, /* iso9660 */
        0x15013346, /* udf */
        0xE0F5E1E2, /* erofs */
        0x73717368, /* squashfs */
        0xCA451A4E, /* bcachefs */
        0x2FC12FC1, /* zfs */
        0x52654973, /* reiserfs */
        0x3153464A, /* jfs */
        0x00003434  /* nilfs2 */
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((uint32_t)facts->f_type == types[i]) return true;
    return false;
}

/* A file of overlayfs that is written to becomes another one, and old mappings still show the lower one
 * (Documentation/filesystems/overlayfs.rst, "Non-standard behavior"). No time tells which is older: mappings are
 * inherited by fork. Only one that was opened to be written to is certain to be of the upper file. */
static bool replaceable(const mdc_region *region) {
    return (region->flags & MDC_REGION_SHARED) == 0 ||
           (region->protect != MDC_PAGE_READWRITE && region->protect != MDC_PAGE_EXECUTE_READWRITE);
}

/* A file that is kept in its inode has no blocks either (inline data of ext4, btrfs, erofs). */
static bool holds_nothing(int fd, const struct statfs *system, const struct stat *facts) {
    int64_t blocks = MDC_FAILPOINT("backing:blocks") != 0 ? 0 : facts->st_blocks;
    if (blocks != 0) return false;
    return (uint32_t)system->f_type == HUGETLBFS || (lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO);
}

/* Opens the file of a region; file->fd is -1 if it is not to be had, or no file that may be read instead of memory. */
static void open_file(mdc_backing *backing, const mdc_region *region, mdc_backing_file *file) {
    struct stat facts;
    struct statfs system;
    file->fd = -1;
    if (MDC_FAILPOINT("backing:open") != 0) return;
    file->fd = mdc_mapped_file_open(backing->mappings, backing->proc, region);
    if (file->fd < 0) file->fd = mdc_mapped_file_reopen(backing->mappings, backing->proc, region, &backing->budget);
    if (file->fd < 0) return;
    if (fstat(file->fd, &facts) != 0 || fstatfs(file->fd, &system) != 0 || !S_ISREG(facts.st_mode) ||
        facts.st_size < 0 || !coherent(&system)) {
        close(file->fd);
        file->fd = -1;
        return;
    }
    /* Looking at a file is no use of it that its owner should see. Refused where it is not ours, then it is seen. */
    (void)fcntl(file->fd, F_SETFL, O_NOATIME);
    file->size = (uint64_t)facts.st_size;
    if ((uint32_t)system.f_type == OVERLAYFS) file->flags |= FILE_OVERLAY;
    if (holds_nothing(file->fd, &system, &facts)) file->flags |= FILE_EMPTY;
    if ((uint64_t)facts.st_blocks >= file->size / 512 + (file->size % 512 != 0)) file->flags |= FILE_DENSE;
}

static bool usable(const mdc_backing_file *file, const mdc_region *region) {
    return file->fd >= 0 && ((file->flags & FILE_OVERLAY) == 0 || !replaceable(region));
}

/* The open file of a region, or NULL. The one that was used longest ago makes room. */
static const mdc_backing_file *file_of(mdc_backing *backing, const mdc_region *region) {
    mdc_backing_file *oldest = &backing->files[0];
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++) {
        mdc_backing_file *file = &backing->files[i];
        if (file->used < oldest->used) oldest = file;
        if (file->used == 0 || file->inode != region->inode || file->dev_major != region->dev_major ||
            file->dev_minor != region->dev_minor || file->name_id != region->name_id)
            continue;
        file->used = ++backing->clock;
        return usable(file, region) ? file : NULL;
    }
    if (oldest->fd >= 0) close(oldest->fd);
    *oldest = (mdc_backing_file){.inode = region->inode,
                                 .dev_major = region->dev_major,
                                 .dev_minor = region->dev_minor,
                                 .name_id = region->name_id,
                                 .used = ++backing->clock};
    open_file(backing, region, oldest);
    return usable(oldest, region) ? oldest : NULL;
}

static mdc_status push(mdc_vec *runs, uint64_t first, uint64_t end, uint32_t what, mdc_error *err) {
    mdc_content run = {.first = first, .end = end, .what = what};
    return first < end ? mdc_vec_push(runs, &run, 1, NULL, err) : MDC_OK;
}

static mdc_status take_owned(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    mdc_vec *owned = context;
    uint32_t what = (categories & MDC_PAGE_IS_GUARD) != 0 ? MDC_CONTENT_UNAVAILABLE : MDC_CONTENT_DATA;
    if (owned->count > 0) {
        mdc_content *last = &mdc_vec_at(owned, mdc_content, owned->count - 1);
        if (last->end == first && last->what == what) {
            last->end = end;
            return MDC_OK;
        }
    }
    return push(owned, first, end, what, err);
}

/* Pages that the process has, present or swapped, but for those that are of a kind in `none`. *known is false if the
 * kernel does not tell. */
static mdc_status find_pages(mdc_backing *backing, const mdc_region *region, uint64_t none, bool *known,
                             mdc_error *err) {
    const uint64_t end = region->base + region->size;
    mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED,
                               .none = none,
                               .told = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_GUARD,
                               .monitor = backing->mappings->monitor};
    int os_errno = backing->pagemap < 0 ? EBADF : MDC_FAILPOINT("pagemap:scan");
    mdc_status status = MDC_OK;
    if (os_errno == 0)
        status =
            mdc_pagemap_scan(backing->pagemap, region->base, end, &query, take_owned, &backing->owned, &os_errno, err);
    if (status == MDC_OK && os_errno == EINVAL) { /* before 6.15 guard pages cannot be asked for */
        os_errno = 0;
        backing->owned.count = 0;
        query.told = MDC_PAGE_IS_PRESENT;
        status =
            mdc_pagemap_scan(backing->pagemap, region->base, end, &query, take_owned, &backing->owned, &os_errno, err);
    }
    if (status == MDC_OK && (os_errno == ENOTTY || os_errno == EPERM || os_errno == EINVAL)) {
        os_errno = 0;
        backing->owned.count = 0;
        query.told |= MDC_PAGE_IS_GUARD;
        status =
            mdc_pagemap_read(backing->pagemap, region->base, end, &query, take_owned, &backing->owned, &os_errno, err);
    }
    *known = os_errno == 0;
    return status;
}

/* A shared mapping owns nothing; what was found of its guard pages is told all the same. */
static mdc_status find_guards(mdc_backing *backing, const mdc_region *region, mdc_error *err) {
    uint64_t at = region->base;
    const uint64_t end = region->base + region->size;
    while (at < end) {
        mdc_content run;
        if (mdc_residency_content(backing->residency, region, at, end, &run, 1, &at) == 0) break;
        if (run.what == MDC_CONTENT_UNAVAILABLE && push(&backing->owned, run.first, run.end, run.what, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* The next run of the file's own bytes at or after *at; *first is end if there is none. */
static void next_data(const mdc_backing_file *file, uint64_t at, uint64_t end, uint64_t *first, uint64_t *stop) {
    *first = at;
    *stop = end;
    if ((file->flags & FILE_EMPTY) != 0) *first = end;
    if ((file->flags & (FILE_EMPTY | FILE_DENSE)) != 0) return;
    off_t data = lseek(file->fd, (off_t)at, SEEK_DATA);
    if (data < 0) { /* ENXIO: only holes follow. Anything else: this file system cannot tell */
        if (errno == ENXIO) *first = end;
        return;
    }
    *first = mdc_min_u64(mdc_page_down((uint64_t)data), end);
    if (*first < at) *first = at;
    off_t hole = lseek(file->fd, data, SEEK_HOLE);
    if (hole > data) *stop = mdc_min_u64(mdc_page_up((uint64_t)hole), end);
}

/* Lays out what the file holds, and over it what the process owns. */
static mdc_status lay(mdc_backing *backing, const mdc_region *region, const mdc_backing_file *file, mdc_error *err) {
    const mdc_content *owned = backing->owned.data;
    const size_t first_run = backing->runs.count;
    const uint64_t valid = mdc_min_u64(mdc_page_up(region->valid_size), region->size);
    const uint64_t file_end = region->file_offset + valid;
    uint64_t covered = region->base, data = region->file_offset, data_end = region->file_offset;
    size_t next = 0;
    while (data < file_end) {
        next_data(file, data_end, file_end, &data, &data_end);
        while (backing->runs.count - first_run >= FINE_RUNS && data_end < file_end) {
            uint64_t more, more_end;
            next_data(file, data_end, file_end, &more, &more_end);
            if (more == file_end || more - data_end >= fine_gap) break;
            data_end = more_end;
        }
        if (data >= file_end) break;
        /* Of the mapping. What the file has lost since the listing is told as its own: reading it will fail. */
        uint64_t from = mdc_max_u64(covered, region->base + (data - region->file_offset));
        uint64_t to = region->base + (data_end - region->file_offset);
        for (; next < backing->owned.count && owned[next].first < to; next++) {
            if (push(&backing->runs, from, owned[next].first, MDC_CONTENT_FILE, err) != MDC_OK ||
                push(&backing->runs, owned[next].first, owned[next].end, owned[next].what, err) != MDC_OK)
                return err->code;
            from = mdc_max_u64(from, owned[next].end);
        }
        if (push(&backing->runs, from, to, MDC_CONTENT_FILE, err) != MDC_OK) return err->code;
        covered = mdc_max_u64(from, to);
        data = data_end;
    }
    for (; next < backing->owned.count; next++)
        if (push(&backing->runs, owned[next].first, owned[next].end, owned[next].what, err) != MDC_OK) return err->code;
    return MDC_OK;
}

/* May the file of this region be asked at all? */
static bool has_file(const mdc_region *region) {
    uint64_t end;
    return (region->flags & MDC_REGION_FILE) != 0 && region->inode != 0 && region->state == MDC_MEM_COMMIT &&
           (region->flags & (MDC_REGION_NEVER_READ | MDC_REGION_UNTOUCHED | MDC_REGION_SLOW_FILE)) == 0 &&
           mdc_add_u64(region->file_offset, region->size, &end) && end <= (uint64_t)INT64_MAX &&
           region->file_offset % MDC_PAGE_SIZE == 0 && region->base <= (uint64_t)INT64_MAX;
}

/* Is it a file of which even a read of a hole would take memory? */
static bool is_memory(const mdc_backing *backing, const mdc_region *region) {
    const mdc_mappings *mappings = backing->mappings;
    int64_t found = mdc_mapped_file_find(mappings, region->dev_major, region->dev_minor, region->inode);
    return found >= 0 &&
           (mdc_vec_at(&mappings->files, const mdc_mapped_file, (size_t)found).flags & MDC_MAPPED_MEMORY) != 0;
}

/* The file is at hand: its holes are zeros, unless a handler is to supply them, from wherever it has them. A private
 * mapping owns pages of its own. */
static mdc_status look_at_file(mdc_backing *backing, const mdc_region *region, const mdc_backing_file *file, view *out,
                               mdc_error *err) {
    bool known = true;
    mdc_status status = (region->flags & MDC_REGION_SHARED) != 0
                            ? find_guards(backing, region, err)
                            : find_pages(backing, region, MDC_PAGE_IS_FILE, &known, err);
    if (status != MDC_OK || !known) return status;
    out->kind = VIEW_KNOWN;
    out->between = (region->flags & MDC_REGION_USERFAULT) != 0 ? MDC_CONTENT_DATA : MDC_CONTENT_UNTOUCHED;
    return lay(backing, region, file, err);
}

/* It is not, and a read of the memory could take some: only what the process has is read. Private huge pages have
 * nothing but that; of others nobody but the file knows what else there is. */
static mdc_status look_at_pages(mdc_backing *backing, const mdc_region *region, view *out, mdc_error *err) {
    bool known;
    out->kind = VIEW_KNOWN;
    out->between = (region->kinds & MDC_KIND_ANONYMOUS) != 0 ? MDC_CONTENT_UNTOUCHED : MDC_CONTENT_UNKNOWN;
    mdc_status status = find_pages(backing, region, 0, &known, err);
    if (!known) out->between = MDC_CONTENT_UNKNOWN;
    if (status != MDC_OK || !known || backing->owned.count == 0) return status;
    return mdc_vec_push(&backing->runs, backing->owned.data, backing->owned.count, NULL, err);
}

/* The vdso: what the target has of it is read there, and if that is the image we have, the rest here. */
static mdc_status look_at_vdso(mdc_backing *backing, const mdc_region *region, view *out, mdc_error *err) {
    uint8_t head[MDC_VDSO_HEAD];
    bool known;
    mdc_status status = find_pages(backing, region, 0, &known, err);
    const mdc_content *first = backing->owned.data;
    if (status != MDC_OK || !known) return status;
    /* Without its first page (a child of fork has none), it is the one of our length that 64-bit processes have. */
    const uint8_t *own = NULL;
    if (backing->owned.count == 0 || first->first != region->base) {
        if (backing->wide) own = mdc_vdso_own(region->size, NULL);
    } else {
        int mem = openat(backing->proc, "mem", O_RDONLY | O_CLOEXEC);
        if (mem >= 0 && pread(mem, head, sizeof head, (off_t)region->base) == (ssize_t)sizeof head)
            own = mdc_vdso_own(region->size, head);
        if (mem >= 0) close(mem);
    }
    if (own == NULL) return MDC_OK;
    backing->vdso = own;
    out->kind = VIEW_KNOWN;
    out->between = MDC_CONTENT_FILE;
    if (backing->owned.count == 0) return MDC_OK;
    return mdc_vec_push(&backing->runs, backing->owned.data, backing->owned.count, NULL, err);
}

static bool is_vdso(const mdc_region *region) {
    return (region->kinds & MDC_KIND_VDSO) != 0 && (region->flags & MDC_REGION_NEVER_READ) == 0;
}

static mdc_status look(mdc_backing *backing, const mdc_region *region, view *out, mdc_error *err) {
    out->kind = VIEW_MEMORY;
    if (!has_file(region) && !is_vdso(region)) return MDC_OK;
    backing->owned.count = 0;
    out->first = backing->runs.count;
    const mdc_backing_file *file = has_file(region) ? file_of(backing, region) : NULL;
    mdc_status status = MDC_OK;
    if (is_vdso(region))
        status = look_at_vdso(backing, region, out, err);
    else if (file != NULL)
        status = look_at_file(backing, region, file, out, err);
    else if (is_memory(backing, region))
        status = look_at_pages(backing, region, out, err);
    size_t count = backing->runs.count - out->first;
    if (status == MDC_OK && count <= UINT32_MAX) {
        out->count = (uint32_t)count;
        return MDC_OK;
    }
    backing->runs.count = out->first;
    *out = (view){.kind = VIEW_KNOWN, .between = MDC_CONTENT_UNKNOWN};
    return status;
}

/* NULL: the region is read as memory. */
static const view *view_of(mdc_backing *backing, size_t region) {
    if (region >= backing->views.count) return NULL;
    view *it = &mdc_vec_at(&backing->views, view, region);
    if (it->kind == VIEW_NEW) {
        mdc_error ignored; /* without memory for its runs, the region is unknown */
        mdc_error_clear(&ignored);
        (void)look(backing, region_at(backing, region), it, &ignored);
    }
    return it->kind == VIEW_KNOWN ? it : NULL;
}

static const mdc_content *runs_of(const mdc_backing *backing, const view *it) {
    return it->count > 0 ? &mdc_vec_at(&backing->runs, const mdc_content, it->first) : NULL;
}

size_t mdc_backing_content(mdc_backing *backing, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    const mdc_region *it = region_at(backing, region);
    const view *seen = view_of(backing, region);
    /* The vdso is no file. */
    if (seen == NULL || is_vdso(it)) return mdc_residency_content(backing->residency, it, first, end, runs, room, next);
    return mdc_content_tell(runs_of(backing, seen), seen->count, seen->between, mdc_max_u64(first, it->base),
                            mdc_min_u64(end, it->base + it->size), runs, room, next);
}

/* The route of a few pages of a private mapping that was not looked at: headers of a large file are read without a scan
 * of it all. */
static mdc_backing_route glance(mdc_backing *backing, const mdc_region *region, uint64_t address, uint64_t *end) {
    mdc_region window = {.base = mdc_page_down(address)};
    mdc_error ignored;
    bool known;
    window.size = mdc_min_u64(glance_size, region->base + region->size - window.base);
    *end = window.base + window.size;
    mdc_error_clear(&ignored);
    backing->owned.count = 0;
    if (find_pages(backing, &window, MDC_PAGE_IS_FILE, &known, &ignored) != MDC_OK || !known) return MDC_BACKING_MEMORY;
    const mdc_content *first = backing->owned.count > 0 ? backing->owned.data : NULL;
    if (first != NULL && first->first > address) *end = first->first;
    if (first == NULL || first->first > address) return MDC_BACKING_FILE;
    *end = first->end;
    return first->what == MDC_CONTENT_UNAVAILABLE ? MDC_BACKING_CLOSED : MDC_BACKING_MEMORY;
}

/* Is a glance enough? */
static bool worth_a_glance(mdc_backing *backing, size_t region) {
    const mdc_region *it = region_at(backing, region);
    return region < backing->views.count && mdc_vec_at(&backing->views, view, region).kind == VIEW_NEW &&
           has_file(it) && it->size > glance_size && (it->flags & (MDC_REGION_SHARED | MDC_REGION_USERFAULT)) == 0 &&
           file_of(backing, it) != NULL;
}

mdc_backing_route mdc_backing_route_of(mdc_backing *backing, size_t region, uint64_t address, uint64_t *end) {
    const mdc_region *it = region_at(backing, region);
    if (worth_a_glance(backing, region)) return glance(backing, it, address, end);
    const view *seen = view_of(backing, region);
    mdc_content run;
    uint64_t next;
    *end = it->base + it->size;
    if (seen == NULL && (it->flags & MDC_REGION_SLOW_FILE) != 0) {
        if (mdc_residency_content(backing->residency, it, address, *end, &run, 1, end) == 0) return MDC_BACKING_CLOSED;
        return run.what == MDC_CONTENT_DATA ? MDC_BACKING_MEMORY : MDC_BACKING_CLOSED;
    }
    if (seen == NULL ||
        mdc_content_tell(runs_of(backing, seen), seen->count, seen->between, address, *end, &run, 1, &next) == 0)
        return MDC_BACKING_MEMORY;
    *end = run.end;
    switch (run.what) {
    case MDC_CONTENT_FILE:
        return MDC_BACKING_FILE;
    case MDC_CONTENT_UNTOUCHED:
        return MDC_BACKING_ZEROS;
    case MDC_CONTENT_UNAVAILABLE:
    case MDC_CONTENT_UNKNOWN:
        return MDC_BACKING_CLOSED;
    default:
        return MDC_BACKING_MEMORY;
    }
}

uint64_t mdc_backing_late_end(mdc_backing *backing, size_t region) {
    const mdc_region *it = region_at(backing, region);
    const mdc_backing_file *file =
        has_file(it) && (it->flags & MDC_REGION_USERFAULT) == 0 ? file_of(backing, it) : NULL;
    return file != NULL ? mdc_latefiles_end(&backing->late, it, file->fd) : it->base;
}

static mdc_status count_page(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    (void)categories;
    (void)err;
    *(uint64_t *)context += end - first;
    return MDC_OK;
}

/* Does the page table have it? Then reading it as memory changes nothing. */
static bool present(const mdc_backing *backing, uint64_t page) {
    const mdc_pagemap_query query = {
        .anyof = MDC_PAGE_IS_PRESENT, .told = MDC_PAGE_IS_PRESENT, .monitor = backing->mappings->monitor};
    uint64_t found = 0;
    int os_errno = 0;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    (void)mdc_pagemap_scan(backing->pagemap, page, page + MDC_PAGE_SIZE, &query, count_page, &found, &os_errno,
                           &ignored);
    if (os_errno != 0) {
        os_errno = 0;
        (void)mdc_pagemap_read(backing->pagemap, page, page + MDC_PAGE_SIZE, &query, count_page, &found, &os_errno,
                               &ignored);
    }
    return found != 0;
}

uint64_t mdc_backing_read(mdc_backing *backing, size_t region, uint64_t address, uint64_t size, uint8_t *to,
                          int *os_errno) {
    const mdc_region *it = region_at(backing, region);
    *os_errno = 0;
    if (is_vdso(it)) {
        memcpy(to, backing->vdso + (address - it->base), (size_t)size);
        return size;
    }
    const mdc_backing_file *file = file_of(backing, it);
    const uint64_t offset = it->file_offset + (address - it->base);
    *os_errno = EBADF;
    if (file == NULL) return 0;
    ssize_t got;
    do {
        got = pread(file->fd, to, (size_t)size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    *os_errno = got < 0 ? errno : 0;
    if (got <= 0) return 0;
    /* Behind the end of the file, its last page reads as zeros, unless the process has written there. */
    uint64_t end = offset + (uint64_t)got, rest = mdc_page_up(end) - end;
    struct stat facts;
    if ((uint64_t)got == size || rest == 0 || fstat(file->fd, &facts) != 0 || (uint64_t)facts.st_size != end)
        return (uint64_t)got;
    uint64_t page = mdc_page_down(address + (uint64_t)got);
    if (present(backing, page)) return (uint64_t)got; /* the rest is read as memory */
    rest = mdc_min_u64(rest, size - (uint64_t)got);
    memset(to + got, 0, (size_t)rest);
    return (uint64_t)got + rest;
}
