/* Mapped files that are read when the target runs again: what proves that they are still what they were at the stop,
 * and a dump of a process that goes on meanwhile. */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "api/minidump_protocol.h"
#include "base/failpoint.h"
#include "engine/engine.h"
#include "linux/latefiles.h"
#include "linux/live.h"

#include "linux_target.h"

enum { PAGE = 4096, PAGES = 64, TAIL = 100, OWN_PAGE = 30 };
#define BASE UINT64_C(0x7f0000000000)
#define SIZE ((uint64_t)PAGES * PAGE)

/* By what happens to them; all are old when the tests begin. */
enum {
    PLAIN,
    WRITTEN,
    MAPPED,
    CUT,
    REGROWN,
    RESTORED,
    OPENED,
    READ,
    WATCHED,
    RACY,
    HELD,
    HELD_MAPPING,
    CHANGES,
    ON_TMPFS,
    FILES
};
static char names[FILES][64];
static int files[FILES]; /* for reading */

static uint8_t byte_of(int file, uint64_t offset) { return (uint8_t)(offset / PAGE * 3 + (uint64_t)file * 16 + 1); }

static void make_file(int file, const char *folder) {
    uint8_t page[PAGE];
    snprintf(names[file], sizeof names[file], "%s/late_%d_%d", folder, file, (int)getpid());
    int fd = open(names[file], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    files[file] = -1;
    if (fd < 0 && file == ON_TMPFS) return;
    REQUIRE(fd >= 0);
    for (uint64_t at = 0; at < SIZE; at += PAGE) {
        memset(page, byte_of(file, at), sizeof page);
        REQUIRE(pwrite(fd, page, PAGE, (off_t)at) == PAGE);
    }
    REQUIRE(ftruncate(fd, (off_t)(SIZE - PAGE + TAIL)) == 0);
    close(fd);
    files[file] = open(names[file], O_RDONLY | O_CLOEXEC);
    REQUIRE(files[file] >= 0);
    if (file == ON_TMPFS) unlink(names[file]);
}

static int writer(int file) {
    int fd = open(names[file], O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
}

/* Puts what is there already once more, so that nothing but times can tell. */
static void write_again(int file) {
    int fd = writer(file);
    uint8_t byte = byte_of(file, 0);
    REQUIRE(pwrite(fd, &byte, 1, 0) == 1);
    close(fd);
}

static volatile uint8_t *map_writable(int file) {
    int fd = writer(file);
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(at != MAP_FAILED);
    close(fd);
    return at;
}

static void write_through_mapping(int file) {
    volatile uint8_t *at = map_writable(file);
    at[9] = byte_of(file, 9);
    munmap((void *)(uintptr_t)at, SIZE);
}

static void cut(int file) { REQUIRE(truncate(names[file], PAGE) == 0); }

static void cut_and_grow(int file) {
    struct stat facts;
    REQUIRE(stat(names[file], &facts) == 0 && truncate(names[file], PAGE) == 0 &&
            truncate(names[file], facts.st_size) == 0);
}

static void write_and_restore_time(int file) {
    struct stat facts;
    REQUIRE(stat(names[file], &facts) == 0);
    const struct timespec times[2] = {facts.st_atim, facts.st_mtim};
    write_again(file);
    REQUIRE(utimensat(AT_FDCWD, names[file], times, 0) == 0);
}

static void open_and_close(int file) { close(writer(file)); }

static void read_some(int file) {
    uint8_t byte;
    int fd = open(names[file], O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0 && pread(fd, &byte, 1, 0) == 1);
    close(fd);
}

static void nothing(int file) { (void)file; }

static mdc_region region_of(int file) {
    return (mdc_region){.base = BASE, .size = SIZE, .inode = (uint64_t)file + 1, .dev_major = 8};
}

static uint64_t late_end(mdc_latefiles *late, int file) {
    mdc_region region = region_of(file);
    return mdc_latefiles_end(late, &region, files[file]);
}

static int32_t check(mdc_latefiles *late, int file) {
    mdc_region region = region_of(file);
    return mdc_latefiles_check(late, &region);
}

static size_t read_page(mdc_latefiles *late, int file, uint64_t page, uint8_t *bytes) {
    mdc_region region = region_of(file);
    int32_t os_errno;
    return mdc_latefiles_read(late, &region, BASE + page * PAGE, PAGE, bytes, &os_errno);
}

static bool is_page_of(int file, uint64_t page, const uint8_t *bytes) {
    for (size_t i = 0; i < PAGE; i++)
        if (bytes[i] != byte_of(file, page * PAGE)) return false;
    return true;
}

static void test_what_changes_a_file(void) {
    static const struct {
        int file;
        void (*meanwhile)(int file);
        int32_t verdict;
    } cases[] = {{PLAIN, nothing, 0},
                 {OPENED, open_and_close, 0},
                 {READ, read_some, 0},
                 {WRITTEN, write_again, ESTALE},
                 {MAPPED, write_through_mapping, ESTALE},
                 {CUT, cut, ESTALE},
                 {REGROWN, cut_and_grow, ESTALE},
                 {RESTORED, write_and_restore_time, ESTALE}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdc_latefiles late;
        uint8_t bytes[PAGE];
        int file = cases[i].file;
        mdc_latefiles_init(&late);
        REQUIRE(late_end(&late, file) == BASE + SIZE - PAGE); /* but for its last page, which it does not fill */
        REQUIRE(read_page(&late, file, 3, bytes) == PAGE && is_page_of(file, 3, bytes));
        REQUIRE(check(&late, file) == 0);
        cases[i].meanwhile(file);
        REQUIRE(read_page(&late, file, 3, bytes) == (cases[i].verdict == 0 ? PAGE : 0));
        REQUIRE(check(&late, file) == cases[i].verdict && check(&late, file) == cases[i].verdict);
        mdc_latefiles_fini(&late);
    }
}

/* One that has not written yet may be about to: by a truncation that has begun, times are changed last. */
static void test_writer_at_the_end(void) {
    mdc_latefiles late;
    mdc_latefiles_init(&late);
    REQUIRE(late_end(&late, PLAIN) > BASE && check(&late, PLAIN) == 0);
    int fd = writer(PLAIN);
    REQUIRE(check(&late, PLAIN) == ESTALE);
    close(fd);
    REQUIRE(check(&late, PLAIN) == ESTALE);
    mdc_latefiles_fini(&late);
}

static void refused(int file) {
    mdc_latefiles late;
    mdc_latefiles_init(&late);
    REQUIRE(late_end(&late, file) == BASE && late_end(&late, file) == BASE);
    REQUIRE(check(&late, file) != 0);
    mdc_latefiles_fini(&late);
}

static void test_what_is_not_read_late(void) {
    int fd = writer(HELD);
    refused(HELD);
    close(fd);
    volatile uint8_t *at = map_writable(HELD_MAPPING);
    refused(HELD_MAPPING);
    munmap((void *)(uintptr_t)at, SIZE);
    write_again(RACY);
    refused(RACY);
    mdc_failpoint_set("late:lease:0:13");
    refused(PLAIN);
    mdc_failpoint_set("");
    if (files[ON_TMPFS] >= 0) refused(ON_TMPFS);
}

static int open_descriptors(void) {
    int count = 0;
    DIR *list = opendir("/proc/self/fd");
    while (readdir(list) != NULL) count++;
    closedir(list);
    return count;
}

static void test_descriptors(void) {
    mdc_latefiles late;
    int before = open_descriptors();
    mdc_latefiles_init(&late);
    for (int i = 0; i < 3 * MDC_LATE_FILES; i++) {
        mdc_region region = region_of(i);
        REQUIRE((mdc_latefiles_end(&late, &region, files[PLAIN]) > BASE) == (i < MDC_LATE_FILES));
    }
    REQUIRE(open_descriptors() == before + MDC_LATE_FILES);
    mdc_latefiles_fini(&late);
    REQUIRE(open_descriptors() == before);

    struct rlimit limit, low;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    low.rlim_cur = (rlim_t)before + 4;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
    refused(PLAIN);
    REQUIRE(open_descriptors() == before && setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Others who open the file for writing while the lease is ours have us signalled, by default with one that kills. */
static void test_signal_of_the_lease(void) {
    target_shared *shared = target_share();
    fflush(stdout);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            int fd = open(names[WATCHED], O_RDWR | O_CLOEXEC);
            if (fd >= 0) close(fd);
            atomic_fetch_add(&shared->beat, 1);
        }
    }
    WAIT_FOR(atomic_load(&shared->beat) > 100);
    int given = 0, refusals = 0;
    for (int i = 0; i < 200000 && (given < 2000 || refusals < 20); i++) {
        mdc_latefiles late;
        mdc_latefiles_init(&late);
        if (late_end(&late, WATCHED) > BASE)
            given++;
        else
            refusals++;
        mdc_latefiles_fini(&late);
    }
    REQUIRE(given >= 2000);
    target_end(pid);
    munmap(shared, sizeof *shared);
}

/* --- a dump --- */

static const int dumped[] = {PLAIN, OPENED, CHANGES, RACY};
enum { DUMPED = sizeof dumped / sizeof dumped[0] };

static void with_mappings(target_shared *shared) {
    for (int i = 0; i < DUMPED; i++) {
        uint8_t *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, files[dumped[i]], 0);
        if (at == MAP_FAILED) _exit(4);
        at[OWN_PAGE * PAGE] = 0xAB;
        shared->words[i] = (uintptr_t)at;
    }
    prctl(PR_SET_NAME, "late");
    beat_forever(shared);
}

static target_shared *target;
static const mdc_source_ops *inner;
static bool resumed;

static mdc_status resume_and_go_on(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    mdc_status status = inner->resume(source, stop_time_ns, err);
    if (!resumed) {
        REQUIRE(status == MDC_OK && beats(target));
        write_again(CHANGES);
    }
    resumed = true;
    return status;
}

static mdc_status read_while_stopped(mdc_source *source, const mdc_span *spans, size_t count, uint8_t *buffer,
                                     size_t *done, int32_t *os_errno, mdc_error *err) {
    REQUIRE(!resumed);
    return inner->read(source, spans, count, buffer, done, os_errno, err);
}

/* Keeps the mappings of the test alone. */
static int32_t MDC_CALL keep_files(void *param, MINIDUMP_CALLBACK_INPUT *in, MINIDUMP_CALLBACK_OUTPUT *out) {
    (void)param;
    if (in->CallbackType == MDC_CB_READ_MEMORY_FAILURE) out->Status = MDC_S_OK;
    if (in->CallbackType != MDC_CB_INCLUDE_VM_REGION) return in->CallbackType <= 4 || in->CallbackType == 14;
    bool ours = false;
    for (int i = 0; i < DUMPED; i++) ours = ours || out->Region.VmRegion.BaseAddress == target->words[i];
    out->Region.Continue = 1;
    if (!ours) out->Region.VmRegion.RegionSize = 0;
    return 1;
}

/* The position of the byte of an address in the dump, 0 if none. */
static uint64_t place_of(const mdc_report *report, uint64_t address, bool *late) {
    for (size_t i = 0; i < report->extent_count; i++) {
        const mdc_extent *extent = &report->extents[i];
        if (address < extent->address || address - extent->address >= extent->size) continue;
        *late = (extent->flags & MDC_EXTENT_LATE) != 0;
        return extent->file_offset + (address - extent->address);
    }
    return 0;
}

static void test_dump_of_a_process_that_goes_on(void) {
    static mdc_source_ops ops;
    target = target_share();
    pid_t pid = target_start(with_mappings, target);
    WAIT_FOR(atomic_load(&target->ready) == 1);
    for (int late = 1; late >= 0; late--) {
        mdc_dump_control control;
        mdc_error err;
        mdc_error_clear(&err);
        mdc_control_init(&control, 0);
        const mdc_live_options options = {.pid = pid, .pidfd = -1};
        mdc_source *source = mdc_live_new(&options, &err);
        REQUIRE(source != NULL);
        inner = source->ops;
        ops = *inner;
        ops.read = read_while_stopped;
        ops.resume = resume_and_go_on;
        source->ops = &ops;
        resumed = false;
        mdc_sink *sink = mdc_sink_memory_new(UINT64_C(1) << 32, &err);
        const mdc_engine_options engine = {
            .dump_type = MDC_TYPE_WITH_FULL_MEMORY, .callback = {keep_files, NULL}, .late_files = (uint32_t)late};
        mdc_dump *dump = mdc_dump_new(&engine, source, sink, &control, &err);
        REQUIRE(dump != NULL);
        write_again(RACY);
        REQUIRE_OK(mdc_dump_run(dump, &err), err);
        const mdc_report *report = mdc_dump_report(dump);
        size_t size;
        const uint8_t *bytes = mdc_sink_memory_data(sink, &size);
        uint64_t gaps = 0;
        REQUIRE(resumed && size == report->file_bytes && memcmp(bytes, "MDMP", 4) == 0);
        for (size_t i = 0; i < report->gap_count; i++) {
            REQUIRE(report->gaps[i].reason == MDC_GAP_READ_FAILED && report->gaps[i].os_errno == ESTALE);
            gaps += report->gaps[i].size;
        }
        /* All but the page of its own, and the last one. */
        REQUIRE(gaps == (late ? SIZE - 2 * PAGE : 0) && report->late_bytes == (late ? 3 * (SIZE - 2 * PAGE) : 0));
        REQUIRE(report->read_failed_gaps == (late ? 2 : 0));
        for (int i = 0; i < DUMPED; i++)
            for (uint64_t page = 0; page < PAGES; page++) {
                int file = dumped[i];
                bool is_late, own = page == OWN_PAGE, last = page == PAGES - 1;
                uint64_t place = place_of(report, target->words[i] + page * PAGE, &is_late);
                REQUIRE(place != 0 && is_late == (late && file != RACY && !own && !last));
                uint8_t expected = own ? 0xAB : byte_of(file, page * PAGE);
                if (is_late && file == CHANGES) expected = 0;
                REQUIRE(bytes[place] == expected &&
                        bytes[place + TAIL - 1] == (own ? byte_of(file, page * PAGE) : expected));
            }
        mdc_dump_free(dump);
        sink->ops->free(sink);
        source->ops->free(source);
        REQUIRE(beats(target));
    }
    target_end(pid);
    munmap(target, sizeof *target);
}

static bool tells_changes(void) {
    struct statfs facts;
    REQUIRE(statfs(".", &facts) == 0);
    uint32_t type = (uint32_t)facts.f_type;
    return type == 0xEF53 || type == 0x58465342 || type == 0x9123683E || type == 0xF2F52010;
}

static void wait_until_old(void) {
    struct stat facts;
    struct timespec now;
    REQUIRE(stat(names[CHANGES], &facts) == 0);
    do {
        sleep_us(50000);
        clock_gettime(CLOCK_REALTIME, &now);
    } while (now.tv_sec - facts.st_ctim.tv_sec <= 4);
}

int main(void) {
    if (!tells_changes()) {
        printf("no ext4, xfs, btrfs or f2fs here: no file is read late\n");
        return 77;
    }
    for (int i = 0; i < FILES; i++) make_file(i, i == ON_TMPFS ? "/dev/shm" : ".");
    wait_until_old();
    test_dump_of_a_process_that_goes_on();
    test_what_is_not_read_late();
    test_writer_at_the_end();
    test_descriptors();
    test_what_changes_a_file();
    test_signal_of_the_lease();
    for (int i = 0; i < FILES; i++) {
        close(files[i]);
        unlink(names[i]);
    }
    return 0;
}
