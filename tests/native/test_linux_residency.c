/* Residency: the table of which pages may be holes, row by row, with real children; no hole may hide content. The scan
 * and the old pagemap interface have to agree. */
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/mappings.h"
#include "linux/memory.h"
#include "linux/residency.h"
#include "linux_target.h"

enum { PAGE = 4096, PAGES = 16, BYTES = PAGES * PAGE, HUGE_BYTES = 2 << 20 };
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* What a row's pages must be: bit i of a mask is page i. */
typedef struct row {
    const char *what;
    uint64_t (*make)(void);
    uint64_t untouched;   /* must be holes (and hold nothing) */
    uint64_t unavailable; /* guard pages */
    uint64_t filled;      /* hold the pattern: must never be a hole */
    bool optional;        /* this kernel or machine may not have it */
} row;

static uint64_t place(size_t bytes, int protect, int flags, int fd) {
    /* Fences on both sides keep the kernel from merging. */
    char *fence = mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence == MAP_FAILED) _exit(5);
    void *at = mmap(fence + PAGE, bytes, protect, flags | MAP_FIXED, fd, 0);
    return at == MAP_FAILED ? 0 : (uint64_t)(uintptr_t)at;
}

static uint64_t anonymous(void) { return place(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }
static void put(uint64_t at, int page) { memset((void *)(at + (uint64_t)page * PAGE), 0xA5, PAGE); }
static void put_all(uint64_t at) {
    for (int i = 0; i < PAGES; i++) put(at, i);
}

static uint64_t never_touched(void) { return anonymous(); }
static uint64_t some_touched(void) {
    uint64_t at = anonymous();
    put(at, 1), put(at, 2), put(at, 9), put(at, 15);
    return at;
}
static uint64_t dont_needed(void) {
    uint64_t at = anonymous();
    put_all(at);
    madvise((void *)(at + 4 * PAGE), 4 * PAGE, MADV_DONTNEED);
    return at;
}
static uint64_t zeros_written(void) {
    uint64_t at = anonymous();
    memset((void *)at, 0, BYTES);
    return at;
}
static uint64_t zeros_read(void) {
    uint64_t at = anonymous();
    for (int i = 0; i < PAGES; i++) (void)((volatile char *)at)[i * PAGE];
    return at;
}
static uint64_t no_access_untouched(void) { return place(BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }
static uint64_t no_access_written(void) {
    uint64_t at = anonymous();
    put(at, 3);
    mprotect((void *)at, BYTES, PROT_NONE);
    return at;
}
static uint64_t lazily_freed(void) {
    uint64_t at = anonymous();
    put_all(at);
    madvise((void *)at, BYTES, MADV_FREE);
    return at;
}
static uint64_t guarded(void) {
    uint64_t at = anonymous();
    put(at, 0);
    return madvise((void *)(at + 2 * PAGE), 2 * PAGE, MADV_GUARD_INSTALL) == 0 ? at : 0;
}
static int temporary(bool fill) {
    char path[] = "/tmp/mdc_rows_XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) _exit(6);
    unlink(path);
    char page[PAGE];
    memset(page, fill ? 0xA5 : 0, sizeof page);
    for (int i = 0; i < PAGES; i++)
        if (write(fd, page, sizeof page) != (ssize_t)sizeof page) _exit(6);
    return fd;
}
static uint64_t private_file(void) { return place(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, temporary(true)); }
static uint64_t shared_file(void) { return place(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, temporary(true)); }
static uint64_t private_file_written(void) {
    uint64_t at = place(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, temporary(false));
    put_all(at);
    return at;
}
static uint64_t guarded_file(void) {
    uint64_t at = private_file();
    return madvise((void *)(at + 2 * PAGE), 2 * PAGE, MADV_GUARD_INSTALL) == 0 ? at : 0;
}
/* Content is in the file, and no page table of this process shows it. */
static uint64_t memory_file(void) {
    int fd = memfd_create("rows", MFD_CLOEXEC);
    char page[PAGE];
    memset(page, 0xA5, sizeof page);
    for (int i = 0; i < PAGES; i++)
        if (write(fd, page, sizeof page) != (ssize_t)sizeof page) _exit(6);
    return place(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
}
static uint64_t shared_anonymous(void) {
    uint64_t at = place(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    put_all(at);
    madvise((void *)at, BYTES, MADV_DONTNEED); /* takes away the page table entries only */
    return at;
}
static uint64_t system_five(void) {
    int id = shmget(IPC_PRIVATE, BYTES, IPC_CREAT | 0600);
    if (id < 0) return 0;
    uint64_t at = (uint64_t)(uintptr_t)shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    put_all(at);
    madvise((void *)at, BYTES, MADV_DONTNEED);
    return at;
}
static uint64_t zero_device(void) {
    int fd = open("/dev/zero", O_RDWR);
    if (fd < 0) return 0;
    uint64_t at = place(BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    if (at != 0) put(at, 5);
    return at;
}
static uint64_t zero_device_shared(void) {
    int fd = open("/dev/zero", O_RDWR);
    if (fd < 0) return 0;
    uint64_t at = place(BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    if (at == 0) return 0;
    put_all(at);
    madvise((void *)at, BYTES, MADV_DONTNEED);
    return at;
}
static uint64_t named_anonymous(void) {
    uint64_t at = anonymous();
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, BYTES, "rows") != 0) return 0;
    put(at, 7);
    return at;
}

#define ALL UINT64_C(0xFFFF)
static const row rows[] = {
    {"never touched", never_touched, ALL, 0, 0, false},
    {"some touched", some_touched, ALL & ~UINT64_C(0x8206), 0, 0x8206, false},
    {"MADV_DONTNEED", dont_needed, 0x00F0, 0, ALL & ~UINT64_C(0x00F0), false},
    {"written with zeros", zeros_written, 0, 0, 0, false},
    {"zero page by reading", zeros_read, 0, 0, 0, false},
    {"PROT_NONE untouched", no_access_untouched, ALL, 0, 0, false},
    {"PROT_NONE written", no_access_written, ALL & ~UINT64_C(8), 0, 8, false},
    {"MADV_FREE", lazily_freed, 0, 0, ALL, false},
    {"guard pages", guarded, ALL & ~UINT64_C(0x000D), 0x000C, 1, true},
    {"private file", private_file, 0, 0, ALL, false},
    {"shared file", shared_file, 0, 0, ALL, false},
    {"private file, written", private_file_written, 0, 0, ALL, false},
    {"guard pages in a file", guarded_file, 0, 0x000C, ALL & ~UINT64_C(0x000C), true},
    {"memfd", memory_file, 0, 0, ALL, false},
    {"shared anonymous", shared_anonymous, 0, 0, ALL, false},
    {"System V", system_five, 0, 0, ALL, true},
    {"/dev/zero private", zero_device, ALL & ~UINT64_C(0x20), 0, 0x20, true},
    {"/dev/zero shared", zero_device_shared, 0, 0, ALL, true},
    {"[anon:rows]", named_anonymous, ALL & ~UINT64_C(0x80), 0, 0x80, true},
};
enum { ROWS = sizeof rows / sizeof rows[0], HUGE_AT = ROWS, SPARSE_AT, WHOLE_AT };
enum { MANY = 12, HOLED = 4 }; /* pages */

/* MANY mappings of one page that is there, one of HOLED pages with one, and MANY again. */
static uint64_t many_whole(void) {
    uint64_t at = place((2 * MANY + HOLED) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 2 * MANY + HOLED; i++)
        if (i <= MANY || i >= MANY + HOLED) put(at, i);
    for (int i = 0; i < MANY; i += 2) {
        mprotect((void *)(at + (uint64_t)(i + 1) * PAGE), PAGE, PROT_READ);
        mprotect((void *)(at + (uint64_t)(i + MANY + HOLED) * PAGE), PAGE, PROT_READ);
    }
    return at;
}

static void child(target_shared *shared) {
    for (int i = 0; i < ROWS; i++) shared->words[i] = rows[i].make();
    uint64_t huge = place(4 * HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    huge = (huge + HUGE_BYTES - 1) & ~(uint64_t)(HUGE_BYTES - 1);
    madvise((void *)huge, HUGE_BYTES, MADV_HUGEPAGE);
    ((volatile char *)huge)[5] = 1;
    shared->words[HUGE_AT] = huge;
    /* 64 GiB of which every 3rd page of the first 6,000 is there: more runs than one call of the scan returns. */
    uint64_t sparse =
        place(UINT64_C(64) << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise((void *)sparse, UINT64_C(64) << 30, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < 6000; i += 3) ((volatile char *)sparse)[i * PAGE] = 1;
    shared->words[SPARSE_AT] = sparse;
    shared->words[WHOLE_AT] = many_whole();
    shared->ready = 1;
    for (;;) pause();
}

typedef struct view {
    mdc_mappings mappings;
    mdc_residency residency;
    mdc_memory memory;
    int proc;
} view;

/* The kernel's answers on their way here. With `overlap` set the second run of an answer begins inside the first. */
static bool overlap;
/* Whether a call looked at this address. */
static uint64_t watched;
static bool watched_seen;

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    uint64_t *arg = va_arg(arguments, uint64_t *);
    va_end(arguments);
    const unsigned long scan = _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 96);
    if (request == scan && arg[2] <= watched && watched < arg[3]) watched_seen = true; /* start, end */
    int count = (int)syscall(SYS_ioctl, fd, request, arg);
    if (overlap && request == scan && count >= 2) {
        uint64_t *runs = (uint64_t *)(uintptr_t)arg[5]; /* vec: start, end, categories of each */
        runs[3] = runs[1] - PAGE;
    }
    return count;
}

/* asking: as for a dump that wants little of the target. */
static void look_by(view *self, pid_t pid, bool asking) {
    mdc_error err;
    mdc_error_clear(&err);
    self->proc = proc_of(pid);
    mdc_mappings_init(&self->mappings);
    mdc_residency_init(&self->residency);
    REQUIRE_OK(mdc_mappings_prepare(&self->mappings, self->proc, &err), err);
    REQUIRE_OK(mdc_mappings_list(&self->mappings, self->proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    mdc_region *regions = self->mappings.regions.data;
    size_t count = self->mappings.regions.count;
    if (asking)
        REQUIRE_OK(mdc_residency_begin(&self->residency, self->proc, regions, count, &err), err);
    else
        REQUIRE_OK(mdc_residency_scan(&self->residency, self->proc, regions, count, &err), err);
    REQUIRE_OK(mdc_memory_open(&self->memory, self->proc, pid, &err), err);
}

static void look(view *self, pid_t pid) { look_by(self, pid, false); }

static void look_away(view *self) {
    mdc_memory_close(&self->memory);
    mdc_residency_fini(&self->residency);
    mdc_mappings_fini(&self->mappings);
    close(self->proc);
}

static const mdc_region *region_at(const view *self, uint64_t address) {
    int64_t found = mdc_mappings_find(&self->mappings, address);
    REQUIRE(found >= 0);
    return &mdc_vec_at(&self->mappings.regions, mdc_region, found);
}

/* Asked in small portions, to see that portions fit together. */
static uint32_t what_is(const view *self, uint64_t address) {
    mdc_content run;
    uint64_t next;
    const mdc_region *region = region_at(self, address);
    size_t count = mdc_residency_content(&self->residency, region, address, address + PAGE, &run, 1, &next);
    REQUIRE(count == 1 && run.first == address && run.end == address + PAGE && next == address + PAGE);
    return run.what;
}

static bool holds(view *self, uint64_t address, uint8_t byte) {
    uint8_t page[PAGE];
    mdc_span span = {address, PAGE};
    mdc_error err;
    mdc_error_clear(&err);
    size_t done;
    int32_t os_errno;
    REQUIRE_OK(mdc_memory_read(&self->memory, &self->mappings, &span, 1, page, &done, &os_errno, &err), err);
    if (done != PAGE) return false;
    for (int i = 0; i < PAGE; i++)
        if (page[i] != byte) return false;
    return true;
}

static void check_rows(view *self, const target_shared *shared, bool guards_in_files) {
    for (int i = 0; i < ROWS; i++) {
        uint64_t base = shared->words[i];
        if (base == 0) {
            printf("not here: %s\n", rows[i].what);
            REQUIRE(rows[i].optional);
            continue;
        }
        const mdc_region *region = region_at(self, base);
        for (int page = 0; page < PAGES; page++) {
            uint64_t address = base + (uint64_t)page * PAGE;
            uint64_t bit = UINT64_C(1) << page;
            uint32_t what = what_is(self, address);
            /* 64 KiB of the kernel's page of zeros, small or huge, are worth telling. */
            bool zero = self->residency.pagemap < 0 && strstr(rows[i].what, "by reading") != NULL;
            uint32_t want = zero ? MDC_CONTENT_ZERO : MDC_CONTENT_DATA;
            if ((rows[i].untouched & bit) != 0) want = MDC_CONTENT_UNTOUCHED;
            if ((rows[i].unavailable & bit) != 0 && (guards_in_files || region->inode == 0))
                want = MDC_CONTENT_UNAVAILABLE;
            if (what != want) printf("%s, page %d: %u instead of %u\n", rows[i].what, page, what, want);
            REQUIRE(what == want);
            if ((rows[i].filled & bit) != 0) {
                REQUIRE(what == MDC_CONTENT_DATA && (region->flags & MDC_REGION_NEVER_READ) == 0);
                REQUIRE(holds(self, address, 0xA5));
            }
        }
    }
}

/* No hole in any mapping of the process hides anything. Comes last: reading a hole fills it. */
static void check_holes(const view *self, pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(mem >= 0);
    for (size_t i = 0; i < self->mappings.regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&self->mappings.regions, mdc_region, i);
        uint64_t at = region->base, end = region->base + region->size;
        /* Reading gigabytes of holes would make page tables in the child for nothing. */
        if (region->size > UINT64_C(1) << 26) end = region->base + (UINT64_C(1) << 26);
        if ((region->flags & MDC_REGION_NEVER_READ) != 0 && region->state == MDC_MEM_COMMIT) continue;
        while (at < end) {
            mdc_content runs[7];
            uint64_t next;
            size_t count = mdc_residency_content(&self->residency, region, at, end, runs, 7, &next);
            REQUIRE(count > 0 && runs[0].first == at && next > at && next == runs[count - 1].end);
            for (size_t k = 0; k < count; k++) {
                REQUIRE(runs[k].first < runs[k].end && (k == 0 || runs[k].first == runs[k - 1].end));
                if (runs[k].what != MDC_CONTENT_UNTOUCHED) continue;
                for (uint64_t page = runs[k].first; page < runs[k].end; page += PAGE) {
                    uint64_t words[PAGE / 8];
                    REQUIRE(pread(mem, words, PAGE, (off_t)page) == PAGE);
                    for (size_t w = 0; w < PAGE / 8; w++) REQUIRE(words[w] == 0);
                }
            }
            at = next;
        }
    }
    close(mem);
}

static void check_big(const view *self, const target_shared *shared) {
    uint64_t huge = shared->words[HUGE_AT];
    REQUIRE(what_is(self, huge) == MDC_CONTENT_DATA);
    REQUIRE(what_is(self, huge + 2 * HUGE_BYTES) == MDC_CONTENT_UNTOUCHED);
    uint64_t sparse = shared->words[SPARSE_AT];
    const mdc_region *region = region_at(self, sparse);
    REQUIRE(region->size == UINT64_C(64) << 30);
    for (uint64_t i = 0; i < 6000; i++)
        REQUIRE(what_is(self, sparse + i * PAGE) == (i % 3 == 0 ? MDC_CONTENT_DATA : MDC_CONTENT_UNTOUCHED));
    mdc_content run;
    uint64_t next, behind = sparse + 6000 * PAGE;
    REQUIRE(mdc_residency_content(&self->residency, region, behind, UINT64_MAX, &run, 1, &next) == 1);
    REQUIRE(run.first == behind && run.end == sparse + region->size && run.what == MDC_CONTENT_UNTOUCHED);
    REQUIRE(next == run.end);
    REQUIRE(mdc_residency_content(&self->residency, region, next, next, &run, 1, &next) == 0);
}

/* Parts of pages: of every third page there is one. */
static void check_parts(const view *self, uint64_t sparse) {
    mdc_content run;
    uint64_t next;
    REQUIRE(mdc_residency_content(&self->residency, region_at(self, sparse), sparse + 3 * PAGE + 64,
                                  sparse + 4 * PAGE - 8, &run, 1, &next) == 1);
    REQUIRE(run.what == MDC_CONTENT_DATA && run.first == sparse + 3 * PAGE + 64 && run.end == sparse + 4 * PAGE - 8);
    REQUIRE(next == run.end);
    REQUIRE(mdc_residency_content(&self->residency, region_at(self, sparse), sparse + 4 * PAGE + 8,
                                  sparse + 6 * PAGE + 8, &run, 1, &next) == 1);
    REQUIRE(run.what == MDC_CONTENT_UNTOUCHED && run.first == sparse + 4 * PAGE + 8 && run.end == sparse + 6 * PAGE);
}

static void check_no_access(const view *self, const target_shared *shared) {
    for (int i = 0; i < ROWS; i++) {
        if (rows[i].make == no_access_untouched) {
            const mdc_region *region = region_at(self, shared->words[i]);
            REQUIRE(region->state == MDC_MEM_RESERVE && (region->flags & MDC_REGION_NEVER_READ) != 0);
        } else if (rows[i].make == no_access_written) {
            const mdc_region *region = region_at(self, shared->words[i]);
            REQUIRE(region->state == MDC_MEM_COMMIT && (region->flags & MDC_REGION_NEVER_READ) == 0);
            REQUIRE((region->flags & MDC_REGION_VIA_MEM) != 0);
        }
    }
}

/* What smaps said of memory without access is corrected by the scan, both ways. */
static void check_settling(view *self, const target_shared *shared) {
    mdc_region wrong[2];
    size_t count = 0;
    for (int i = 0; i < ROWS; i++)
        if (rows[i].make == no_access_untouched || rows[i].make == no_access_written)
            wrong[count++] = *region_at(self, shared->words[i]);
    REQUIRE(count == 2);
    if (wrong[0].base > wrong[1].base) {
        mdc_region swap = wrong[0];
        wrong[0] = wrong[1];
        wrong[1] = swap;
    }
    mdc_region right[2] = {wrong[0], wrong[1]};
    for (int i = 0; i < 2; i++) {
        bool reserved = wrong[i].state == MDC_MEM_RESERVE;
        wrong[i].state = reserved ? MDC_MEM_COMMIT : MDC_MEM_RESERVE;
        wrong[i].protect = reserved ? MDC_PAGE_NOACCESS : 0;
        wrong[i].flags ^= MDC_REGION_NEVER_READ;
    }
    mdc_residency again;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_residency_init(&again);
    REQUIRE_OK(mdc_residency_scan(&again, self->proc, wrong, 2, &err), err);
    for (int i = 0; i < 2; i++)
        REQUIRE(wrong[i].state == right[i].state && wrong[i].protect == right[i].protect &&
                wrong[i].flags == right[i].flags);
    mdc_residency_fini(&again);
}

/* A run that begins before the last one ended counts for what is new of it. */
static void check_overlap(view *self, const target_shared *shared) {
    mdc_region region;
    int at = 0;
    while (rows[at].make != some_touched) at++;
    region = *region_at(self, shared->words[at]);
    mdc_residency again;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_residency_init(&again);
    REQUIRE_OK(mdc_residency_scan(&again, self->proc, &region, 1, &err), err);
    REQUIRE(again.known && again.runs.count >= 2);
    uint64_t first_end = mdc_vec_at(&again.runs, mdc_content, 0).end;
    uint64_t second_end = mdc_vec_at(&again.runs, mdc_content, 1).end;
    overlap = true;
    REQUIRE_OK(mdc_residency_scan(&again, self->proc, &region, 1, &err), err);
    overlap = false;
    REQUIRE(again.known && again.runs.count >= 1);
    const mdc_content *run = &mdc_vec_at(&again.runs, mdc_content, 0);
    REQUIRE(first_end < second_end && run->end == second_end); /* they touch now, and are one */
    mdc_residency_fini(&again);
}

/* A mapping in the kernel's half of the addresses does not make the scan of others fail. */
static void check_kernel_half(view *self, const target_shared *shared) {
    int at = 0;
    while (rows[at].make != some_touched) at++;
    mdc_region regions[2] = {*region_at(self, shared->words[at]),
                             {.base = UINT64_C(0xFFFFFFFFFF600000), .size = PAGE, .flags = MDC_REGION_UNTOUCHED}};
    mdc_residency again;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_residency_init(&again);
    REQUIRE_OK(mdc_residency_scan(&again, self->proc, regions, 2, &err), err);
    REQUIRE(again.known && again.runs.count >= 2);
    mdc_content run;
    uint64_t next;
    const uint64_t end = regions[1].base + PAGE;
    REQUIRE(mdc_residency_content(&again, &regions[1], regions[1].base, end, &run, 1, &next) == 1);
    REQUIRE(run.what == MDC_CONTENT_DATA && next == end); /* nothing is known of it */
    mdc_residency_fini(&again);
}

static void scan_again(mdc_residency *again, view *self, bool exact) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_residency_init(again);
    again->exact = exact;
    watched_seen = false;
    REQUIRE_OK(mdc_residency_scan(again, self->proc, self->mappings.regions.data, self->mappings.regions.count, &err),
               err);
    REQUIRE(again->known);
}

/* Many mappings all of whose pages are there are not looked at where it is known that they are, and nothing is told
 * differently. What is known of an earlier moment does not count. */
static void check_whole(view *self, const target_shared *shared) {
    const uint64_t at = shared->words[WHOLE_AT];
    mdc_residency scanned, known;
    for (int half = 0; half < 2; half++) {
        watched = at + (half == 0 ? 0 : (uint64_t)(MANY + HOLED) * PAGE);
        scan_again(&scanned, self, false);
        REQUIRE(watched_seen);
        REQUIRE(self->mappings.exact);
        scan_again(&known, self, true);
        REQUIRE(!watched_seen);
        REQUIRE(known.runs.count == scanned.runs.count);
        for (size_t i = 0; i < known.runs.count; i++) {
            const mdc_content *a = &mdc_vec_at(&known.runs, mdc_content, i);
            const mdc_content *b = &mdc_vec_at(&scanned.runs, mdc_content, i);
            REQUIRE(a->first == b->first && a->end == b->end && a->what == b->what);
        }
        mdc_residency_fini(&scanned);
        mdc_residency_fini(&known);
    }
    mdc_region *holed = &mdc_vec_at(&self->mappings.regions, mdc_region,
                                    mdc_mappings_find(&self->mappings, at + (uint64_t)MANY * PAGE));
    REQUIRE(holed->size == HOLED * PAGE && holed->resident == PAGE);
    holed->resident = holed->size;
    scan_again(&scanned, self, false);
    mdc_content run;
    uint64_t next;
    REQUIRE(mdc_residency_content(&scanned, holed, holed->base + PAGE, holed->base + HOLED * PAGE, &run, 1, &next) ==
            1);
    REQUIRE(run.what == MDC_CONTENT_UNTOUCHED && next == holed->base + HOLED * PAGE);
    mdc_residency_fini(&scanned);
    holed->resident = PAGE;
}

/* Of many runs each call of the scan that comes back is seen. */
static void check_progress(const view *self, const target_shared *shared) {
    mdc_region region = *region_at(self, shared->words[SPARSE_AT]);
    mdc_residency again;
    mdc_dump_control control;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_control_init(&control, 0);
    mdc_residency_init(&again);
    again.control = &control;
    REQUIRE_OK(mdc_residency_scan(&again, self->proc, &region, 1, &err), err);
    REQUIRE(again.known && atomic_load(&control.doing.advances) >= 4);
    mdc_residency_fini(&again);
}

int main(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(child, shared);
    WAIT_FOR(shared->ready == 1);
    view self;
    look(&self, pid);
    if (!self.residency.known) {
        printf("this kernel does not tell which pages are there\n");
        return 77;
    }
    check_rows(&self, shared, true);
    check_big(&self, shared);
    check_no_access(&self, shared);
    check_settling(&self, shared);
    check_overlap(&self, shared);
    check_progress(&self, shared);
    check_kernel_half(&self, shared);
    check_whole(&self, shared);
    size_t runs = self.residency.runs.count;
    look_away(&self);
    /* The same by asking: nothing is known in advance, and nothing is told differently. */
    look_by(&self, pid, true);
    REQUIRE(self.residency.known && self.residency.runs.count == 0);
    check_parts(&self, shared->words[SPARSE_AT]);
    check_rows(&self, shared, true);
    check_big(&self, shared);
    check_no_access(&self, shared);
    look_away(&self);
#ifdef MDC_FAILPOINTS
    /* ENOTTY: a kernel without the ioctl. */
    mdc_failpoint_set("pagemap:scan:0:25");
    look(&self, pid);
    mdc_failpoint_set("");
    REQUIRE(self.residency.known);
    check_rows(&self, shared, false);
    check_big(&self, shared);
    check_no_access(&self, shared);
    REQUIRE(self.residency.runs.count <= runs);
    look_away(&self);
    mdc_failpoint_set("pagemap:scan:0:25");
    look_by(&self, pid, true);
    REQUIRE(self.residency.known);
    check_rows(&self, shared, true);
    check_big(&self, shared);
    check_no_access(&self, shared);
    look_away(&self);
    mdc_failpoint_set("");
    /* Nothing works: everything counts as there. */
    mdc_failpoint_set("pagemap:scan:0:5");
    look(&self, pid);
    mdc_failpoint_set("");
    REQUIRE(!self.residency.known);
    REQUIRE(what_is(&self, shared->words[0]) == MDC_CONTENT_DATA);
    look_away(&self);
#endif
    (void)runs;
    look_by(&self, pid, true);
    check_holes(&self, pid);
    look_away(&self);
    look(&self, pid);
    check_holes(&self, pid);
    look_away(&self);
    target_end(pid);
    return 0;
}
