/* Which pages are there (see residency.h). */
#include "residency.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "pagemap.h"
#include "zeropages.h"

enum {
    FINE_RUNS = 256 * 1024, /* from here on small gaps are filled, to bound memory */
    ASKED_RUNS = 64,
    WHOLE_MIN = 8 /* whole regions in a row: fewer are scanned faster than the scan is begun anew after them */
};
static const uint64_t fine_gap = UINT64_C(64) << 10;
/* Regions that are not candidates are scanned for guard pages only, which is not worth a long walk. */
static const uint64_t guard_walk_max = UINT64_C(1) << 30;
/* The old interface costs 0.5 ms per GiB of address space: half a second at most. */
static const uint64_t pagemap_budget = UINT64_C(1) << 40;

/* An answer of the kernel that is asked for again and again, as for the stack of each thread: on the way to its frames,
 * its place in the file and its bytes. */
enum { ANSWERS_MIN = 64, ANSWERS_MAX = 1024, ANSWER_RUNS = 4 };
static const uint64_t ahead = UINT64_C(1) << 20; /* how far more is asked for than is wanted */

typedef struct mdc_asked {
    uint64_t region; /* its base */
    uint64_t first, end;
    size_t count;
    mdc_content runs[ANSWER_RUNS];
} mdc_asked;

typedef struct scanner {
    mdc_residency *residency;
    const mdc_region *regions;
    size_t count;
    size_t region;      /* the first that ends after the last run */
    size_t last_region; /* of the last run */
} scanner;

void mdc_residency_init(mdc_residency *residency) {
    mdc_vec_init(&residency->runs, sizeof(mdc_content));
    residency->known = residency->exact = false;
    residency->pagemap = -1;
    residency->control = NULL;
    residency->asked = NULL;
}

void mdc_residency_fini(mdc_residency *residency) {
    mdc_vec_fini(&residency->runs);
    mdc_dealloc(residency->asked);
    residency->asked = NULL;
    if (residency->pagemap >= 0) close(residency->pagemap);
    residency->pagemap = -1;
}

/* The kernel's half of the addresses ([vsyscall]) belongs to no process: including it would fail the whole scan. */
static bool in_user_space(const mdc_region *region) { return region->base <= (uint64_t)INT64_MAX; }

static bool candidate(const mdc_region *region) {
    return (region->flags & MDC_REGION_UNTOUCHED) != 0 && in_user_space(region);
}

/* What is resident may be read, the rest would be asked of a server that may not answer. */
static bool slow(const mdc_region *region) {
    return (region->flags & MDC_REGION_SLOW_FILE) != 0 && (region->flags & MDC_REGION_NEVER_READ) == 0;
}

/* Whether its resident pages are reported. */
static bool reported(const mdc_region *region) { return candidate(region) || slow(region); }

/* Devices and the kernel's own pages are left alone; reservations may turn out to hold something. */
static bool interesting(const mdc_region *region) {
    if (reported(region)) return true;
    if ((region->flags & MDC_REGION_NEVER_READ) != 0 || !in_user_space(region)) return false;
    return (region->resident != 0 ? region->resident : region->size) <= guard_walk_max;
}

static mdc_status push(scanner *self, size_t region, uint64_t first, uint64_t end, uint32_t what, mdc_error *err) {
    mdc_vec *runs = &self->residency->runs;
    if (runs->count > 0 && self->last_region == region) {
        mdc_content *last = &mdc_vec_at(runs, mdc_content, runs->count - 1);
        if (last->what == what) {
            uint64_t gap = first - last->end;
            /* Reading a few zeros between two pages that are there makes no page table in the target. */
            bool fill = what == MDC_CONTENT_DATA && runs->count >= FINE_RUNS && gap < fine_gap &&
                        (self->regions[region].flags & MDC_REGION_VIA_MEM) == 0;
            if (gap == 0 || fill) {
                last->end = end;
                return MDC_OK;
            }
        }
    }
    self->last_region = region;
    mdc_content run = {.first = first, .end = end, .what = what};
    return mdc_vec_push(runs, &run, 1, NULL, err);
}

