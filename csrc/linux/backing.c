/* Using the files of mappings (see backing.h). */
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

/* How many runs of all regions are kept: the target decides how many there are. */
enum {
    RUNS_STEP = 256 * 1024, /* from this many on, and from twice, three and four times as many, larger holes are read */
    RUNS_STEPS = 4          /* that many steps, and no more */
};
static const uint64_t glance_size = UINT64_C(256) << 10; /* bytes */
static const uint64_t present_size = UINT64_C(32) << 10; /* bytes: headers of an image, and what is near them */

typedef enum view_kind {
    VIEW_NEW = 0,
    VIEW_MEMORY, /* no file that is asked: as the residency says */
    VIEW_KNOWN,  /* as its runs say: what the file holds, and what the process has */
    VIEW_CROWDED /* too many runs to keep: the source is determined again at each read */
} view_kind;

typedef struct view {
    size_t first;   /* of its runs */
    uint32_t count; /* of them */
    uint16_t kind;
    uint16_t between; /* MDC_CONTENT_*: what lies between them, and between pages of the process' own */
} view;

void mdc_backing_init(mdc_backing *backing) {
    memset(backing, 0, sizeof *backing);
    backing->proc = backing->pagemap = backing->mem = -1;
    mdc_vec_init(&backing->views, sizeof(view));
    mdc_vec_init(&backing->runs, sizeof(mdc_content));
    mdc_vec_init(&backing->owned, sizeof(mdc_content));
    mdc_latefiles_init(&backing->late);
    mdc_backfiles_init(&backing->files);
}

void mdc_backing_fini(mdc_backing *backing) {
    mdc_vec_fini(&backing->views);
    mdc_vec_fini(&backing->runs);
    mdc_vec_fini(&backing->owned);
    mdc_latefiles_fini(&backing->late);
    if (backing->pagemap >= 0 && !backing->lent) close(backing->pagemap);
    mdc_backfiles_fini(&backing->files);
}

mdc_status mdc_backing_begin(mdc_backing *backing, int proc, mdc_mappings *mappings, const mdc_residency *residency,
                             mdc_error *err) {
    backing->proc = proc;
    backing->mappings = mappings;
    backing->residency = residency;
    backing->files.proc = proc;
    backing->files.mappings = mappings;
    backing->lent = residency->pagemap >= 0;
    backing->pagemap = backing->lent ? residency->pagemap : openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    return mdc_vec_push(&backing->views, NULL, mappings->regions.count, NULL, err);
}

static const mdc_region *region_at(const mdc_backing *backing, size_t region) {
    return &mdc_vec_at(&backing->mappings->regions, const mdc_region, region);
}

static mdc_status push(mdc_vec *runs, uint64_t first, uint64_t end, uint32_t what, mdc_error *err) {
    mdc_content run = {.first = first, .end = end, .what = what};
    return first < end ? mdc_vec_push(runs, &run, 1, NULL, err) : MDC_OK;
}

static size_t step_of_runs(void) {
    int low = MDC_FAILPOINT("backing:runs"); /* a test's limit */
    return low != 0 ? (size_t)low : RUNS_STEP;
}

static mdc_status push_owned(mdc_backing *backing, uint64_t first, uint64_t end, uint32_t what, mdc_error *err) {
    backing->crowded = backing->owned.count >= backing->owned_most;
    if (!backing->crowded) return push(&backing->owned, first, end, what, err);
    return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_CAPTURE, 0,
                    "a mapping has more runs of pages than there is room for");
}

static mdc_status take_owned(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    mdc_backing *backing = context;
    mdc_vec *owned = &backing->owned;
    uint32_t what = (categories & MDC_PAGE_IS_GUARD) != 0 ? MDC_CONTENT_UNAVAILABLE : MDC_CONTENT_DATA;
    if (owned->count > 0) {
        mdc_content *last = &mdc_vec_at(owned, mdc_content, owned->count - 1);
        if (last->end == first && last->what == what) {
            last->end = end;
            return MDC_OK;
        }
    }
    return push_owned(backing, first, end, what, err);
}

