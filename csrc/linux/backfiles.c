/* Opening the files of mappings, and finding their data (see backfiles.h). */
#include "backfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "../base/failpoint.h"
#include "mapfiles.h"

enum {
    FILE_DENSE = 0x01, /* it holds as many blocks as it is long: no holes */
    FILE_EMPTY = 0x02, /* it holds nothing at all */
    FILE_OVERLAY = 0x04
};
enum { DESCRIPTORS_MAX = 64 * 1024 /* in search of files; half a microsecond each */ };

void mdc_backfiles_init(mdc_backfiles *self) {
    memset(self, 0, sizeof *self);
    self->proc = -1;
    self->budget = DESCRIPTORS_MAX;
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++) self->files[i].fd = -1;
}

void mdc_backfiles_fini(mdc_backfiles *self) {
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++)
        if (self->files[i].fd >= 0) close(self->files[i].fd);
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
 * (Documentation/filesystems/overlayfs.rst, "Non-standard behavior"). Times do not show which is older: mappings are
 * inherited by fork. Only a mapping of a file opened for writing certainly belongs to the upper file. */
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

/* Opens the file of a region; file->fd is -1 if it is not available, or not a file that may be read instead of memory.
 */
static void open_file(mdc_backfiles *self, const mdc_region *region, mdc_backing_file *file) {
    struct stat facts;
    struct statfs system;
    file->fd = -1;
    if (MDC_FAILPOINT("backing:open") != 0) return;
    file->fd = mdc_mapped_file_open(self->mappings, self->proc, region);
    if (file->fd < 0) file->fd = mdc_mapped_file_reopen(self->mappings, self->proc, region, &self->budget);
    if (file->fd < 0) return;
    if (fstat(file->fd, &facts) != 0 || fstatfs(file->fd, &system) != 0 || !S_ISREG(facts.st_mode) ||
        facts.st_size < 0 || !coherent(&system)) {
        close(file->fd);
        file->fd = -1;
        return;
    }
    /* O_NOATIME: reading the file here should not show in its access time. Refused for files of others. */
    (void)fcntl(file->fd, F_SETFL, O_NOATIME);
    file->size = (uint64_t)facts.st_size;
    if ((uint32_t)system.f_type == OVERLAYFS) file->flags |= FILE_OVERLAY;
    if (holds_nothing(file->fd, &system, &facts)) file->flags |= FILE_EMPTY;
    if ((uint64_t)facts.st_blocks >= file->size / 512 + (file->size % 512 != 0)) file->flags |= FILE_DENSE;
}

static bool usable(const mdc_backing_file *file, const mdc_region *region) {
    return file->fd >= 0 && ((file->flags & FILE_OVERLAY) == 0 || !replaceable(region));
}

/* The one that was used longest ago makes room. */
const mdc_backing_file *mdc_backfiles_get(mdc_backfiles *self, const mdc_region *region) {
    mdc_backing_file *oldest = &self->files[0];
    for (size_t i = 0; i < MDC_BACKING_OPEN; i++) {
        mdc_backing_file *file = &self->files[i];
        if (file->used < oldest->used) oldest = file;
        if (file->used == 0 || file->inode != region->inode || file->dev_major != region->dev_major ||
            file->dev_minor != region->dev_minor || file->name_id != region->name_id)
            continue;
        file->used = ++self->clock;
        return usable(file, region) ? file : NULL;
    }
    if (oldest->fd >= 0) close(oldest->fd);
    *oldest = (mdc_backing_file){.inode = region->inode,
                                 .dev_major = region->dev_major,
                                 .dev_minor = region->dev_minor,
                                 .name_id = region->name_id,
                                 .used = ++self->clock};
    open_file(self, region, oldest);
    return usable(oldest, region) ? oldest : NULL;
}

void mdc_backfile_next(const mdc_backing_file *file, uint64_t at, uint64_t end, uint64_t *first, uint64_t *stop) {
    *first = at;
    *stop = end;
    if ((file->flags & FILE_EMPTY) != 0) *first = end;
    if ((file->flags & (FILE_EMPTY | FILE_DENSE)) != 0) return;
    off_t data = lseek(file->fd, (off_t)at, SEEK_DATA);
    if (data < 0) { /* ENXIO: only holes follow. Anything else: not supported by this file system */
        if (errno == ENXIO) *first = end;
        return;
    }
    *first = mdc_min_u64(mdc_page_down((uint64_t)data), end);
    if (*first < at) *first = at;
    off_t hole = lseek(file->fd, data, SEEK_HOLE);
    if (hole > data) *stop = mdc_min_u64(mdc_page_up((uint64_t)hole), end);
}
