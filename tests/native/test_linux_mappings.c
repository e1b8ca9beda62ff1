/* Mappings of real children: odd names, shrunk and removed files, MADV_DONTDUMP, mappings that change after the first
 * look, and 20,000 of them; by ioctl and by text. The parts without a process are in test_linux_vma_kind.c. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/mapfiles.h"
#include "linux/mappings.h"
#include "linux_target.h"

enum { PAGE = 4096 };

static mdc_error fresh_error(void) {
    mdc_error err;
    mdc_error_clear(&err);
    return err;
}

static char folder[64];
static const char *const odd_names[] = {"with  two spaces", "new\nline", "back\\slash\\012", "\xff\xfe\x80 bytes",
                                        "really (deleted)", "gone",      "gone (deleted)"};
enum { ODD = sizeof odd_names / sizeof odd_names[0], ODD_GONE = 5 };

enum { NEW_PLAIN = 40, NEW_DONTDUMP, TORN, SHRUNK, PLAIN, DONT, EMPTY, FULL, ANON_SHARED, MEMFD, SHORT, CHANGED_ODD };

static uint64_t map_pages(size_t pages, int protect, int flags, int fd) {
    void *at = mmap(NULL, pages * PAGE, protect, flags, fd, 0);
    if (at == MAP_FAILED) _exit(5);
    return (uint64_t)(uintptr_t)at;
}

/* Keeps the kernel from merging neighbours. */
static uint64_t alone(size_t pages, int protect, int flags, int fd) {
    uint64_t fence = map_pages(pages + 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1) + PAGE;
    void *at = mmap((void *)fence, pages * PAGE, protect, flags | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) _exit(5);
    return (uint64_t)(uintptr_t)at;
}

static void fill(uint64_t at, size_t pages) {
    for (size_t i = 0; i < pages; i++) ((volatile char *)at)[i * PAGE] = 1;
}

static void odd_child(target_shared *shared) {
    uint64_t *words = shared->words;
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, 2 * PAGE) != 0) _exit(6);
        words[i] = map_pages(2, rw, MAP_PRIVATE, fd);
        close(fd);
        if (i >= ODD_GONE) unlink(path);
    }
    words[PLAIN] = alone(4, rw, anon, -1);
    fill(words[PLAIN], 2);
    words[DONT] = alone(4, rw, anon, -1);
    fill(words[DONT], 4);
    madvise((void *)words[DONT], 4 * PAGE, MADV_DONTDUMP);
    words[EMPTY] = alone(4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    words[FULL] = alone(4, rw, anon, -1);
    fill(words[FULL], 4);
    mprotect((void *)words[FULL], 4 * PAGE, PROT_NONE);
    words[ANON_SHARED] = map_pages(4, rw, MAP_SHARED | MAP_ANONYMOUS, -1);
    int memory = memfd_create("a memory file", MFD_CLOEXEC);
    if (ftruncate(memory, 4 * PAGE) != 0) _exit(6);
    words[MEMFD] = map_pages(4, rw, MAP_SHARED, memory);
    int shorter = memfd_create("short", MFD_CLOEXEC);
    if (ftruncate(shorter, 8 * PAGE) != 0) _exit(6);
    words[SHORT] = map_pages(8, rw, MAP_SHARED, shorter);
    fill(words[SHORT], 8);
    if (ftruncate(shorter, 2 * PAGE + 7) != 0) _exit(6);
    words[TORN] = alone(8, rw, anon, -1);
    fill(words[TORN], 8);
    words[SHRUNK] = alone(8, rw, anon, -1);
    fill(words[SHRUNK], 8);
    madvise((void *)words[SHRUNK], 8 * PAGE, MADV_DONTDUMP);
    shared->ready = 1;
    while (shared->go == 0) sleep_us(500);
    words[NEW_PLAIN] = alone(4, rw, anon, -1);
    fill(words[NEW_PLAIN], 1);
    words[NEW_DONTDUMP] = alone(4, rw, anon, -1);
    fill(words[NEW_DONTDUMP], 4);
    madvise((void *)words[NEW_DONTDUMP], 4 * PAGE, MADV_DONTDUMP);
    madvise((void *)(words[TORN] + 2 * PAGE), 2 * PAGE, MADV_DONTDUMP);
    munmap((void *)(words[SHRUNK] + 4 * PAGE), 4 * PAGE);
    if (sbrk(64 * PAGE) == (void *)-1) _exit(7);
    shared->ready = 2;
    for (;;) pause();
}