/* Pages that the process has, present or swapped, except those of a kind in `none`. *known is false if the
 * kernel does not report them. */
static mdc_status find_pages(mdc_backing *backing, const mdc_region *region, uint64_t none, bool *known,
                             mdc_error *err) {
    const uint64_t end = region->base + region->size;
    mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED,
                               .none = none,
                               .reported = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_GUARD,
                               .control = backing->mappings->control};
    int os_errno = backing->pagemap < 0 ? EBADF : MDC_FAILPOINT("pagemap:scan");
    mdc_status status = MDC_OK;
    if (os_errno == 0)
        status = mdc_pagemap_scan(backing->pagemap, region->base, end, &query, take_owned, backing, &os_errno, err);
    if (status == MDC_OK && os_errno == EINVAL) { /* before 6.15 guard pages cannot be asked for */
        os_errno = 0;
        backing->owned.count = 0;
        query.reported = MDC_PAGE_IS_PRESENT;
        status = mdc_pagemap_scan(backing->pagemap, region->base, end, &query, take_owned, backing, &os_errno, err);
    }
    if (status == MDC_OK && (os_errno == ENOTTY || os_errno == EPERM || os_errno == EINVAL)) {
        os_errno = 0;
        backing->owned.count = 0;
        query.reported |= MDC_PAGE_IS_GUARD;
        status = mdc_pagemap_read(backing->pagemap, region->base, end, &query, take_owned, backing, &os_errno, err);
    }
    *known = os_errno == 0;
    return status;
}

