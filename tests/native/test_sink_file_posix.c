/* Regular files as sinks: position, holes, patches, reuse, length, full disk, size limit, flush, faults that stay. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/sink/sink.h"
#include "check.h"

static mdc_dump_control control;

static int temporary(int flags) {
    char path[] = "/tmp/mdc_sink_XXXXXX";
    int fd = mkostemp(path, flags);
    if (fd < 0) exit(77);
    unlink(path);
    return fd;
}

static mdc_sink *open_sink(int fd) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_fd_new(fd, &control, &err);
    if (sink == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return sink;
}

static void test_position_holes_patch(void) {
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t block[8192], back[8192];
    memset(block, 0xA5, sizeof block);
    /* A reused file: head to keep, and an old content that must not show through the hole nor stand behind the end. */
    for (int i = 0; i < 64; i++) CHECK(write(fd, block, sizeof block) == (ssize_t)sizeof block);
    CHECK(lseek(fd, 4096, SEEK_SET) == 4096);
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->patchable && sink->sparse && sink->position == 0);
    CHECK(sink->ops->begin(sink, 3 * 8192, 2 * 8192, &err) == MDC_OK);
    memset(block, 0x11, sizeof block);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_OK);
    CHECK(sink->ops->hole(sink, 1 << 20, &err) == MDC_OK);
    memset(block, 0x22, sizeof block);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_OK);
    CHECK(sink->position == 2 * 8192 + (1 << 20));
    CHECK(sink->ops->patch(sink, 8190, "abcd", 4, &err) == MDC_OK); /* over the edge of the hole */
    CHECK(sink->ops->hole(sink, 5, &err) == MDC_OK);                /* a hole at the end counts */
    CHECK(lseek(fd, 0, SEEK_CUR) == 4096);                          /* not moved half-way */
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK && err.code == MDC_OK);
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && about.st_size == 4096 + 2 * 8192 + (1 << 20) + 5);
    CHECK(about.st_blocks * 512 < 1 << 20);
    CHECK(lseek(fd, 0, SEEK_CUR) == about.st_size);
    CHECK(pread(fd, back, 4096, 0) == 4096 && back[0] == 0xA5 && back[4095] == 0xA5);
    CHECK(pread(fd, back, 8192, 4096) == 8192 && back[0] == 0x11 && memcmp(back + 8190, "ab", 2) == 0);
    CHECK(pread(fd, back, 8192, 4096 + 8192) == 8192 && memcmp(back, "cd", 2) == 0);
    for (int i = 2; i < 8192; i++) CHECK(back[i] == 0);
    CHECK(pread(fd, back, 8192, 4096 + 8192 + (1 << 20)) == 8192 && back[0] == 0x22 && back[8191] == 0x22);
    /* Finished: takes no more, and says so for ever. */
    CHECK(sink->ops->write(sink, block, 1, &err) == MDC_ERR_INVALID && err.code == MDC_ERR_INVALID);
    mdc_error_clear(&err);
    CHECK(sink->ops->hole(sink, 1, &err) == MDC_ERR_INVALID);
    sink->ops->free(sink);
    CHECK(fcntl(fd, F_GETFD) >= 0); /* not closed */
    close(fd);
}

/* A dump that is flushed goes to the disk past the page cache where the file system can, and holds the same: here from
 * a position on, with a hole, a page written again and a piece of another. */
