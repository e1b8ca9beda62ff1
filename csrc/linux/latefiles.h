/* Mapped files that are read after the target was resumed, and the proof that they are then as they were at the stop.
 *
 * At the stop, in this order: (1) the file is not open for writing anywhere; (2) its times and size are T; (3) T is
 * older than `racy`, and not in the future. Later: (4) bytes are read; (5) it is not open for writing anywhere; (6)
 * times and size are still T. Then the bytes are those of moment (2), whatever happened meanwhile, because
 * - only an open for writing can change a file: write(2), fallocate, FICLONE, ftruncate, and a shared mapping, which
 *   holds its open file; truncate(2) counts as one while it runs. The kernel counts them (i_writecount:
 * get_write_access in do_dentry_open and vfs_truncate). (5) says that none of those that began before it is still under
 * way, and one that begins after it is too late for (4).
 * - each of them that is over has set the time of change to the present: file_update_time by file_modified (write,
 *   fallocate, clone) or by page_mkwrite at the first write to a page of a mapping, setattr (truncate). A mapping that
 *   was there before (2) and needs no page_mkwrite any more would be a writer at (1).
 * - the present, at which a change after (2) is marked, cannot be the old T: by (3) it lies further from it than any
 *   clock of the file systems below is coarse (ext3's inodes: a second).
 * (1) and (5) ask for a read lease (fcntl(2), F_SETLEASE), which is given only if i_writecount is not above zero
 * (check_conflicting_open in fs/locks.c), and is given back at once. An open for writing between the two
 * calls waits for the second one.
 *
 * It is not so on tmpfs, whose mappings are written to without a change of times (shmem_vm_ops has no page_mkwrite),
 * on overlayfs, whose files are others' files, and it is not known of others: only what is in the list is read late. */
#ifndef MDC_LINUX_LATEFILES_H
#define MDC_LINUX_LATEFILES_H

#include <time.h>

#include "../base/vec.h"
#include "../source/source.h"

enum { MDC_LATE_FILES = 128 /* held open at once: the descriptors are those of our caller's process */ };

typedef struct mdc_late_file {
    uint64_t inode; /* with what follows: as in maps */
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t name_id;
    int32_t fd;      /* -1: to be read under the stop */
    int32_t changed; /* why what was read of it does not count, or 0 */
    uint32_t reserved;
    uint64_t size; /* bytes */
    struct timespec modified;
    struct timespec status_changed;
} mdc_late_file;

typedef struct mdc_latefiles {
    mdc_vec files;  /* mdc_late_file */
    size_t last;    /* the one that was asked for last */
    uint32_t count; /* of them that are open */
} mdc_latefiles;

void mdc_latefiles_init(mdc_latefiles *late);
void mdc_latefiles_fini(mdc_latefiles *late);
/* While the target is stopped. fd: the region's file, open for reading only; it is duplicated. The address in the
 * region below which all of the file's pages can be read late; its base: none. */
uint64_t mdc_latefiles_end(mdc_latefiles *late, const mdc_region *region, int fd);
/* What mdc_late_ops.read and check do. */
size_t mdc_latefiles_read(mdc_latefiles *late, const mdc_region *region, uint64_t address, size_t size, uint8_t *to,
                          int32_t *os_errno);
int32_t mdc_latefiles_check(mdc_latefiles *late, const mdc_region *region);

#endif
