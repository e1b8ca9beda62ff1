/* The backing of mappings: the edges of a file, files that change, more of them than are held open, and no way to the
 * file. */
#include <dirent.h>
#include <sys/stat.h>

#include "api/engine.h"
#include "base/failpoint.h"
#include "linux/memory.h"
#include "linux_target.h"

enum { PAGE = 4096, LARGE_PAGES = 200, FILES = 3 * MDC_BACKING_OPEN, FILE_PAGES = 4, TAIL = 100 };
/* words[] of the target */
enum { LONG, WRITTEN_TAIL, PLAIN_TAIL, PRIVATE, LARGE, MANY };

static int files[FILES], tail_file, plain_file, long_file, large_file;

static int make_file(uint64_t size, uint8_t first) {
    char path[] = "/tmp/mdc_backing_XXXXXX";
    uint8_t page[PAGE];
    int fd = mkstemp(path);
    REQUIRE(fd >= 0 && unlink(path) == 0);
    for (uint64_t at = 0; at < size; at += PAGE) {
        size_t part = size - at < PAGE ? (size_t)(size - at) : PAGE;
        memset(page, (uint8_t)(first + at / PAGE), sizeof page);
        REQUIRE(pwrite(fd, page, part, (off_t)at) == (ssize_t)part);
    }
    return fd;
}

static uint64_t map(int fd, int flags, size_t pages) {
    void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) _exit(4);
    return (uint64_t)(uintptr_t)at;
}

static void child(target_shared *shared) {
    shared->words[LONG] = map(long_file, MAP_SHARED, 8);
    shared->words[WRITTEN_TAIL] = map(tail_file, MAP_SHARED, 2);
    memset((void *)(shared->words[WRITTEN_TAIL] + PAGE), 'w', PAGE); /* up to its end, far beyond that of the file */
    shared->words[PLAIN_TAIL] = map(plain_file, MAP_PRIVATE, 2);
    shared->words[PRIVATE] = map(long_file, MAP_PRIVATE, 8);
    memset((void *)(shared->words[PRIVATE] + 3 * PAGE), 'o', PAGE);
    shared->words[LARGE] = map(large_file, MAP_PRIVATE, LARGE_PAGES);
    memset((void *)(shared->words[LARGE] + 9 * PAGE), 'o', PAGE);
    for (int i = 0; i < FILES; i++) shared->words[MANY + i] = map(files[i], MAP_PRIVATE, FILE_PAGES);
    shared->ready = 1;
    for (;;) pause();
}

typedef struct view {
    mdc_mappings mappings;
    mdc_residency residency;
    mdc_backing backing;
    mdc_memory memory;
    int proc;
} view;

static void look(view *self, pid_t pid) {
    mdc_error err;
    mdc_error_clear(&err);
    self->proc = proc_of(pid);
    mdc_mappings_init(&self->mappings);
    mdc_residency_init(&self->residency);
    mdc_backing_init(&self->backing);
    REQUIRE_OK(mdc_mappings_prepare(&self->mappings, self->proc, &err), err);
    REQUIRE_OK(mdc_mappings_list(&self->mappings, self->proc, MDC_DONTDUMP_HONOUR, NULL, &err), err);
    REQUIRE_OK(mdc_residency_scan(&self->residency, self->proc, self->mappings.regions.data,
                                  self->mappings.regions.count, &err),
               err);
    REQUIRE_OK(mdc_backing_begin(&self->backing, self->proc, &self->mappings, &self->residency, &err), err);
    REQUIRE_OK(mdc_memory_open(&self->memory, self->proc, pid, &err), err);
    self->memory.backing = &self->backing;
}

static void look_away(view *self) {
    mdc_memory_close(&self->memory);
    mdc_backing_fini(&self->backing);
    mdc_residency_fini(&self->residency);
    mdc_mappings_fini(&self->mappings);
    close(self->proc);
}

