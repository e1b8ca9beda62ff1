/* Reading memory: exact counts up to the first bad page, both ways of reading, nothing unshared in a forked worker, no
 * hang on userfaultfd, nothing read that must not be, and a target that goes away. */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/mappings.h"
#include "linux/memory.h"
#include "linux_target.h"

enum { PAGE = 4096 };
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
enum { DATA, NO_ACCESS, BEYOND, GUARD, PIECES, UFFD };
enum { PIECE_COUNT = 3000 };

static uint8_t pattern(uint64_t address) { return (uint8_t)(address * 7 + (address >> 12) * 31 + 1); }

static uint64_t place(size_t bytes, int flags, int fd) {
    char *fence = mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence == MAP_FAILED) _exit(5);
    void *at = mmap(fence + PAGE, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
    if (at == MAP_FAILED) _exit(5);
    return (uint64_t)(uintptr_t)at;
}

static uint64_t filled(size_t bytes, int flags, int fd) {
    uint64_t at = place(bytes, flags, fd);
    for (uint64_t i = 0; i < bytes; i++) *(uint8_t *)(at + i) = pattern(at + i);
    return at;
}

static void child(target_shared *shared) {
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS;
    uint64_t *words = shared->words;
    words[DATA] = filled(64 * PAGE, anon, -1);
    words[NO_ACCESS] = filled(4 * PAGE, anon, -1);
    mprotect((void *)words[NO_ACCESS], 4 * PAGE, PROT_NONE);
    int fd = memfd_create("short", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 8 * PAGE) != 0) _exit(6);
    words[BEYOND] = filled(8 * PAGE, MAP_SHARED, fd);
    if (ftruncate(fd, 3 * PAGE) != 0) _exit(6);
    words[GUARD] = filled(8 * PAGE, anon, -1);
    if (madvise((void *)(words[GUARD] + 4 * PAGE), PAGE, MADV_GUARD_INSTALL) != 0) words[GUARD] = 0;
    /* Every second page without access, so that each page is a region of its own. */
    words[PIECES] = filled((size_t)PIECE_COUNT * PAGE, anon, -1);
    for (uint64_t i = 1; i < PIECE_COUNT; i += 2) mprotect((void *)(words[PIECES] + i * PAGE), PAGE, PROT_READ);
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API};
    if (faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0) {
        uint64_t at = place(4 * PAGE, anon, -1);
        struct uffdio_register range = {.range = {at, 4 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
        if (ioctl(faults, UFFDIO_REGISTER, &range) == 0) words[UFFD] = at;
    }
    shared->ready = 1;
    for (;;) pause();
}

typedef struct view {
    mdc_mappings mappings;
    mdc_memory memory;
    int proc;
} view;

static void look(view *self, pid_t pid) {
    mdc_error err;
    mdc_error_clear(&err);
    self->proc = proc_of(pid);
    mdc_mappings_init(&self->mappings);
    REQUIRE_OK(mdc_mappings_prepare(&self->mappings, self->proc, &err), err);
    REQUIRE_OK(mdc_mappings_list(&self->mappings, self->proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    REQUIRE_OK(mdc_memory_open(&self->memory, self->proc, pid, &err), err);
}

static void look_away(view *self) {
    mdc_memory_close(&self->memory);
    mdc_mappings_fini(&self->mappings);
    close(self->proc);
}

static size_t get(view *self, bool with_mappings, const mdc_span *spans, size_t count, uint8_t *buffer,
                  int32_t *os_errno) {
    mdc_error err;
    mdc_error_clear(&err);
    size_t done;
    REQUIRE_OK(mdc_memory_read(&self->memory, with_mappings ? &self->mappings : NULL, spans, count, buffer, &done,
                               os_errno, &err),
               err);
    return done;
}

/* One span: how many bytes come, with the right content and the errno that follows. */
static void expect(view *self, bool with_mappings, uint64_t address, uint64_t size, size_t want, int32_t want_errno) {
    uint8_t *buffer = malloc(size);
    mdc_span span = {address, size};
    int32_t os_errno;
    size_t done = get(self, with_mappings, &span, 1, buffer, &os_errno);
    if (done != want || (want_errno >= 0 && os_errno != want_errno)) printf("%zu bytes, errno %d\n", done, os_errno);
    REQUIRE(done == want);
    REQUIRE(want_errno < 0 ? os_errno != 0 : os_errno == want_errno);
    for (size_t i = 0; i < done; i++) REQUIRE(buffer[i] == pattern(address + i));
    free(buffer);
}

static void test_counts(view *self, const uint64_t *words, bool maps) {
    expect(self, maps, words[DATA], 64 * PAGE, 64 * PAGE, 0);
    expect(self, maps, words[DATA] + 17, 12345, 12345, 0);
    expect(self, maps, words[DATA] + PAGE - 1, 2, 2, 0);
    expect(self, maps, words[NO_ACCESS] + 100, 4 * PAGE - 100, 4 * PAGE - 100, 0);
    expect(self, maps, words[BEYOND], 8 * PAGE, 3 * PAGE, -1);
    expect(self, maps, words[BEYOND] + 1, 8 * PAGE - 1, 3 * PAGE - 1, -1);
    expect(self, maps, words[BEYOND] + 3 * PAGE, PAGE, 0, -1);
    if (words[GUARD] != 0) expect(self, maps, words[GUARD], 8 * PAGE, 4 * PAGE, -1);
    if (words[GUARD] != 0) expect(self, maps, words[GUARD] + 5 * PAGE, 3 * PAGE, 3 * PAGE, 0);
    expect(self, maps, words[PIECES], (uint64_t)PIECE_COUNT * PAGE, (size_t)PIECE_COUNT * PAGE, 0);
}

/* Scattered spans of all sizes, over regions that are read in different ways, with empty ones between them. */
static void test_spans(view *self, const uint64_t *words) {
    enum { SPANS = 2500 };
    mdc_span *spans = calloc(SPANS, sizeof *spans);
    size_t total = 0;
    for (uint64_t i = 0; i < SPANS; i++) {
        spans[i].address = words[PIECES] + (i * 7919 % PIECE_COUNT) * PAGE + i % 4000;
        spans[i].size = i % 11 == 0 ? 0 : 1 + i % 90;
        if (i % 5 == 0) spans[i].address = words[NO_ACCESS] + i;
        total += spans[i].size;
    }
    uint8_t *buffer = malloc(total);
    int32_t os_errno;
    REQUIRE(get(self, true, spans, SPANS, buffer, &os_errno) == total && os_errno == 0);
    size_t at = 0;
    for (size_t i = 0; i < SPANS; i++)
        for (uint64_t k = 0; k < spans[i].size; k++) REQUIRE(buffer[at++] == pattern(spans[i].address + k));
    /* A bad span in the middle: what is before it counts, to the byte. */
    spans[2000] = (mdc_span){words[BEYOND] + 3 * PAGE - 5, 100};
    size_t before = 5;
    for (size_t i = 0; i < 2000; i++) before += spans[i].size;
    REQUIRE(get(self, true, spans, SPANS, buffer, &os_errno) == before && os_errno != 0);
    REQUIRE(get(self, true, spans, 0, buffer, &os_errno) == 0 && os_errno == 0);
    free(buffer);
    free(spans);
}

static void test_forbidden(view *self) {
    for (size_t i = 0; i < self->mappings.regions.count; i++) {
        const mdc_region *region = &mdc_vec_at(&self->mappings.regions, mdc_region, i);
        if ((region->flags & MDC_REGION_NEVER_READ) != 0) expect(self, true, region->base, 16, 0, EFAULT);
    }
    expect(self, true, 0x1000, 16, 0, EFAULT);
    expect(self, true, 0, 16, 0, EFAULT);
    expect(self, true, UINT64_MAX - 7, 16, 0, EFAULT);
    expect(self, true, UINT64_MAX, 2, 0, EFAULT);
    expect(self, false, UINT64_MAX - 7, 16, 0, -1);
}

static void test_uffd(view *self, const uint64_t *words) {
    if (words[UFFD] == 0) {
        printf("no userfaultfd here\n");
        return;
    }
    const mdc_region *region =
        &mdc_vec_at(&self->mappings.regions, mdc_region, mdc_mappings_find(&self->mappings, words[UFFD]));
    REQUIRE((region->flags & MDC_REGION_VIA_MEM) != 0 && (region->flags & MDC_REGION_UNTOUCHED) != 0);
    expect(self, true, words[UFFD], PAGE, 0, -1); /* and comes back at all */
}

static void test_read(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(child, shared);
    WAIT_FOR(shared->ready == 1);
    view self;
    look(&self, pid);
    test_counts(&self, shared->words, true);
    REQUIRE(!self.memory.no_vm_readv);
    test_spans(&self, shared->words);
    test_forbidden(&self);
    test_uffd(&self, shared->words);
    test_counts(&self, shared->words, false);
    /* Without process_vm_readv: the thread it is asked about is not there. */
    self.memory.tid = INT32_MAX;
    test_counts(&self, shared->words, true);
    REQUIRE(self.memory.no_vm_readv);
    test_spans(&self, shared->words);
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set("read:page:1:5");
    expect(&self, true, shared->words[DATA], PAGE, 0, EIO);
    expect(&self, true, shared->words[DATA], PAGE, PAGE, 0);
    mdc_failpoint_set("");
#endif
    self.memory.no_vm_readv = false;
    self.memory.tid = pid;
    target_end(pid);
    for (int with = 0; with < 2; with++) {
        mdc_error err;
        mdc_error_clear(&err);
        uint8_t byte;
        size_t done;
        int32_t os_errno;
        mdc_span span = {shared->words[DATA], 1};
        REQUIRE(mdc_memory_read(&self.memory, with ? &self.mappings : NULL, &span, 1, &byte, &done, &os_errno, &err) ==
                MDC_ERR_TARGET_GONE);
        REQUIRE(done == 0 && err.message[0] != '\0');
    }
    look_away(&self);
    munmap(shared, sizeof *shared);
}

/* --- a forked worker --- */

enum { SHARED_BYTES = 16 << 20 };
static uint8_t *inherited;

static void worker(target_shared *shared) {
    shared->ready = 1;
    for (;;) pause();
}

/* kB of a line of smaps_rollup. */
static long rollup(int proc, const char *key) {
    char text[4096];
    int fd = openat(proc, "smaps_rollup", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return -1;
    text[n] = '\0';
    const char *line = strstr(text, key);
    return line != NULL ? strtol(line + strlen(key), NULL, 10) : -1;
}

static void test_forked(void) {
    inherited = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(inherited != MAP_FAILED);
    madvise(inherited, SHARED_BYTES, MADV_NOHUGEPAGE);
    memset(inherited, 0x5A, SHARED_BYTES);
    target_shared *shared = target_share();
    pid_t pid = target_start(worker, shared);
    WAIT_FOR(shared->ready == 1);
    view self;
    look(&self, pid);
    long before = rollup(self.proc, "\nPss_Anon:");
    if (before < 0) before = rollup(self.proc, "\nPss:");
    uint8_t *buffer = malloc(SHARED_BYTES);
    mdc_span span = {(uint64_t)(uintptr_t)inherited, SHARED_BYTES};
    int32_t os_errno;
    REQUIRE(get(&self, true, &span, 1, buffer, &os_errno) == SHARED_BYTES);
    for (size_t i = 0; i < SHARED_BYTES; i++) REQUIRE(buffer[i] == 0x5A);
    long after = rollup(self.proc, "\nPss_Anon:");
    if (after < 0) after = rollup(self.proc, "\nPss:");
    printf("Pss of the worker: %ld kB, then %ld kB\n", before, after);
    REQUIRE(before > 0 && after <= before + 256);
    free(buffer);
    look_away(&self);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

int main(void) {
    test_read();
    test_forked();
    return 0;
}
