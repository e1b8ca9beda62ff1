/* A regular file that can be written anywhere: holes are left out, patches go back.
 *
 * Offsets count from the descriptor's initial position. pwrite, so the descriptor's own offset moves only once, at the
 * end, and a descriptor shared with others is not disturbed half-way. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"
#include "sink_posix.h"

/* f_type of statfs, linux/magic.h; spelled out because old kernel headers lack some. */
static const uint32_t FS_TMPFS = 0x01021994, FS_RAMFS = 0x858458F6, FS_MSDOS = 0x4D44;
static const uint32_t FS_EXT = 0xEF53, FS_XFS = 0x58465342, FS_BTRFS = 0x9123683E, FS_F2FS = 0xF2F52010;

enum { DONTCACHE = 0x80 }; /* RWF_DONTCACHE, linux/fs.h of Linux 6.14 */

enum {
    RESERVE_MIN = 1 << 20,  /* bytes; below that a reservation is not worth its system calls */
    RESERVE_NEXT = 1 << 26, /* bytes reserved at a time, once the dump has turned out to have holes */
    DENSE_MIN = 1 << 22     /* bytes without a hole after which that is tried again */
};

typedef struct file_sink {
    mdc_sink_base base;
    int fd;
    uint64_t origin;    /* offset in the file of the dump's first byte */
    uint64_t old_size;  /* bytes of an earlier content that may still be there */
    uint64_t old_bytes; /* room it takes on the disk */
    uint64_t planned;   /* length of the dump, if room for it can be reserved; else 0 */
    uint64_t reserved;  /* offset in the dump up to which it is */
    uint64_t dense;     /* bytes written since the last hole */
    bool straight;      /* what is written is to go to the disk at once */
} file_sink;

/* Reserving room skips delayed allocation (1.3 to 1.45 times faster on ext4) and detects a full disk before the target
 * has been stopped for long. Reserved space is no longer a hole, so at the first hole the rest of it is given
 * back; from then on room is reserved in pieces, where enough was written without a hole. */
static int reserve_to(file_sink *file, uint64_t end) {
    uint64_t from = file->base.sink.position;
    int os_errno;
    do os_errno = fallocate(file->fd, 0, (off_t)(file->origin + from), (off_t)(end - from)) == 0 ? 0 : errno;
    while (os_errno == EINTR);
    if (os_errno == 0) file->reserved = end;
    return os_errno;
}

/* tmpfs would clear the pages first and lose; FAT writes zeros. Returns errno. */
static int reserve_all(file_sink *file, uint64_t planned, bool holes) {
    struct statfs fs;
    if (fstatfs(file->fd, &fs) != 0) return 0;
    uint32_t type = (uint32_t)fs.f_type;
    if (type == FS_TMPFS || type == FS_RAMFS || type == FS_MSDOS) return 0;
    file->planned = planned;
    if (holes) return 0;
    uint64_t room;
    if (mdc_mul_u64((uint64_t)fs.f_bfree, (uint64_t)fs.f_bsize, &room) && mdc_add_u64(room, file->old_bytes, &room) &&
        room < planned) {
        /* Trying it would take all free space from other processes before it failed. Elsewhere (network, FUSE) the
         * figure may mean nothing: there the writes will fail. */
        bool reliable = type == FS_EXT || type == FS_XFS || type == FS_BTRFS || type == FS_F2FS;
        return reliable ? ENOSPC : 0;
    }
    return reserve_to(file, planned);
}

/* Before `size` bytes are written after the reserved space. A refusal is not an error: the writes may fail. */
static void reserve_more(file_sink *file, uint64_t size) {
    uint64_t end = file->base.sink.position + size; /* fits: the sink accepted it */
    if (file->dense < DENSE_MIN || end <= file->reserved || end > file->planned) return;
    mdc_quiet quiet;
    mdc_quiet_enter(&quiet);
    int os_errno = reserve_to(file, mdc_min_u64(file->planned, file->base.sink.position + RESERVE_NEXT));
    mdc_quiet_leave(&quiet, os_errno);
    if (os_errno != 0) file->planned = 0;
}

/* Nothing was written yet at and after the position, which becomes a hole: gives back what is reserved there, and cuts
 * off old bytes of a reused file, which would show through. Returns errno. */
static int clear_behind(file_sink *file) {
    uint64_t at = file->origin + file->base.sink.position; /* fits: put() and file_new() checked both */
    file->dense = 0;
    if (at >= file->old_size && file->reserved <= file->base.sink.position) return 0;
    file->reserved = file->base.sink.position;
    file->old_size = mdc_min_u64(file->old_size, at);
    return ftruncate(file->fd, (off_t)at) == 0 ? 0 : errno;
}

