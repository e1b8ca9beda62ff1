/* Mapped files that must not be opened, although they could be.
 *
 * Closing any descriptor of a file drops all POSIX record locks that the process has on it (fcntl(2)), so files that
 * the caller's process has locked are left alone. And opening a file may have to wait for a permission that a listener
 * of fanotify(7) gives, which it cannot while it is stopped. */
#ifndef MDC_LINUX_NOOPEN_H
#define MDC_LINUX_NOOPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/vec.h"

/* A file with a POSIX lock, as /proc/PID/fdinfo names it. */
typedef struct mdc_locked_file {
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
} mdc_locked_file;

typedef struct mdc_noopen {
    mdc_vec locked; /* mdc_locked_file: by our own process */
    bool all;       /* the target listens to fanotify */
    bool known;     /* it was read */
} mdc_noopen;

void mdc_noopen_init(mdc_noopen *noopen);
void mdc_noopen_fini(mdc_noopen *noopen);
/* Best before the stop. proc: /proc/PID. Fails only for lack of memory or descriptors: without a /proc of ours no file
 * counts as locked. */
mdc_status mdc_noopen_read(mdc_noopen *noopen, int proc, mdc_error *err);
/* Takes a line of fdinfo, "lock: 1: POSIX  ADVISORY  WRITE 1234 08:01:393 0 EOF" (lock_get_status in fs/locks.c);
 * false if it is not a POSIX lock. */
bool mdc_noopen_parse(const char *line, mdc_locked_file *file);
/* Whether the file must not be opened. any_device: of a lock on an anonymous device only the inode is compared. */
bool mdc_noopen_has(const mdc_noopen *noopen, uint32_t dev_major, uint32_t dev_minor, uint64_t inode, bool any_device);

#endif