/* A shared mapping owns nothing; its guard pages are still reported. */
static mdc_status find_guards(mdc_backing *backing, const mdc_region *region, mdc_error *err) {
    uint64_t at = region->base;
    const uint64_t end = region->base + region->size;
    while (at < end) {
        mdc_content run;
        if (mdc_residency_content(backing->residency, region, at, end, &run, 1, &at) == 0) break;
        if (run.what == MDC_CONTENT_UNAVAILABLE && push_owned(backing, run.first, run.end, run.what, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* Holes below this size are read, so that runs stay few: none, 64 KiB, 16 MiB, 4 GiB, all. */
static uint64_t smallest_hole(const mdc_backing *backing) {
    size_t steps = backing->runs.count / step_of_runs();
    if (steps >= RUNS_STEPS) return UINT64_MAX;
    return steps == 0 ? 0 : UINT64_C(1) << (8 + 8 * steps);
}

/* Lays out what the file holds, and over it what the process owns. */
static mdc_status lay(mdc_backing *backing, const mdc_region *region, const mdc_backing_file *file, mdc_error *err) {
    const mdc_content *owned = backing->owned.data;
    const uint64_t valid = mdc_min_u64(mdc_page_up(region->valid_size), region->size);
    const uint64_t file_end = region->file_offset + valid;
    uint64_t covered = region->base, data = region->file_offset, data_end = region->file_offset;
    size_t next = 0;
    while (data < file_end) {
        mdc_backfile_next(file, data_end, file_end, &data, &data_end);
        const uint64_t smallest = smallest_hole(backing);
        if (smallest == UINT64_MAX) data_end = file_end;
        while (smallest != 0 && data_end < file_end) {
            uint64_t more, more_end;
            mdc_backfile_next(file, data_end, file_end, &more, &more_end);
            if (more == file_end || more - data_end >= smallest) break;
            data_end = more_end;
        }
        if (data >= file_end) break;
        /* Of the mapping. What the file has lost since the listing is reported as its own: reading it will fail. */
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

/* Is it a file where even a read of a hole would allocate memory? */
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
 * nothing else; for others only the file knows what else exists. */
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
        int mem = backing->mem >= 0 ? backing->mem : openat(backing->proc, "mem", O_RDONLY | O_CLOEXEC);
        if (mem >= 0 && pread(mem, head, sizeof head, (off_t)region->base) == (ssize_t)sizeof head)
            own = mdc_vdso_own(region->size, head);
        if (mem >= 0 && mem != backing->mem) close(mem);
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
    const size_t most = RUNS_STEPS * step_of_runs();
    backing->owned.count = 0;
    backing->crowded = false;
    /* They and the file's take turns: there are twice as many in all. */
    backing->owned_most = backing->runs.count < most ? (most - backing->runs.count) / 2 : 0;
    out->first = backing->runs.count;
    const mdc_backing_file *file = has_file(region) ? mdc_backfiles_get(&backing->files, region) : NULL;
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
    /* What a userfaultfd handler is to supply must not be touched. */
    bool crowded = backing->crowded && (region->flags & MDC_REGION_USERFAULT) == 0;
    *out = (view){.kind = crowded ? VIEW_CROWDED : VIEW_KNOWN, .between = MDC_CONTENT_UNKNOWN};
    if (!crowded) return status;
    if (file != NULL) out->between = MDC_CONTENT_FILE;
    if (file == NULL && (region->kinds & MDC_KIND_ANONYMOUS) != 0) out->between = MDC_CONTENT_UNTOUCHED;
    return MDC_OK;
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
    return it->kind != VIEW_MEMORY ? it : NULL;
}

static const mdc_content *runs_of(const mdc_backing *backing, const view *it) {
    return it->count > 0 ? &mdc_vec_at(&backing->runs, const mdc_content, it->first) : NULL;
}

static mdc_status count_pages(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    uint64_t *next = context;
    (void)categories;
    (void)err;
    if (first == *next) *next = end;
    return MDC_OK;
}

/* How many bytes from `first` on the page tables have: to read them as memory changes nothing. */
static uint64_t present(const mdc_backing *backing, uint64_t first, uint64_t end) {
    const mdc_pagemap_query query = {
        .anyof = MDC_PAGE_IS_PRESENT, .reported = MDC_PAGE_IS_PRESENT, .control = backing->mappings->control};
    uint64_t next = first;
    int os_errno = backing->pagemap < 0 ? EBADF : MDC_FAILPOINT("pagemap:scan");
    mdc_error ignored;
    mdc_error_clear(&ignored);
    if (os_errno == 0)
        (void)mdc_pagemap_scan(backing->pagemap, first, end, &query, count_pages, &next, &os_errno, &ignored);
    if (os_errno == ENOTTY || os_errno == EPERM || os_errno == EINVAL) {
        next = first;
        os_errno = 0;
        (void)mdc_pagemap_read(backing->pagemap, first, end, &query, count_pages, &next, &os_errno, &ignored);
    }
    return os_errno == 0 ? next - first : 0;
}

static bool not_examined(const mdc_backing *backing, size_t region) {
    return region < backing->views.count && mdc_vec_at(&backing->views, view, region).kind == VIEW_NEW;
}

size_t mdc_backing_content(mdc_backing *backing, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    const mdc_region *it = region_at(backing, region);
    /* Whose the pages are does not matter where so little is copied. */
    if (backing->mappings->few_files && not_examined(backing, region) && has_file(it) && first >= it->base &&
        end <= it->base + it->size && end - first <= present_size && present(backing, first, end) == end - first)
        return mdc_content_tell(NULL, 0, MDC_CONTENT_DATA, first, end, runs, room, next);
    const view *seen = view_of(backing, region);
    if (seen != NULL && seen->kind == VIEW_CROWDED)
        return mdc_content_tell(NULL, 0, MDC_CONTENT_DATA, mdc_max_u64(first, it->base),
                                mdc_min_u64(end, it->base + it->size), runs, room, next);
    /* The vdso is not a file. */
    if (seen == NULL || is_vdso(it)) return mdc_residency_content(backing->residency, it, first, end, runs, room, next);
    return mdc_content_tell(runs_of(backing, seen), seen->count, seen->between, mdc_max_u64(first, it->base),
                            mdc_min_u64(end, it->base + it->size), runs, room, next);
}

static mdc_backing_route route_to(uint32_t what) {
    switch (what) {
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

/* The route of a few pages of a mapping that was not looked at, or had too many runs: headers of a large file are read
 * without a scan of it all. between: what lies between pages of the process' own. */
static mdc_backing_route glance(mdc_backing *backing, const mdc_region *region, uint32_t between, uint64_t address,
                                uint64_t *end) {
    mdc_region window = {.base = mdc_page_down(address)};
    mdc_error ignored;
    bool known;
    window.size = mdc_min_u64(glance_size, region->base + region->size - window.base);
    *end = window.base + window.size;
    mdc_error_clear(&ignored);
    backing->owned.count = 0;
    backing->owned_most = SIZE_MAX;
    uint64_t none = between == MDC_CONTENT_FILE ? MDC_PAGE_IS_FILE : 0;
    if (find_pages(backing, &window, none, &known, &ignored) != MDC_OK || !known)
        return between == MDC_CONTENT_FILE ? MDC_BACKING_MEMORY : MDC_BACKING_CLOSED;
    const mdc_content *first = backing->owned.count > 0 ? backing->owned.data : NULL;
    if (first != NULL && first->first > address) *end = first->first;
    if (first == NULL || first->first > address) return route_to(between);
    *end = first->end;
    return route_to(first->what);
}

/* Is a glance enough? */
static bool worth_a_glance(mdc_backing *backing, size_t region) {
    const mdc_region *it = region_at(backing, region);
    return not_examined(backing, region) && has_file(it) && it->size > glance_size &&
           (it->flags & (MDC_REGION_SHARED | MDC_REGION_USERFAULT)) == 0 &&
           mdc_backfiles_get(&backing->files, it) != NULL;
}

mdc_backing_route mdc_backing_route_of(mdc_backing *backing, size_t region, uint64_t address, uint64_t *end) {
    const mdc_region *it = region_at(backing, region);
    if (not_examined(backing, region) && has_file(it)) {
        const uint64_t page = mdc_page_down(address), most = it->base + it->size - page;
        const uint64_t there = present(backing, page, page + mdc_min_u64(present_size, most));
        *end = page + there;
        if (there > 0) return MDC_BACKING_MEMORY;
    }
    if (worth_a_glance(backing, region)) return glance(backing, it, MDC_CONTENT_FILE, address, end);
    const view *seen = view_of(backing, region);
    mdc_content run;
    uint64_t next;
    if (seen != NULL && seen->kind == VIEW_CROWDED) return glance(backing, it, seen->between, address, end);
    *end = it->base + it->size;
    if (seen == NULL && (it->flags & MDC_REGION_SLOW_FILE) != 0) {
        if (mdc_residency_content(backing->residency, it, address, *end, &run, 1, end) == 0) return MDC_BACKING_CLOSED;
        return run.what == MDC_CONTENT_DATA ? MDC_BACKING_MEMORY : MDC_BACKING_CLOSED;
    }
    if (seen == NULL ||
        mdc_content_tell(runs_of(backing, seen), seen->count, seen->between, address, *end, &run, 1, &next) == 0)
        return MDC_BACKING_MEMORY;
    *end = run.end;
    return route_to(run.what);
}

uint64_t mdc_backing_late_end(mdc_backing *backing, size_t region) {
    const mdc_region *it = region_at(backing, region);
    const mdc_backing_file *file =
        has_file(it) && (it->flags & MDC_REGION_USERFAULT) == 0 ? mdc_backfiles_get(&backing->files, it) : NULL;
    return file != NULL ? mdc_latefiles_end(&backing->late, it, file->fd) : it->base;
}

uint64_t mdc_backing_read(mdc_backing *backing, size_t region, uint64_t address, uint64_t size, uint8_t *to,
                          int *os_errno) {
    const mdc_region *it = region_at(backing, region);
    *os_errno = 0;
    if (is_vdso(it)) {
        memcpy(to, backing->vdso + (address - it->base), (size_t)size);
        return size;
    }
    const mdc_backing_file *file = mdc_backfiles_get(&backing->files, it);
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
    if (present(backing, page, page + MDC_PAGE_SIZE) != 0) return (uint64_t)got; /* the rest is read as memory */
    rest = mdc_min_u64(rest, size - (uint64_t)got);
    memset(to + got, 0, (size_t)rest);
    return (uint64_t)got + rest;
}