static const mdc_region *at(const mdc_mappings *mappings, uint64_t address) {
    int64_t found = mdc_mappings_find(mappings, address);
    REQUIRE(found >= 0);
    return &mdc_vec_at(&mappings->regions, mdc_region, found);
}

static bool name_is(const mdc_mappings *mappings, const mdc_region *region, const char *name) {
    if (region->name_id == 0) return *name == '\0';
    mdc_name found = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    return found.size == strlen(name) &&
           memcmp(&mdc_vec_at(&mappings->pool, char, found.offset), name, found.size) == 0;
}

static void check_order(const mdc_mappings *mappings) {
    uint64_t end = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&mappings->regions, mdc_region, i);
        REQUIRE(region->base >= end && region->size > 0 && region->valid_size <= region->size);
        REQUIRE(region->name_id <= mappings->names.count);
        end = region->base + region->size;
    }
    for (size_t i = 0; i < mappings->names.count; i++)
        for (size_t k = 0; k < i; k++) {
            mdc_name a = mdc_vec_at(&mappings->names, mdc_name, i), b = mdc_vec_at(&mappings->names, mdc_name, k);
            REQUIRE(a.size != b.size || memcmp(&mdc_vec_at(&mappings->pool, char, a.offset),
                                               &mdc_vec_at(&mappings->pool, char, b.offset), a.size) != 0);
        }
}