static void flushed(int fd) {
    enum { BLOCK = 1 << 20, FRONT = 4096 };
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t *block = malloc(BLOCK), *back = malloc(BLOCK);
    CHECK(block != NULL && back != NULL && write(fd, "before", 6) == 6 && lseek(fd, FRONT, SEEK_SET) == FRONT);
    mdc_sink *sink = open_sink(fd);
    sink->flushes = true;
    CHECK(sink->ops->begin(sink, 4 * BLOCK, 3 * BLOCK, &err) == MDC_OK);
    for (int i = 0; i < 4; i++) {
        for (size_t at = 0; at < BLOCK; at++) block[at] = (uint8_t)(at * 7 + (size_t)i + at / 4096);
        CHECK((i == 2 ? sink->ops->hole(sink, BLOCK, &err) : sink->ops->write(sink, block, BLOCK, &err)) == MDC_OK);
    }
    CHECK(sink->ops->patch(sink, 2 * BLOCK + 8192, block, 4096, &err) == MDC_OK); /* into the hole */
    CHECK(sink->ops->patch(sink, 10, "signature", 9, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK);
    sink->ops->free(sink);
    CHECK(lseek(fd, 0, SEEK_CUR) == FRONT + 4 * BLOCK);
    CHECK(pread(fd, back, 6, 0) == 6 && memcmp(back, "before", 6) == 0);
    for (int i = 0; i < 4; i++) {
        for (size_t at = 0; at < BLOCK; at++) block[at] = (uint8_t)(at * 7 + (size_t)i + at / 4096);
        if (i == 0) memcpy(block + 10, "signature", 9);
        if (i == 2) memset(block, 0, BLOCK);
        for (size_t at = 0; i == 2 && at < 4096; at++) block[8192 + at] = (uint8_t)(at * 7 + 3);
        CHECK(pread(fd, back, BLOCK, FRONT + (off_t)i * BLOCK) == BLOCK && memcmp(block, back, BLOCK) == 0);
    }
    free(block);
    free(back);
    close(fd);
}

static void test_what_is_flushed(void) {
    flushed(temporary(0));
    int fd = memfd_create("dump", MFD_CLOEXEC); /* has no disk to go to */
    if (fd >= 0) flushed(fd);
}

static void test_shorter_than_before(void) {
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t block[4096] = {1};
    for (int i = 0; i < 16; i++) CHECK(write(fd, block, sizeof block) == (ssize_t)sizeof block);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->ops->begin(sink, 8 << 20, 8 << 20, &err) == MDC_OK); /* planned more than comes: reserved and cut */
    CHECK(sink->ops->write(sink, block, 100, &err) == MDC_OK);
    CHECK(sink->ops->patch(sink, 99, "xy", 2, &err) == MDC_ERR_INVALID); /* one byte not there yet */
    sink->ops->free(sink);
    mdc_error_clear(&err);
    sink = open_sink(fd);
    CHECK(sink->ops->begin(sink, 8 << 20, 8 << 20, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, 100, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, false, &err) == MDC_OK);
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && about.st_size == 100 && about.st_blocks * 512 <= 65536);
    sink->ops->free(sink);
    close(fd);
}

/* What was reserved is no hole: it is given back where one comes, and reserved again where none came for a while. */
static void test_holes_in_what_was_reserved(void) {
    enum { MEGABYTE = 1 << 20, PIECES = 24 };
    static uint8_t block[MEGABYTE];
    memset(block, 7, sizeof block);
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->ops->begin(sink, PIECES * MEGABYTE, PIECES * MEGABYTE, &err) == MDC_OK);
    uint64_t written = 0;
    for (int i = 0; i < PIECES; i++) {
        bool hole = i == 1 || i == 2 || i == 9 || i > 20; /* after the second one, more than it waits for */
        written += hole ? 0 : MEGABYTE;
        CHECK((hole ? sink->ops->hole(sink, MEGABYTE, &err) : sink->ops->write(sink, block, MEGABYTE, &err)) == MDC_OK);
    }
    CHECK(sink->ops->finish(sink, false, &err) == MDC_OK && fsync(fd) == 0);
    sink->ops->free(sink);
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && about.st_size == PIECES * MEGABYTE);
    CHECK((uint64_t)about.st_blocks * 512 >= written && (uint64_t)about.st_blocks * 512 <= written + 64 * 1024);
    for (int i = 0; i < PIECES; i++) {
        uint8_t byte = 1;
        CHECK(pread(fd, &byte, 1, (off_t)i * MEGABYTE + 4095) == 1);
        CHECK(byte == (i == 1 || i == 2 || i == 9 || i > 20 ? 0 : 7));
    }
    close(fd);
}