static mdc_status file_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    file->straight = sink->flushes && planned >= RESERVE_MIN && sizeof(long) == sizeof(uint64_t);
    if (planned >= RESERVE_MIN && mdc_sink_accepts(&file->base, planned) && planned <= INT64_MAX - file->origin) {
        mdc_quiet quiet;
        mdc_quiet_enter(&quiet);
        int os_errno = reserve_all(file, planned, planned != written);
        mdc_quiet_leave(&quiet, os_errno);
        if (os_errno == ENOSPC || os_errno == EDQUOT || os_errno == EFBIG) {
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, os_errno,
                     "not enough space for a dump of %" PRIu64 " bytes", planned);
            /* What was reserved up to there is given back; the error that counts is the one above. */
            if (ftruncate(file->fd, (off_t)file->origin) != 0) errno = 0;
        }
        /* Anything else (EOPNOTSUPP, EINVAL): this file system does not reserve; the writes may fail. */
    }
    return mdc_sink_status(&file->base, err);
}

/* A dump that is flushed is not read again soon. Its pages go to the disk while the next ones are copied, instead of
 * all at the end, and leave the page cache: as fast as O_DIRECT, without its rules. */
static ssize_t write_some(file_sink *file, const uint8_t *data, size_t size, off_t at) {
    if (file->straight) {
        struct iovec one = {(void *)(uintptr_t)data, size};
        ssize_t count = syscall(SYS_pwritev2, file->fd, &one, 1L, (long)at, 0L, (long)DONTCACHE);
        /* Not this file system (EOPNOTSUPP), this kernel, or this seccomp filter. */
        if (count >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS && errno != EPERM)) return count;
        file->straight = false;
    }
    return pwrite(file->fd, data, size, at);
}

/* All of it. */
static void put(file_sink *file, uint64_t offset, const uint8_t *data, size_t size) {
    if (offset > INT64_MAX - file->origin || size > INT64_MAX - file->origin - offset) {
        mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, EFBIG,
                 "the output would become longer than any file");
        return;
    }
    mdc_quiet quiet;
    int os_errno = 0;
    mdc_quiet_enter(&quiet);
    while (size > 0) {
        ssize_t count = write_some(file, data, size, (off_t)(file->origin + offset));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            os_errno = count < 0 ? errno : EIO;
            break;
        }
        data += count;
        size -= (size_t)count;
        offset += (uint64_t)count;
    }
    mdc_quiet_leave(&quiet, os_errno);
    if (os_errno != 0)
        mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, os_errno,
                 "cannot write the output at offset %" PRIu64, offset);
}

static mdc_status file_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_accepts(&file->base, size) && mdc_sink_passes(&file->base, "write:chunk")) {
        reserve_more(file, size);
        put(file, sink->position, data, size);
        if (file->base.fault.code == MDC_OK) {
            sink->position += size;
            file->dense += size;
        }
    }
    return mdc_sink_status(&file->base, err);
}

static mdc_status file_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_accepts(&file->base, size) && size > 0) {
        int os_errno = clear_behind(file);
        if (os_errno != 0)
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, os_errno,
                     "cannot clear the old content of the output");
        if (size > INT64_MAX - file->origin - sink->position)
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, EFBIG,
                     "the output would become longer than any file");
        if (file->base.fault.code == MDC_OK) sink->position += size;
    }
    return mdc_sink_status(&file->base, err);
}

static mdc_status file_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (size < MDC_PAGE_SIZE) file->straight = false; /* small pieces, which may share a page */
    if (mdc_sink_accepts_patch(&file->base, offset, size) && mdc_sink_passes(&file->base, "write:patch"))
        put(file, offset, data, size);
    return mdc_sink_status(&file->base, err);
}

static mdc_status file_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    file_sink *file = (file_sink *)sink;
    if (mdc_sink_finishes(&file->base) && mdc_sink_passes(&file->base, "sink:finish")) {
        off_t end = (off_t)(file->origin + sink->position);
        mdc_quiet quiet;
        int os_errno = 0;
        const char *what = "set the length of";
        mdc_quiet_enter(&quiet);
        if (ftruncate(file->fd, end) != 0) {
            os_errno = errno;
        } else if (lseek(file->fd, end, SEEK_SET) != end) {
            os_errno = errno != 0 ? errno : EIO;
            what = "move to the end of";
        } else if (flush && fsync(file->fd) != 0) {
            os_errno = errno; /* also ENOSPC and EIO of earlier writes: delayed allocation fails here */
            what = "flush";
        }
        mdc_quiet_leave(&quiet, os_errno);
        if (os_errno != 0)
            mdc_fail(&file->base.fault, MDC_ERR_SINK, MDC_PHASE_FINISH, os_errno, "cannot %s the output", what);
    }
    return mdc_sink_status(&file->base, err);
}

static void file_free(mdc_sink *sink) { mdc_dealloc(sink); }

static const mdc_sink_ops FILE_OPS = {file_begin, file_write, file_hole, file_patch, file_finish, file_free};

mdc_sink *mdc_sink_file_new(int fd, const struct stat *about, int64_t position, mdc_error *err) {
    file_sink *file = mdc_alloc(1, sizeof *file, err);
    if (file == NULL) return NULL;
    mdc_sink_setup(&file->base, &FILE_OPS, true, true);
    file->base.sink.late_parts = true;
    file->fd = fd;
    file->origin = (uint64_t)position;
    file->old_size = about->st_size > 0 ? (uint64_t)about->st_size : 0;
    file->old_bytes = about->st_blocks > 0 ? (uint64_t)about->st_blocks * 512 : 0;
    return &file->base.sink;
}