/* A run as reported by the kernel, which can span several regions. Runs come in ascending order. */
static mdc_status take(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    scanner *self = context;
    bool guard = (categories & MDC_PAGE_IS_GUARD) != 0;
    while (self->region < self->count) {
        const mdc_region *region = &self->regions[self->region];
        uint64_t region_end = region->base + region->size;
        if (region_end <= first) {
            self->region++;
            continue;
        }
        if (region->base >= end) break;
        uint64_t from = mdc_max_u64(first, region->base);
        uint64_t to = mdc_min_u64(end, region_end);
        mdc_status status = MDC_OK;
        if (guard && interesting(region))
            status = push(self, self->region, from, to, MDC_CONTENT_UNAVAILABLE, err);
        else if (!guard && reported(region))
            status = push(self, self->region, from, to, MDC_CONTENT_DATA, err);
        if (status != MDC_OK) return status;
        if (to >= end) break;
        first = to;
    }
    return MDC_OK;
}

/* All of its pages are there, so neither a hole nor a guard is in it. */
static bool whole(const scanner *self, size_t region) {
    const mdc_region *it = &self->regions[region];
    return self->residency->exact && interesting(it) && it->resident >= it->size;
}

static bool many_whole(const scanner *self, size_t region) {
    if (self->count - region < WHOLE_MIN) return false;
    for (size_t i = 0; i < WHOLE_MIN; i++)
        if (!whole(self, region + i)) return false;
    return true;
}

/* Takes the whole regions from *region on. */
static mdc_status take_whole(scanner *self, size_t *region, mdc_error *err) {
    mdc_status status = MDC_OK;
    for (; status == MDC_OK && *region < self->count && whole(self, *region); ++*region) {
        const mdc_region *it = &self->regions[*region];
        if (reported(it)) status = push(self, *region, it->base, it->base + it->size, MDC_CONTENT_DATA, err);
    }
    mdc_control_advance(self->residency->control);
    return status;
}

/* One scan over as much as possible at a time: a call per region would take three times as long. */
static mdc_status scan_all(scanner *self, int fd, uint64_t categories, int *os_errno, mdc_error *err) {
    const mdc_pagemap_query query = {.anyof = categories, .reported = categories, .control = self->residency->control};
    self->residency->runs.count = 0;
    self->region = 0;
    size_t i = 0;
    while (i < self->count && *os_errno == 0) {
        while (i < self->count && !interesting(&self->regions[i])) i++;
        if (i == self->count) break;
        uint64_t first = self->regions[i].base;
        uint64_t end = first;
        bool skip = false;
        for (; i < self->count; i++) {
            const mdc_region *region = &self->regions[i];
            skip = many_whole(self, i);
            if (skip || (!interesting(region) && region->size > guard_walk_max)) break;
            if (interesting(region)) end = region->base + region->size;
        }
        mdc_status status = mdc_pagemap_scan(fd, first, end, &query, take, self, os_errno, err);
        if (status == MDC_OK && skip && *os_errno == 0) status = take_whole(self, &i, err);
        if (status != MDC_OK) return status;
    }
    return MDC_OK;
}

static mdc_status read_all(scanner *self, int fd, int *os_errno, mdc_error *err) {
    const uint64_t categories = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED | MDC_PAGE_IS_GUARD;
    const mdc_pagemap_query query = {.anyof = categories, .reported = categories, .control = self->residency->control};
    uint64_t budget = pagemap_budget;
    self->residency->runs.count = 0;
    self->region = 0;
    for (size_t i = 0; i < self->count && *os_errno == 0; i++) {
        const mdc_region *region = &self->regions[i];
        if (!reported(region)) continue;
        mdc_status status = MDC_OK;
        if (region->size > budget) {
            /* Too long to look at. What was seen empty before the stop stays so; the rest has to be read. */
            if (region->state != MDC_MEM_RESERVE && !slow(region))
                status = take(self, region->base, region->base + region->size, MDC_PAGE_IS_PRESENT, err);
        } else {
            budget -= region->size;
            status = mdc_pagemap_read(fd, region->base, region->base + region->size, &query, take, self, os_errno, err);
        }
        if (status != MDC_OK) return status;
    }
    return MDC_OK;
}