static void check_child(const mdc_mappings *mappings, const target_shared *shared, bool by_text) {
    const uint64_t *words = shared->words;
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        const mdc_region *region = at(mappings, words[i]);
        /* In the text a newline and its four-character escape look the same. */
        if (by_text && strcmp(odd_names[i], "back\\slash\\012") == 0)
            snprintf(path, sizeof path, "%s/back\\slash\n", folder);
        if (!name_is(mappings, region, path)) printf("name %d is not %s\n", i, path);
        REQUIRE(name_is(mappings, region, path));
        REQUIRE(((region->facts & MDC_FACT_DELETED) != 0) == (i >= ODD_GONE));
        REQUIRE(region->type == MDC_MEM_MAPPED && region->kinds == MDC_KIND_FILE && region->valid_size == 2 * PAGE);
        REQUIRE((region->flags & (MDC_REGION_UNTOUCHED | MDC_REGION_DONTDUMP)) == 0);
    }
    const mdc_region *region = at(mappings, words[PLAIN]);
    REQUIRE(region->base == words[PLAIN] && region->size == 4 * PAGE && region->resident == 2 * PAGE);
    REQUIRE(region->flags == MDC_REGION_UNTOUCHED && region->kinds == MDC_KIND_ANONYMOUS && region->name_id == 0);
    REQUIRE(region->protect == MDC_PAGE_READWRITE && region->type == MDC_MEM_PRIVATE);
    REQUIRE((at(mappings, words[DONT])->flags & MDC_REGION_DONTDUMP) != 0);
    region = at(mappings, words[EMPTY]);
    REQUIRE(region->state == MDC_MEM_RESERVE && (region->flags & MDC_REGION_NEVER_READ) != 0);
    region = at(mappings, words[FULL]);
    REQUIRE(region->state == MDC_MEM_COMMIT && region->protect == MDC_PAGE_NOACCESS);
    REQUIRE((region->flags & MDC_REGION_VIA_MEM) != 0 && (region->flags & MDC_REGION_NEVER_READ) == 0);
    region = at(mappings, words[ANON_SHARED]);
    REQUIRE(name_is(mappings, region, "/dev/zero") && region->kinds == MDC_KIND_SHARED);
    REQUIRE((region->flags & MDC_REGION_UNTOUCHED) == 0 && (region->facts & MDC_FACT_DELETED) != 0);
    region = at(mappings, words[MEMFD]);
    REQUIRE(name_is(mappings, region, "/memfd:a memory file") && (region->kinds & MDC_KIND_SHARED) != 0);
    REQUIRE(at(mappings, words[SHORT])->valid_size == 3 * PAGE && at(mappings, words[SHORT])->size == 8 * PAGE);
    /* What came after the first look. */
    region = at(mappings, words[NEW_PLAIN]);
    REQUIRE((region->flags & MDC_REGION_CHANGED) != 0 && (region->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[NEW_DONTDUMP]);
    REQUIRE((region->flags & MDC_REGION_CHANGED) != 0 && (region->flags & MDC_REGION_DONTDUMP) != 0);
    REQUIRE((at(mappings, words[TORN])->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[TORN] + 2 * PAGE);
    REQUIRE(region->base == words[TORN] + 2 * PAGE && (region->flags & MDC_REGION_DONTDUMP) != 0);
    REQUIRE((at(mappings, words[TORN] + 4 * PAGE)->flags & MDC_REGION_DONTDUMP) == 0);
    region = at(mappings, words[SHRUNK]);
    REQUIRE(region->size == 4 * PAGE && (region->flags & MDC_REGION_DONTDUMP) != 0);
    REQUIRE((region->flags & MDC_REGION_CHANGED) != 0);
    int heaps = 0;
    for (size_t i = 0; i < mappings->regions.count; i++) {
        region = &mdc_vec_at(&mappings->regions, mdc_region, i);
        if ((region->kinds & MDC_KIND_HEAP) != 0) {
            /* The kernel may have made a second mapping of what brk added. */
            REQUIRE((region->flags & MDC_REGION_DONTDUMP) == 0);
            if ((region->flags & MDC_REGION_CHANGED) != 0) heaps++;
        }
        if (name_is(mappings, region, "[vvar]") || name_is(mappings, region, "[vsyscall]"))
            REQUIRE((region->flags & MDC_REGION_NEVER_READ) != 0);
        if (name_is(mappings, region, "[vdso]")) REQUIRE((region->flags & MDC_REGION_UNTOUCHED) == 0);
    }
    REQUIRE(heaps == 1);
}

/* failpoints: what of the normal ways is taken away. */
static void test_child(const char *failpoints) {
    strcpy(folder, "/tmp/mdc_maps_XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    target_shared *shared = target_share();
    pid_t pid = target_start(odd_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set(failpoints);
#endif
    REQUIRE_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    check_order(&mappings);
    check_child(&mappings, shared, *failpoints != '\0');
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set("");
#endif
    mdc_mappings_fini(&mappings);
    close(proc);
    target_end(pid);
    for (int i = 0; i < ODD; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, odd_names[i]);
        unlink(path);
    }
    rmdir(folder);
    munmap(shared, sizeof *shared);
}

static void sleeper(target_shared *shared) {
    shared->words[0] = alone(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise((void *)shared->words[0], 4 * PAGE, MADV_DONTDUMP);
    shared->ready = 1;
    while (shared->go == 0) sleep_us(500);
    shared->words[1] = alone(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    shared->ready = 2;
    for (;;) pause();
}

/* smaps cannot be read: no listing but with "ignore". The second look fails: new mappings are not dumped. */
static void test_without_smaps(void) {
#ifdef MDC_FAILPOINTS
    target_shared *shared = target_share();
    pid_t pid = target_start(sleeper, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    mdc_failpoint_set("smaps:list:0:13");
    REQUIRE(mdc_mappings_prepare(&mappings, proc, &err) == MDC_ERR_ACCESS && err.os_errno == EACCES);
    err = fresh_error();
    REQUIRE(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, NULL, &err) == MDC_ERR_ACCESS);
    err = fresh_error();
    REQUIRE_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_IGNORE, NULL, &err), err);
    for (size_t i = 0; i < mappings.regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&mappings.regions, mdc_region, i);
        REQUIRE((region->flags & MDC_REGION_VIA_MEM) != 0 && (region->flags & MDC_REGION_DONTDUMP) == 0);
    }
    mdc_mappings_fini(&mappings);
    mdc_failpoint_set("smaps:list:2:13,maps:list:2:5");
    mdc_mappings_init(&mappings);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
    REQUIRE_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_ASK, NULL, &err), err);
    uint32_t flags = at(&mappings, shared->words[1])->flags;
    REQUIRE((flags & MDC_REGION_DONTDUMP) != 0 && (flags & MDC_REGION_CHANGED) != 0);
    mdc_mappings_fini(&mappings);
    mdc_mappings_init(&mappings);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    REQUIRE(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_ASK, NULL, &err) == MDC_ERR_TARGET && err.os_errno == EIO);
    mdc_mappings_fini(&mappings);
    mdc_failpoint_set("");
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
#endif
}

enum { MANY = 20000 };

static void many_child(target_shared *shared) {
    int fd = memfd_create("many", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGE) != 0) _exit(6);
    uint64_t base = map_pages(2 * MANY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    for (uint64_t i = 0; i < MANY / 2; i++)
        if (mmap((void *)(base + i * 2 * PAGE), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) == MAP_FAILED)
            _exit(5);
    shared->words[0] = base;
    shared->ready = 1;
    for (;;) pause();
}