static size_t get(view *self, uint64_t address, size_t size, uint8_t *buffer) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_span span = {address, size};
    size_t done;
    int32_t os_errno;
    REQUIRE_OK(mdc_memory_read(&self->memory, &self->mappings, &span, 1, buffer, &done, &os_errno, &err), err);
    REQUIRE((os_errno == 0) == (done == size));
    return done;
}

static bool all(const uint8_t *bytes, size_t size, uint8_t value) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value) return false;
    return true;
}

static uint32_t what_is(view *self, uint64_t address) {
    mdc_content run = {.what = 0};
    uint64_t next;
    int64_t region = mdc_mappings_find(&self->mappings, address);
    REQUIRE(region >= 0);
    REQUIRE(mdc_backing_content(&self->backing, (size_t)region, address, address + PAGE, &run, 1, &next) == 1);
    return run.what;
}

static uint64_t resident(pid_t pid) {
    char path[64], text[256];
    unsigned long size, pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    REQUIRE(sscanf(text, "%lu %lu", &size, &pages) == 2);
    return pages;
}

static int open_descriptors(void) {
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    while (readdir(list) != NULL) count++;
    closedir(list);
    return count;
}

static void test_ends_of_files(view *self, const uint64_t *words) {
    uint8_t buffer[2 * PAGE];
    /* Bytes that only memory has, as far as the page is in the page table; else zeros. */
    REQUIRE(get(self, words[WRITTEN_TAIL], 2 * PAGE, buffer) == 2 * PAGE);
    REQUIRE(all(buffer, PAGE, 1) && all(buffer + PAGE, PAGE, 'w'));
    REQUIRE(get(self, words[PLAIN_TAIL], 2 * PAGE, buffer) == 2 * PAGE);
    REQUIRE(all(buffer, PAGE, 1) && all(buffer + PAGE, TAIL, 2) && all(buffer + PAGE + TAIL, PAGE - TAIL, 0));
    REQUIRE(get(self, words[PLAIN_TAIL] + PAGE + TAIL - 1, 20, buffer) == 20);
    REQUIRE(buffer[0] == 2 && all(buffer + 1, 19, 0));
}

static void test_owned_pages(view *self, const uint64_t *words) {
    uint8_t buffer[8 * PAGE];
    for (uint64_t i = 0; i < 8; i++)
        REQUIRE(what_is(self, words[PRIVATE] + i * PAGE) == (i == 3 ? MDC_CONTENT_DATA : MDC_CONTENT_FILE));
    REQUIRE(get(self, words[PRIVATE] + 1, 8 * PAGE - 1, buffer) == 8 * PAGE - 1);
    for (size_t i = 0; i < 8; i++) REQUIRE(buffer[i * PAGE] == (i == 3 ? 'o' : i + 1));
}

/* What is read of a large mapping before anything was asked about it. */
static void test_parts(view *self, const uint64_t *words) {
    uint8_t buffer[LARGE_PAGES * PAGE];
    REQUIRE(get(self, words[LARGE] + 9 * PAGE - 1, 2, buffer) == 2 && buffer[0] == 9 && buffer[1] == 'o');
    REQUIRE(get(self, words[LARGE] + 100, sizeof buffer - 100, buffer) == sizeof buffer - 100);
    for (size_t i = 1; i < LARGE_PAGES; i++) REQUIRE(buffer[i * PAGE - 100] == (i == 9 ? 'o' : (uint8_t)(i + 1)));
    REQUIRE(what_is(self, words[LARGE] + 9 * PAGE) == MDC_CONTENT_DATA);
}

static void test_many_files(view *self, const uint64_t *words) {
    uint8_t buffer[FILE_PAGES * PAGE];
    int before = open_descriptors();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < FILES; i++) {
            REQUIRE(get(self, words[MANY + i], sizeof buffer, buffer) == sizeof buffer);
            for (size_t page = 0; page < FILE_PAGES; page++)
                REQUIRE(all(buffer + page * PAGE, PAGE, (uint8_t)(10 * i + (int)page)));
        }
    REQUIRE(open_descriptors() - before <= MDC_BACKING_OPEN);
}