/* The first run that ends after the address. */
static size_t find_run(const mdc_content *runs, size_t count, uint64_t address) {
    size_t at;
    mdc_lower_bound(at, 0, count, runs[at].end <= address);
    return at;
}

size_t mdc_content_tell(const mdc_content *known, size_t count, uint32_t between, uint64_t first, uint64_t end,
                        mdc_content *runs, size_t room, uint64_t *next) {
    size_t at = find_run(known, count, first);
    size_t written = 0;
    while (first < end && written < room) {
        const mdc_content *run = at < count ? &known[at] : NULL;
        mdc_content out = {.first = first, .end = end, .what = between};
        if (run != NULL && run->first <= first) {
            out.end = mdc_min_u64(run->end, end);
            out.what = run->what;
            at++;
        } else if (run != NULL && run->first < end) {
            out.end = run->first;
        }
        runs[written++] = out;
        first = out.end;
    }
    *next = first < end ? first : end;
    return written;
}

/* Memory without access, which is a reservation if nothing is in it. */
static bool inaccessible(const mdc_region *region) {
    return candidate(region) && (region->state == MDC_MEM_RESERVE || region->protect == MDC_PAGE_NOACCESS);
}

/* Reservations were classified by smaps, before the stop: now it is known. */
static void note_content(mdc_region *region, bool content) {
    if (content == (region->state != MDC_MEM_RESERVE)) return;
    if (content) {
        region->state = MDC_MEM_COMMIT;
        region->protect = MDC_PAGE_NOACCESS;
        region->flags = (region->flags & ~(uint32_t)MDC_REGION_NEVER_READ) | MDC_REGION_VIA_MEM;
    } else if ((region->flags & MDC_REGION_NEVER_READ) == 0) {
        region->state = MDC_MEM_RESERVE;
        region->protect = 0;
        region->flags |= MDC_REGION_NEVER_READ;
    }
}

static void apply_scan(const mdc_residency *residency, mdc_region *regions, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mdc_region *region = &regions[i];
        if (!inaccessible(region)) continue;
        size_t at = find_run(residency->runs.data, residency->runs.count, region->base);
        const uint64_t end = region->base + region->size;
        bool content = false;
        for (; at < residency->runs.count && !content; at++) {
            const mdc_content *run = &mdc_vec_at(&residency->runs, mdc_content, at);
            if (run->first >= end) break;
            content = run->what == MDC_CONTENT_DATA;
        }
        note_content(region, content);
    }
}

mdc_status mdc_residency_scan(mdc_residency *residency, int proc, mdc_region *regions, size_t count, mdc_error *err) {
    scanner self = {.residency = residency, .regions = regions, .count = count};
    residency->known = false;
    residency->runs.count = 0;
    int fd = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return MDC_OK;
    int os_errno = MDC_FAILPOINT("pagemap:scan");
    mdc_status status = MDC_OK;
    if (os_errno == 0)
        status = scan_all(&self, fd, MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED | MDC_PAGE_IS_GUARD, &os_errno, err);
    if (status == MDC_OK && os_errno == EINVAL) { /* before 6.15 guard pages cannot be asked for */
        os_errno = 0;
        status = scan_all(&self, fd, MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED, &os_errno, err);
    }
    if (status == MDC_OK && (os_errno == ENOTTY || os_errno == EPERM || os_errno == EINVAL)) {
        os_errno = 0;
        status = read_all(&self, fd, &os_errno, err);
    }
    if (status == MDC_OK && os_errno == 0)
        status = mdc_zeropages_find(&residency->runs, fd, regions, count, residency->control, err);
    close(fd);
    if (status != MDC_OK) return status;
    residency->known = os_errno == 0;
    if (!residency->known) residency->runs.count = 0;
    mdc_vec_trim(&residency->runs);
    if (residency->known) apply_scan(residency, regions, count);
    return MDC_OK;
}