static void test_many(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(many_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mappings.control = &control;
    uint64_t before = mdc_clock_ns();
    REQUIRE_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    uint64_t after = mdc_clock_ns();
    REQUIRE(atomic_load(&control.doing.advances) >= MANY); /* with each mapping it was seen to go on */
    printf("%zu mappings listed in %.1f ms\n", mappings.regions.count, (double)(after - before) / 1e6);
    REQUIRE(mappings.regions.count >= MANY && mappings.files.count < 100 && mappings.names.count < 100);
    check_order(&mappings);
    for (uint64_t i = 0; i < MANY / 2; i++) {
        const mdc_region *region = at(&mappings, shared->words[0] + i * 2 * PAGE);
        REQUIRE(region->size == PAGE && name_is(&mappings, region, "/memfd:many") && region->valid_size == PAGE);
        REQUIRE((region->flags & (MDC_REGION_CHANGED | MDC_REGION_DONTDUMP)) == 0);
    }
    mdc_mappings_fini(&mappings);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

static void test_gone(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(sleeper, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings mappings;
    mdc_mappings_init(&mappings);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    target_end(pid);
    REQUIRE(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, NULL, &err) == MDC_ERR_TARGET_GONE);
    err = fresh_error();
    REQUIRE(mdc_mappings_prepare(&mappings, proc, &err) != MDC_OK);
    mdc_mappings_fini(&mappings);
    close(proc);
    munmap(shared, sizeof *shared);
}

enum { REPLACED, MARKED, GROWN, NEW };

static void marking_child(target_shared *shared) {
    uint64_t *words = shared->words;
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
    words[REPLACED] = alone(4, rw, anon, -1);
    words[MARKED] = alone(4, rw, anon, -1);
    fill(words[REPLACED], 4);
    fill(words[MARKED], 4);
    int fd = memfd_create("grown", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, PAGE) != 0) _exit(6);
    words[GROWN] = map_pages(8, rw, MAP_SHARED, fd);
    shared->ready = 1;
    while (shared->go == 0) sleep_us(500);
    munmap((void *)words[REPLACED], 4 * PAGE);
    if (mmap((void *)words[REPLACED], 4 * PAGE, rw, anon | MAP_FIXED, -1, 0) == MAP_FAILED) _exit(5);
    madvise((void *)words[REPLACED], 4 * PAGE, MADV_DONTDUMP);
    madvise((void *)words[MARKED], 4 * PAGE, MADV_DONTDUMP);
    fill(words[REPLACED], 4);
    words[NEW] = alone(4, rw, anon, -1);
    if (ftruncate(fd, 5 * PAGE) != 0) _exit(6);
    fill(words[GROWN], 5);
    shared->ready = 2;
    for (;;) pause();
}

/* Flags of the region at an address that the dump will read. */
static uint32_t list_in_doubt(mdc_mappings *mappings, int proc, uint64_t address, uint64_t any, uint64_t needed) {
    const mdc_again again = {any, needed, &address, 1};
    mdc_error err = fresh_error();
    REQUIRE_OK(mdc_mappings_list(mappings, proc, MDC_DONTDUMP_HONOUR, &again, &err), err);
    uint32_t flags = at(mappings, address)->flags;
    mdc_mappings_fini(mappings);
    return flags;
}

/* Memory that looks as it did before the stop, but is marked since; and a file that has grown under its mapping. */
static void test_marked_since(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(marking_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    /* The child marks whole mappings and runs on in those it had: nothing is in doubt there. */
    const mdc_again nothing = {0, UINT64_MAX, &shared->words[MARKED], 1};
    mdc_mappings mappings, cheap;
    mdc_mappings_init(&mappings);
    mdc_mappings_init(&cheap);
    REQUIRE_OK(mdc_mappings_prepare(&mappings, proc, &err), err);
    REQUIRE_OK(mdc_mappings_prepare(&cheap, proc, &err), err);
    mdc_mappings doubt[3];
    for (int i = 0; i < 3; i++) {
        mdc_mappings_init(&doubt[i]);
        REQUIRE_OK(mdc_mappings_prepare(&doubt[i], proc, &err), err);
    }
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
    REQUIRE_OK(mdc_mappings_list(&mappings, proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    REQUIRE_OK(mdc_mappings_list(&cheap, proc, MDC_DONTDUMP_HONOUR, &nothing, &err), err);
    check_order(&mappings);
    for (int i = REPLACED; i <= MARKED; i++) {
        const mdc_region *region = at(&mappings, shared->words[i]);
        REQUIRE(region->base == shared->words[i] && region->size == 4 * PAGE);
        REQUIRE((region->flags & MDC_REGION_DONTDUMP) != 0 && (region->flags & MDC_REGION_CHANGED) != 0);
        /* Nothing may be spent: what was known before the stop is all there is. */
        REQUIRE((at(&cheap, shared->words[i])->flags & (MDC_REGION_DONTDUMP | MDC_REGION_CHANGED)) == 0);
        REQUIRE((at(&cheap, shared->words[i])->flags & MDC_REGION_VIA_MEM) != 0);
    }
    REQUIRE(at(&mappings, shared->words[GROWN])->valid_size == 5 * PAGE);
    REQUIRE(at(&cheap, shared->words[GROWN])->valid_size == 5 * PAGE);
    mdc_mappings_fini(&mappings);
    mdc_mappings_fini(&cheap);
    /* What is new is left out, unless it is needed to know, and the time is there. */
    REQUIRE((list_in_doubt(&doubt[0], proc, shared->words[NEW], 0, 0) & MDC_REGION_DONTDUMP) != 0);
    REQUIRE((list_in_doubt(&doubt[1], proc, shared->words[NEW], 0, UINT64_MAX) & MDC_REGION_DONTDUMP) == 0);
    REQUIRE((list_in_doubt(&doubt[2], proc, shared->words[NEW], UINT64_MAX, 0) & MDC_REGION_DONTDUMP) == 0);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

/* Where smaps is read under the stop alone: what was marked or put in the place of something since counts at once, and
 * without it nothing is dumped. Where it is not read at all, nothing is marked, and all is read through /proc/PID/mem.
 */
static void test_deferred(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(marking_child, shared);
    WAIT_FOR(shared->ready == 1);
    int proc = proc_of(pid);
    mdc_error err = fresh_error();
    mdc_mappings once, refused, blind;
    mdc_mappings_init(&once);
    mdc_mappings_init(&refused);
    mdc_mappings_init(&blind);
    once.defer_ns = refused.defer_ns = UINT64_MAX;
    blind.without_smaps = true;
    REQUIRE_OK(mdc_mappings_prepare(&once, proc, &err), err);
    REQUIRE_OK(mdc_mappings_prepare(&refused, proc, &err), err);
    REQUIRE_OK(mdc_mappings_prepare(&blind, proc, &err), err);
    REQUIRE(once.deferred && !once.flags_known && once.flags.count == 0);
    REQUIRE(!blind.deferred && !blind.flags_known && blind.flags.count == 0);
    shared->go = 1;
    WAIT_FOR(shared->ready == 2);
    const mdc_again nothing = {0, 0, &shared->words[NEW], 1};
    REQUIRE_OK(mdc_mappings_list(&once, proc, MDC_DONTDUMP_HONOUR, &nothing, &err), err);
    check_order(&once);
    for (int i = REPLACED; i <= MARKED; i++) {
        uint32_t flags = at(&once, shared->words[i])->flags;
        REQUIRE((flags & MDC_REGION_DONTDUMP) != 0 && (flags & (MDC_REGION_CHANGED | MDC_REGION_VIA_MEM)) == 0);
    }
    REQUIRE((at(&once, shared->words[NEW])->flags & (MDC_REGION_DONTDUMP | MDC_REGION_CHANGED)) == 0);
    REQUIRE(at(&once, shared->words[GROWN])->valid_size == 5 * PAGE);
    REQUIRE(once.text.count > 0 && memchr(once.text.data, '\n', once.text.count) != NULL);
    REQUIRE_OK(mdc_mappings_list(&blind, proc, MDC_DONTDUMP_IGNORE, &nothing, &err), err);
    REQUIRE((at(&blind, shared->words[MARKED])->flags & MDC_REGION_DONTDUMP) == 0);
    REQUIRE((at(&blind, shared->words[MARKED])->flags & MDC_REGION_VIA_MEM) != 0);
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set("smaps:list:1:13");
    REQUIRE(mdc_mappings_list(&refused, proc, MDC_DONTDUMP_HONOUR, NULL, &err) == MDC_ERR_ACCESS);
    mdc_failpoint_set("");
#endif
    mdc_mappings_fini(&once);
    mdc_mappings_fini(&refused);
    mdc_mappings_fini(&blind);
    close(proc);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

int main(void) {
    test_deferred();
    test_marked_since();
    test_child("");
#ifdef MDC_FAILPOINTS
    test_child("maps:query:0:25"); /* ENOTTY: an older kernel */
#endif
    test_without_smaps();
    test_many();
    test_gone();
    return 0;
}