/* What the file loses after it was looked at cannot be read, and is not told as zeros. */
static void test_truncated_meanwhile(view *self, const uint64_t *words) {
    uint8_t buffer[8 * PAGE];
    REQUIRE(what_is(self, words[LONG] + 7 * PAGE) == MDC_CONTENT_FILE);
    REQUIRE(ftruncate(long_file, 5 * PAGE) == 0);
    REQUIRE(get(self, words[LONG], 8 * PAGE, buffer) == 5 * PAGE);
    REQUIRE(get(self, words[LONG] + 6 * PAGE, PAGE, buffer) == 0);
    for (size_t i = 0; i < 5; i++) REQUIRE(all(buffer + i * PAGE, PAGE, (uint8_t)(i + 1)));
}

/* --- no way to the file --- */

static void hidden(target_shared *shared) {
    int fd = memfd_create("hidden", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 8 * PAGE) != 0) _exit(4);
    shared->words[0] = map(fd, MAP_SHARED, 8);
    memset((void *)(shared->words[0] + 2 * PAGE), 'm', PAGE);
    if (pwrite(fd, "stored", 6, 5 * PAGE) != 6) _exit(4);
    shared->ready = 1;
    for (;;) pause();
}

static void test_unknown(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(hidden, shared);
    WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
    const uint64_t base = shared->words[0];
    uint8_t buffer[PAGE];
    view self;
    mdc_failpoint_set("backing:open:0:1");
    look(&self, pid);
    uint64_t before = resident(pid);
    for (uint64_t i = 0; i < 8; i++)
        REQUIRE(what_is(&self, base + i * PAGE) == (i == 2 ? MDC_CONTENT_DATA : MDC_CONTENT_UNKNOWN));
    REQUIRE(get(&self, base + 2 * PAGE, PAGE, buffer) == PAGE && all(buffer, PAGE, 'm'));
    REQUIRE(get(&self, base + 5 * PAGE, PAGE, buffer) == 0);
    REQUIRE(get(&self, base, PAGE, buffer) == 0);
    REQUIRE(resident(pid) == before);
    look_away(&self);
    mdc_failpoint_set("");
    target_end(pid);
    munmap(shared, sizeof *shared);
}

/* A file with its data in its inode has no blocks. */
static void test_no_blocks(void) {
    target_shared *shared = target_share();
    long_file = make_file(8 * PAGE, 1);
    tail_file = plain_file = make_file(PAGE + TAIL, 1);
    large_file = make_file(LARGE_PAGES * PAGE, 1);
    REQUIRE(ftruncate(files[0], 0) == 0 && ftruncate(files[0], FILE_PAGES * PAGE) == 0);
    pid_t pid = target_start(child, shared);
    WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
    uint8_t buffer[8 * PAGE];
    view self;
    mdc_failpoint_set("backing:blocks:0:1");
    look(&self, pid);
    REQUIRE(what_is(&self, shared->words[LONG]) == MDC_CONTENT_FILE);
    REQUIRE(get(&self, shared->words[LONG], sizeof buffer, buffer) == sizeof buffer);
    for (size_t i = 0; i < 8; i++) REQUIRE(all(buffer + i * PAGE, PAGE, (uint8_t)(i + 1)));
    REQUIRE(what_is(&self, shared->words[MANY]) == MDC_CONTENT_UNTOUCHED);
    look_away(&self);
    mdc_failpoint_set("");
    target_end(pid);
    close(long_file);
    close(tail_file);
    close(large_file);
    munmap(shared, sizeof *shared);
}

/* --- more runs than are kept --- */

enum { TURNS = 128, VIEWS = 8, GUARDED = 101, GUARD_INSTALL = 102 /* MADV_GUARD_INSTALL */ };
/* words[] of the target */
enum { OWNED, GUARD, UNREACHED, SPARSE };

/* Every other page is a hole. */
static int make_sparse(void) {
    uint8_t page[PAGE];
    int fd = make_file(0, 0);
    REQUIRE(ftruncate(fd, TURNS * PAGE) == 0);
    for (int i = 0; i < TURNS; i += 2) {
        memset(page, i + 1, sizeof page);
        REQUIRE(pwrite(fd, page, PAGE, (off_t)i * PAGE) == PAGE);
    }
    return fd;
}