/* How content asks: what the kernel understands of it. */
enum { ASK_GUARDS = 1, ASK_PAGES, ASK_ENTRIES };

/* Takes the runs of one region until there are enough. */
typedef struct asker {
    const mdc_region *region;
    mdc_content *runs;
    size_t count;
    size_t room;
    uint64_t end; /* of what is known: where the last run ended for which there was no room */
} asker;

static mdc_status take_asked(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    asker *self = context;
    bool guard = (categories & MDC_PAGE_IS_GUARD) != 0;
    uint32_t what = guard ? MDC_CONTENT_UNAVAILABLE : MDC_CONTENT_DATA;
    if (!guard && !reported(self->region)) return MDC_OK;
    mdc_content *last = self->count > 0 ? &self->runs[self->count - 1] : NULL;
    if (last != NULL && last->end == first && last->what == what) {
        last->end = end;
    } else if (self->count < self->room) {
        self->runs[self->count++] = (mdc_content){.first = first, .end = end, .what = what};
    } else { /* ends the scan; no failure */
        self->end = first;
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_CAPTURE, 0, "more runs than there is room for");
    }
    return MDC_OK;
}

static void ask(const mdc_residency *residency, uint64_t first, asker *asked, int *os_errno) {
    mdc_error full;
    mdc_error_clear(&full);
    const uint64_t end = asked->end;
    uint64_t categories = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED;
    if (residency->method != ASK_PAGES) categories |= MDC_PAGE_IS_GUARD;
    const mdc_pagemap_query query = {.anyof = categories, .reported = categories, .control = residency->control};
    if (residency->method == ASK_ENTRIES)
        (void)mdc_pagemap_read(residency->pagemap, first, end, &query, take_asked, asked, os_errno, &full);
    else
        (void)mdc_pagemap_scan(residency->pagemap, first, end, &query, take_asked, asked, os_errno, &full);
}

static mdc_status saw(void *context, uint64_t first, uint64_t end, uint64_t categories, mdc_error *err) {
    (void)first;
    (void)end;
    (void)categories;
    (void)err;
    *(bool *)context = true;
    return MDC_OK;
}

/* Is a page in it, other than a guard? The kernel looks no further than to the first. */
static bool holds(const mdc_residency *residency, const mdc_region *region) {
    const mdc_pagemap_query query = {.anyof = MDC_PAGE_IS_PRESENT | MDC_PAGE_IS_SWAPPED,
                                     .none = residency->method == ASK_GUARDS ? MDC_PAGE_IS_GUARD : 0,
                                     .reported = MDC_PAGE_IS_PRESENT,
                                     .pages = 1,
                                     .control = residency->control};
    bool found = false;
    int os_errno = 0;
    mdc_error none;
    mdc_error_clear(&none);
    (void)mdc_pagemap_scan(residency->pagemap, region->base, region->base + region->size, &query, saw, &found,
                           &os_errno, &none);
    return os_errno == 0 ? found : region->state != MDC_MEM_RESERVE; /* else as smaps had it */
}

