/* File systems whose files are served by a process or another machine, which may never respond. A thread that waits for
 * one hangs where no signal and no cancel can reach it, so such a file is not opened, and no page of it is read that is
 * not resident.
 *
 * The type is found in mountinfo by the device given in maps: statfs would contact the server. */
#ifndef MDC_LINUX_SLOW_FS_H
#define MDC_LINUX_SLOW_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/vec.h"

typedef enum mdc_fs_kind {
    MDC_FS_LOCAL = 0,
    MDC_FS_SLOW = 1,      /* statx with AT_STATX_DONT_SYNC, on a link of /proc, returns what the kernel has cached */
    MDC_FS_SLOW_STAT = 2, /* even that may ask the server */
    MDC_FS_MEMORY = 3     /* local, and nothing but memory: touching a page of a hole allocates it */
} mdc_fs_kind;

/* Is it one that may never answer? */
static inline bool mdc_fs_slow(mdc_fs_kind kind) { return kind == MDC_FS_SLOW || kind == MDC_FS_SLOW_STAT; }

/* One device number with its kind. */
typedef struct mdc_mount {
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t kind; /* mdc_fs_kind */
    uint32_t id;   /* the mount's; 0: it is mounted nowhere */
} mdc_mount;

/* The kind of a file system type as mountinfo has it: "ext4", "fuse.sshfs". */
mdc_fs_kind mdc_fs_kind_of_type(const uint8_t *type, size_t size);
/* One line of mountinfo (proc(5)); false if it is malformed. */
bool mdc_mount_parse(const uint8_t *line, size_t size, mdc_mount *mount);
/* Appends what the target sees mounted, what we see, and the kernel's own mount for shared memory. proc: /proc/PID. A
 * list that cannot be read is left out; only memory shortage is an error. */
mdc_status mdc_mounts_read(mdc_vec *mounts, int proc, mdc_error *err);
/* The kind of the file system of a mapped file. A device that is mounted nowhere may belong to a mount that was
 * detached because its server hangs: it counts as slow unless it is a block device or one of the kernel's own by its
 * name. */
mdc_fs_kind mdc_mounts_find(const mdc_vec *mounts, uint32_t dev_major, uint32_t dev_minor, const uint8_t *name,
                            size_t name_size);

#endif