static void test_refused_descriptors(void) {
    mdc_error err;
    mdc_error_clear(&err);
    int fd = open("/dev/null", O_RDONLY);
    CHECK(mdc_sink_fd_new(fd, &control, &err) == NULL && err.code == MDC_ERR_SINK && err.os_errno == EBADF);
    close(fd);
    mdc_error_clear(&err);
    CHECK(mdc_sink_fd_new(fd, &control, &err) == NULL && err.code == MDC_ERR_SINK && err.os_errno == EBADF);
    int ends[2];
    CHECK(pipe(ends) == 0);
    mdc_error_clear(&err);
    CHECK(mdc_sink_fd_new(ends[0], &control, &err) == NULL && err.os_errno == EBADF); /* the wrong end */
    close(ends[0]);
    close(ends[1]);
    mdc_error_clear(&err);
    int direct = temporary(O_DIRECT);
    CHECK(mdc_sink_fd_new(direct, &control, &err) == NULL && err.os_errno == EINVAL);
    close(direct);
}

/* A file size limit raises SIGXFSZ, whose default ends the process. */
static void test_size_limit(void) {
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    struct rlimit old, low;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    low = old;
    low.rlim_cur = 10000;
    CHECK(setrlimit(RLIMIT_FSIZE, &low) == 0);
    uint8_t block[8192] = {1};
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->ops->begin(sink, 8192, 8192, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_ERR_SINK && err.os_errno == EFBIG);
    sigset_t pending;
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
    /* The first fault stays, word for word. */
    mdc_error again;
    mdc_error_clear(&again);
    CHECK(sink->ops->patch(sink, 0, block, 1, &again) == MDC_ERR_SINK && strcmp(again.message, err.message) == 0);
    mdc_error_clear(&again);
    CHECK(sink->ops->finish(sink, false, &again) == MDC_ERR_SINK && again.os_errno == EFBIG);
    sink->ops->free(sink);
    mdc_error_clear(&err);
    sink = open_sink(fd); /* the reservation meets the limit before a byte is written */
    CHECK(sink->ops->begin(sink, 1 << 20, 1 << 20, &err) == MDC_OK || err.os_errno == EFBIG);
    sink->ops->free(sink);
    mdc_error_clear(&err);
    sink = open_sink(fd); /* a length made of a hole meets it at the end */
    CHECK(sink->ops->hole(sink, 1 << 20, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, false, &err) == MDC_ERR_SINK && err.os_errno == EFBIG &&
          err.phase == MDC_PHASE_FINISH);
    sink->ops->free(sink);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    close(fd);
}

static void test_lengths_no_file_has(void) {
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(lseek(fd, 4096, SEEK_SET) == 4096);
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->ops->hole(sink, INT64_MAX - 100, &err) == MDC_ERR_SINK && err.os_errno == EFBIG);
    sink->ops->free(sink);
    mdc_error_clear(&err);
    sink = open_sink(fd);
    CHECK(sink->ops->hole(sink, UINT64_MAX, &err) == MDC_ERR_SINK && err.os_errno == EFBIG);
    sink->ops->free(sink);
    close(fd);
}

/* A file system of 1 MiB, where this machine lets us mount one. */
static void test_full_disk(void) {
    char path[] = "/tmp/mdc_mount_XXXXXX";
    if (mkdtemp(path) == NULL || mount("mdc", path, "tmpfs", 0, "size=1m") != 0) {
        fprintf(stderr, "full disk: not tried, mount: %s\n", strerror(errno));
        return;
    }
    char file[64];
    snprintf(file, sizeof file, "%s/dump", path);
    int fd = open(file, O_RDWR | O_CREAT | O_EXCL, 0600);
    mdc_error err;
    mdc_error_clear(&err);
    static uint8_t block[1 << 19] = {1};
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->ops->begin(sink, 4 << 20, 4 << 20, &err) == MDC_OK); /* never reserved on tmpfs */
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, sizeof block, &err) == MDC_ERR_SINK && err.os_errno == ENOSPC);
    sink->ops->free(sink);
    close(fd);
    CHECK(umount(path) == 0 && rmdir(path) == 0);
}