mdc_status mdc_residency_begin(mdc_residency *residency, int proc, mdc_region *regions, size_t count, mdc_error *err) {
    residency->runs.count = 0;
    residency->known = false;
    mdc_dealloc(residency->asked);
    /* They are cleared under the stop: 128 KiB would take longer than the rest where there are a few dozen regions. */
    residency->answers = ANSWERS_MIN;
    while (residency->answers < ANSWERS_MAX && residency->answers / 2 < count) residency->answers *= 2;
    residency->asked = mdc_alloc(residency->answers, sizeof *residency->asked, err);
    if (residency->asked == NULL) return err->code;
    residency->pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
    if (residency->pagemap < 0) return MDC_OK;
    /* Any page will do to find out what can be asked. */
    for (int method = ASK_GUARDS; method <= ASK_ENTRIES && !residency->known; method++) {
        mdc_content run;
        asker asked = {.region = &regions[0], .runs = &run, .room = 1, .end = MDC_PAGE_SIZE};
        int os_errno = method == ASK_ENTRIES ? 0 : MDC_FAILPOINT("pagemap:scan");
        residency->method = method;
        if (os_errno == 0) ask(residency, 0, &asked, &os_errno);
        residency->known = os_errno == 0;
    }
    if (!residency->known) {
        close(residency->pagemap);
        residency->pagemap = -1;
    }
    /* An entry per page takes too long: there what smaps said has to do. */
    for (size_t i = 0; i < count && residency->known && residency->method != ASK_ENTRIES; i++)
        if (inaccessible(&regions[i])) note_content(&regions[i], holds(residency, &regions[i]));
    return MDC_OK;
}

static mdc_asked *slot_of(const mdc_residency *residency, const mdc_region *region) {
    return &residency->asked[(region->base / MDC_PAGE_SIZE * UINT64_C(0x9E3779B97F4A7C15) >> 32) % residency->answers];
}

static size_t content_by_asking(const mdc_residency *residency, const mdc_region *region, uint32_t between,
                                uint64_t first, uint64_t end, mdc_content *runs, size_t room, uint64_t *next) {
    mdc_content found[ASKED_RUNS];
    mdc_asked *known = residency->asked != NULL ? slot_of(residency, region) : NULL;
    if (known != NULL && known->end != 0 && known->region == region->base && known->first <= first && end <= known->end)
        return mdc_content_tell(known->runs, known->count, between, first, end, runs, room, next);
    /* Whole pages: the kernel refuses anything else. */
    const uint64_t from = mdc_page_down(first), wanted = mdc_page_up(end);
    const uint64_t most = mdc_max_u64(wanted, mdc_min_u64(region->base + region->size, wanted + ahead));
    asker asked = {.region = region, .runs = found, .room = ASKED_RUNS, .end = known != NULL ? most : wanted};
    int os_errno = 0;
    if (first < end) ask(residency, from, &asked, &os_errno);
    if (os_errno != 0) { /* the target has ended */
        asked.count = 0;
        if (!slow(region)) between = MDC_CONTENT_DATA;
    } else if (known != NULL && first < end && asked.count <= ANSWER_RUNS) { /* else runs may be missing */
        *known = (mdc_asked){.region = region->base, .first = from, .end = asked.end, .count = asked.count};
        memcpy(known->runs, found, asked.count * sizeof *found);
    }
    return mdc_content_tell(found, asked.count, between, first, mdc_min_u64(asked.end, end), runs, room, next);
}

size_t mdc_residency_content(const mdc_residency *residency, const mdc_region *region, uint64_t first, uint64_t end,
                             mdc_content *runs, size_t room, uint64_t *next) {
    uint32_t between = residency->known && candidate(region) ? MDC_CONTENT_UNTOUCHED : MDC_CONTENT_DATA;
    if (slow(region)) between = MDC_CONTENT_UNKNOWN;
    first = mdc_max_u64(first, region->base);
    end = mdc_min_u64(end, region->base + region->size);
    if (residency->pagemap >= 0 && in_user_space(region) && (region->flags & MDC_REGION_NEVER_READ) == 0)
        return content_by_asking(residency, region, between, first, end, runs, room, next);
    return mdc_content_tell(residency->runs.data, residency->runs.count, between, first, end, runs, room, next);
}