static void with_turns(target_shared *shared) {
    shared->words[OWNED] = map(large_file, MAP_PRIVATE, TURNS);
    for (uint64_t i = 0; i < TURNS; i += 2) memset((void *)(shared->words[OWNED] + i * PAGE), 'o', PAGE);
    shared->words[GUARD] = madvise((void *)(shared->words[OWNED] + GUARDED * PAGE), PAGE, GUARD_INSTALL) == 0;
    int fd = memfd_create("hidden", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, TURNS * PAGE) != 0) _exit(4);
    shared->words[UNREACHED] = map(fd, MAP_SHARED, TURNS);
    for (uint64_t i = 0; i < TURNS; i += 2) memset((void *)(shared->words[UNREACHED] + i * PAGE), 'm', PAGE);
    for (int i = 0; i < VIEWS; i++) shared->words[SPARSE + i] = map(long_file, MAP_SHARED, TURNS);
    shared->ready = 1;
    for (;;) pause();
}

static void check_turns(view *self, const uint64_t *words, bool reached) {
    static uint8_t bytes[TURNS * PAGE];
    for (int i = 0; i < VIEWS && reached; i++) {
        REQUIRE(what_is(self, words[SPARSE + i]) == MDC_CONTENT_FILE);
        REQUIRE(get(self, words[SPARSE + i], sizeof bytes, bytes) == sizeof bytes);
        for (size_t page = 0; page < TURNS; page++)
            REQUIRE(all(bytes + page * PAGE, PAGE, page % 2 == 0 ? (uint8_t)(page + 1) : 0));
    }
    for (uint64_t i = 0; i < TURNS && reached; i++) {
        REQUIRE(what_is(self, words[OWNED] + i * PAGE) == MDC_CONTENT_DATA);
        bool guard = i == GUARDED && words[GUARD] != 0;
        REQUIRE(get(self, words[OWNED] + i * PAGE, PAGE, bytes) == (guard ? 0 : PAGE));
        REQUIRE(guard || all(bytes, PAGE, i % 2 == 0 ? 'o' : (uint8_t)(i + 1)));
    }
    for (uint64_t i = 0; i < TURNS && !reached; i++) {
        REQUIRE(what_is(self, words[UNREACHED] + i * PAGE) == MDC_CONTENT_DATA);
        REQUIRE(get(self, words[UNREACHED] + i * PAGE, PAGE, bytes) == (i % 2 == 0 ? PAGE : 0));
        REQUIRE(i % 2 != 0 || all(bytes, PAGE, 'm'));
    }
}

/* However many runs the target makes, few are kept; all is read as it is, and the target gets no page by it. */
static void test_crowded(void) {
    target_shared *shared = target_share();
    long_file = make_sparse();
    large_file = make_file(TURNS * PAGE, 1);
    pid_t pid = target_start(with_turns, shared);
    WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
    static const char *const points[] = {"backing:runs:0:4", "backing:runs:0:4,pagemap:scan:0:25",
                                         "backing:runs:0:4,backing:open:0:1"};
    for (size_t i = 0; i < 3; i++) {
        view self;
        mdc_failpoint_set(points[i]);
        look(&self, pid);
        uint64_t before = resident(pid);
        check_turns(&self, shared->words, i < 2);
        REQUIRE(resident(pid) == before);
        REQUIRE(self.backing.runs.count > 0 || i == 2);
        REQUIRE(self.backing.runs.count <= 16 + VIEWS);
        look_away(&self);
        mdc_failpoint_set("");
    }
    target_end(pid);
    close(long_file);
    close(large_file);
    munmap(shared, sizeof *shared);
}

static bool parse(const char *lock, mdc_locked_file *file) {
    char line[500];
    snprintf(line, sizeof line, "lock:\t%s\nmore", lock);
    return mdc_noopen_parse(line, file);
}