static void test_reservation_that_cannot_be(void) {
    int fd = temporary(0);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = open_sink(fd);
    /* 8 EiB: ext4 and xfs say EFBIG or ENOSPC; a file system that does not reserve says nothing. */
    mdc_status status = sink->ops->begin(sink, INT64_MAX, INT64_MAX, &err);
    CHECK(status == MDC_OK || (status == MDC_ERR_SINK && (err.os_errno == EFBIG || err.os_errno == ENOSPC)));
    struct stat about;
    CHECK(fstat(fd, &about) == 0 && about.st_size == 0);
    sink->ops->free(sink);
    /* More than the disk has: known at once, without taking what is left of it from the others. */
    struct statvfs before, after;
    CHECK(fstatvfs(fd, &before) == 0);
    uint64_t wanted = ((uint64_t)before.f_bfree * before.f_frsize + (1 << 20)) * 2;
    mdc_error_clear(&err);
    sink = open_sink(fd);
    status = sink->ops->begin(sink, wanted, wanted, &err);
    struct statfs fs;
    CHECK(fstatfs(fd, &fs) == 0);
    if (fs.f_type == 0xEF53) /* ext4: its figures are to be trusted */
        CHECK(status == MDC_ERR_SINK && err.os_errno == ENOSPC);
    else
        CHECK(status == MDC_OK || (status == MDC_ERR_SINK && err.os_errno == ENOSPC));
    CHECK(fstat(fd, &about) == 0 && about.st_size == 0 && about.st_blocks == 0);
    CHECK(fstatvfs(fd, &after) == 0 && after.f_bfree > before.f_bfree / 2);
    sink->ops->free(sink);
    close(fd);
}

static void test_sealed_memory_file(void) {
    int fd = memfd_create("mdc", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd < 0) return;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = open_sink(fd);
    CHECK(sink->patchable && sink->ops->write(sink, "MDMP", 4, &err) == MDC_OK);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK(sink->ops->write(sink, "MDMP", 4, &err) == MDC_ERR_SINK && err.os_errno == EPERM);
    sink->ops->free(sink);
    close(fd);
}

#ifdef MDC_FAILPOINTS
static void test_fail_points(void) {
    static const struct {
        const char *spec;
        int step; /* which of write, write, patch, finish fails */
    } cases[] = {{"write:chunk:1:28", 0}, {"write:chunk:2:28", 1}, {"write:patch:1:5", 2}, {"sink:finish:1:5", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = temporary(0);
        mdc_error err;
        mdc_error_clear(&err);
        mdc_sink *sink = open_sink(fd);
        mdc_failpoint_set(cases[i].spec);
        CHECK((sink->ops->write(sink, "abcd", 4, &err) == MDC_OK) == (cases[i].step > 0));
        CHECK((sink->ops->write(sink, "efgh", 4, &err) == MDC_OK) == (cases[i].step > 1));
        CHECK((sink->ops->patch(sink, 0, "x", 1, &err) == MDC_OK) == (cases[i].step > 2));
        CHECK(sink->ops->finish(sink, true, &err) == MDC_ERR_SINK);
        CHECK(err.os_errno == (cases[i].step < 2 ? ENOSPC : EIO));
        mdc_failpoint_set("");
        sink->ops->free(sink);
        close(fd);
    }
}
#endif

int main(void) {
    mdc_control_init(&control, 0);
    test_position_holes_patch();
    test_what_is_flushed();
    test_shorter_than_before();
    test_holes_in_what_was_reserved();
    test_refused_descriptors();
    test_size_limit();
    test_lengths_no_file_has();
    test_full_disk();
    test_reservation_that_cannot_be();
    test_sealed_memory_file();
#ifdef MDC_FAILPOINTS
    test_fail_points();
#endif
    return failures != 0;
}
