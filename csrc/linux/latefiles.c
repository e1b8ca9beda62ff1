/* Mapped files that are read when the target runs again (see latefiles.h). */
#include "latefiles.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"

enum { REMEMBERED = 2 * MDC_LATE_FILES }; /* of those that are held, and those that are not */
static const int64_t racy = 3;            /* seconds */

void mdc_latefiles_init(mdc_latefiles *late) {
    memset(late, 0, sizeof *late);
    mdc_vec_init(&late->files, sizeof(mdc_late_file));
}

void mdc_latefiles_fini(mdc_latefiles *late) {
    for (size_t i = 0; i < late->files.count; i++) {
        int fd = mdc_vec_at(&late->files, const mdc_late_file, i).fd;
        if (fd >= 0) close(fd);
    }
    mdc_vec_fini(&late->files);
}

/* Those listed in latefiles.h; include/uapi/linux/magic.h. */
static bool tells_changes(int fd) {
    static const uint32_t types[] = {
        0x0000EF53, /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x9123683E, /* btrfs */
        0xF2F52010  /* f2fs */
    };
    struct statfs facts;
    if (fstatfs(fd, &facts) != 0) return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((uint32_t)facts.f_type == types[i]) return true;
    return false;
}

/* Is the file not open for writing anywhere? Refused where it is not ours (EACCES), and where the file system has no
 * leases. The signal for an open in between goes to this thread alone, and is one that is ignored unless the
 * process handles it; the default would be SIGIO, which kills. */
static bool has_no_writer(int fd) {
    struct f_owner_ex owner = {F_OWNER_TID, (pid_t)syscall(SYS_gettid)};
    if (MDC_FAILPOINT("late:lease") != 0) return false;
    if (fcntl(fd, F_SETOWN_EX, &owner) != 0 || fcntl(fd, F_SETSIG, SIGURG) != 0) return false;
    return fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

static bool same_time(struct timespec left, struct timespec right) {
    return left.tv_sec == right.tv_sec && left.tv_nsec == right.tv_nsec;
}

static bool is_racy(struct timespec changed) {
    struct timespec now;
    return clock_gettime(CLOCK_REALTIME, &now) != 0 || changed.tv_sec > now.tv_sec - racy;
}

static bool as_it_was(const mdc_late_file *file) {
    struct stat facts;
    return fstat(file->fd, &facts) == 0 && (uint64_t)facts.st_size == file->size &&
           same_time(facts.st_mtim, file->modified) && same_time(facts.st_ctim, file->status_changed);
}

/* A descriptor of our own, unless our process has not many more to give. */
static int duplicate(int fd) {
    struct rlimit limit;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own >= 0 && (getrlimit(RLIMIT_NOFILE, &limit) != 0 || (rlim_t)own >= limit.rlim_cur / 2)) {
        close(own);
        own = -1;
    }
    return own;
}

/* The steps (1) to (3), in this order. */
static void take(mdc_latefiles *late, mdc_late_file *file, int fd) {
    struct stat facts;
    file->fd = -1;
    if (late->count >= MDC_LATE_FILES || !tells_changes(fd) || !has_no_writer(fd) || fstat(fd, &facts) != 0 ||
        facts.st_size < 0 || is_racy(facts.st_ctim) || is_racy(facts.st_mtim))
        return;
    file->size = (uint64_t)facts.st_size;
    file->modified = facts.st_mtim;
    file->status_changed = facts.st_ctim;
    file->fd = duplicate(fd);
    if (file->fd >= 0) late->count++;
}

static mdc_late_file *find(mdc_latefiles *late, const mdc_region *region) {
    mdc_late_file *files = late->files.data;
    for (size_t n = 0, i = late->last; n < late->files.count; n++, i = (i + 1) % late->files.count) {
        if (files[i].inode != region->inode || files[i].dev_major != region->dev_major ||
            files[i].dev_minor != region->dev_minor || files[i].name_id != region->name_id)
            continue;
        late->last = i;
        return &files[i];
    }
    return NULL;
}

uint64_t mdc_latefiles_end(mdc_latefiles *late, const mdc_region *region, int fd) {
    mdc_late_file *file = find(late, region);
    if (file == NULL) {
        mdc_late_file made = {.inode = region->inode,
                              .dev_major = region->dev_major,
                              .dev_minor = region->dev_minor,
                              .name_id = region->name_id};
        mdc_error ignored; /* without memory it is read under the stop */
        mdc_error_clear(&ignored);
        if (late->files.count >= REMEMBERED) return region->base;
        take(late, &made, fd);
        if (mdc_vec_push(&late->files, &made, 1, &late->last, &ignored) != MDC_OK) {
            if (made.fd >= 0) close(made.fd);
            return region->base;
        }
        file = &mdc_vec_at(&late->files, mdc_late_file, late->last);
    }
    /* The rest of its last page is the page's, not the file's. */
    uint64_t pages = mdc_page_down(file->size);
    if (file->fd < 0 || pages <= region->file_offset) return region->base;
    return region->base + mdc_min_u64(region->size, pages - region->file_offset);
}

size_t mdc_latefiles_read(mdc_latefiles *late, const mdc_region *region, uint64_t address, size_t size, uint8_t *to,
                          int32_t *os_errno) {
    const mdc_late_file *file = find(late, region);
    size_t done = 0;
    *os_errno = EBADF;
    if (file == NULL || file->fd < 0) return 0;
    *os_errno = 0;
    while (done < size && *os_errno == 0) {
        uint64_t offset = region->file_offset + (address - region->base) + done;
        ssize_t got = pread(file->fd, to + done, size - done, (off_t)offset);
        if (got == 0) break;
        if (got < 0 && errno != EINTR) *os_errno = errno;
        if (got > 0) done += (size_t)got;
    }
    /* What is read of a file that is another one is not worth to be kept, until check says so. */
    return as_it_was(file) ? done : 0;
}

/* The steps (5) and (6). */
int32_t mdc_latefiles_check(mdc_latefiles *late, const mdc_region *region) {
    mdc_late_file *file = find(late, region);
    if (file == NULL || file->fd < 0) return EBADF;
    if (file->changed == 0 && (!has_no_writer(file->fd) || !as_it_was(file))) file->changed = ESTALE;
    return file->changed;
}