static void test_lines_of_locks(void) {
    mdc_locked_file file;
    REQUIRE(parse("1: POSIX  ADVISORY  WRITE 1234 08:1f:393 0 EOF", &file));
    REQUIRE(file.dev_major == 8 && file.dev_minor == 0x1f && file.inode == 393);
    REQUIRE(parse("22: POSIX  ADVISORY  READ  1234 fd:100:18446744073709551615 128 128", &file));
    REQUIRE(file.dev_major == 0xfd && file.dev_minor == 0x100 && file.inode == UINT64_MAX);
    static const char *const others[] = {"",
                                         "1:",
                                         "1: POSIX  ADVISORY  WRITE 1234",
                                         "1: POSIX  ADVISORY  WRITE 1234 <none>:0 0 EOF",
                                         "1: -> POSIX  ADVISORY  WRITE 1234 08:01:393 0 EOF",
                                         "1: OFDLCK ADVISORY  WRITE -1 08:01:393 0 EOF",
                                         "1: FLOCK  ADVISORY  WRITE 1234 08:01:393 0 EOF"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) REQUIRE(!parse(others[i], &file));
    char line[400];
    memset(line, '1', sizeof line);
    line[sizeof line - 1] = '\0';
    REQUIRE(!parse(line, &file));
}

/* maps may tell the inode of the lower file of overlayfs with another device than the lock has. */
static void test_locked_files(void) {
    mdc_noopen noopen;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_noopen_init(&noopen);
    REQUIRE(!mdc_noopen_has(&noopen, 8, 1, 393, true));
    const mdc_locked_file locks[2] = {{393, 8, 1}, {17, 0, 50}};
    REQUIRE_OK(mdc_vec_push(&noopen.locked, locks, 2, NULL, &err), err);
    REQUIRE(mdc_noopen_has(&noopen, 8, 1, 393, false) && mdc_noopen_has(&noopen, 0, 50, 17, false));
    REQUIRE(!mdc_noopen_has(&noopen, 8, 2, 393, true) && !mdc_noopen_has(&noopen, 8, 1, 394, true));
    REQUIRE(mdc_noopen_has(&noopen, 8, 1, 17, true) && !mdc_noopen_has(&noopen, 8, 1, 17, false));
    noopen.all = true;
    REQUIRE(mdc_noopen_has(&noopen, 1, 2, 3, false));
    mdc_noopen_fini(&noopen);
}

int main(void) {
    for (int i = 0; i < FILES; i++) files[i] = make_file(FILE_PAGES * PAGE, (uint8_t)(10 * i));
    target_shared *shared = target_share();
    /* With PAGEMAP_SCAN, and with the interface of before Linux 6.7 (ENOTTY). */
    static const char *const kernels[] = {"", "pagemap:scan:0:25"};
    for (size_t i = 0; i < 2; i++) {
        long_file = make_file(8 * PAGE, 1);
        tail_file = make_file(PAGE + TAIL, 1);
        plain_file = make_file(PAGE + TAIL, 1);
        large_file = make_file(LARGE_PAGES * PAGE, 1);
        shared->ready = 0;
        pid_t pid = target_start(child, shared);
        WAIT_FOR(shared->ready == 1 && state_of(pid, pid) == 'S');
        mdc_failpoint_set(kernels[i]);
        view self;
        look(&self, pid);
        uint64_t before = resident(pid);
        test_ends_of_files(&self, shared->words);
        test_owned_pages(&self, shared->words);
        test_parts(&self, shared->words);
        test_many_files(&self, shared->words);
        REQUIRE(resident(pid) == before);
        test_truncated_meanwhile(&self, shared->words);
        look_away(&self);
        mdc_failpoint_set("");
        target_end(pid);
        close(long_file);
        close(tail_file);
        close(plain_file);
        close(large_file);
    }
    test_no_blocks();
    test_crowded();
    test_lines_of_locks();
    test_locked_files();
    for (int i = 0; i < FILES; i++) close(files[i]);
    munmap(shared, sizeof *shared);
    test_unknown();
    return 0;
}
