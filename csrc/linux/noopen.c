/* Mapped files that must not be opened (see noopen.h). */
#include "noopen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"

enum {
    OWN_MAX = 64 * 1024,       /* of our own descriptors; less than a microsecond each */
    DESCRIPTORS_MAX = 4 * 1024 /* of the target; a listener opens its own early */
};

void mdc_noopen_init(mdc_noopen *noopen) {
    mdc_vec_init(&noopen->locked, sizeof(mdc_locked_file));
    noopen->all = noopen->known = false;
}

void mdc_noopen_fini(mdc_noopen *noopen) { mdc_vec_fini(&noopen->locked); }

bool mdc_noopen_parse(const char *line, mdc_locked_file *file) {
    return sscanf(line, "lock:\t%*[0-9]: POSIX %*s %*s %*d %" SCNx32 ":%" SCNx32 ":%" SCNu64, &file->dev_major,
                  &file->dev_minor, &file->inode) == 3;
}

/* Whether a POSIX lock was taken through a descriptor of ours: the first one is enough, they are of one file. */
static bool is_locked(int fdinfo, const char *fd, mdc_locked_file *file, int *os_errno) {
    char text[4096];
    int info = openat(fdinfo, fd, O_RDONLY | O_CLOEXEC);
    *os_errno = info < 0 ? errno : 0; /* ENOENT: closed meanwhile, and its locks are gone */
    ssize_t size = info >= 0 ? read(info, text, sizeof text - 1) : -1;
    if (info >= 0) close(info);
    if (size <= 0) return false;
    text[size] = '\0';
    for (const char *line = strstr(text, "\nlock:"); line != NULL; line = strstr(line + 1, "\nlock:"))
        if (mdc_noopen_parse(line + 1, file)) return true;
    return false;
}

static mdc_status read_descriptors(mdc_noopen *noopen, DIR *fds, int fdinfo, mdc_error *err) {
    const struct dirent *entry;
    for (int i = 0; i < OWN_MAX && (entry = readdir(fds)) != NULL; i++) {
        char first;
        mdc_locked_file file;
        int os_errno;
        /* Directories, and what is open without access, as many of ours are: no mapping is of one. A file that was made
         * without a name has the bit of directories, too: O_TMPFILE holds it. */
        int flags = fcntl((int)strtol(entry->d_name, NULL, 10), F_GETFL);
        if (flags != -1 && ((flags & O_TMPFILE) == O_DIRECTORY || (flags & O_PATH) != 0)) continue;
        /* Sockets, pipes and the like have no path: "socket:[1]". fstat could wait for a server. */
        if (readlinkat(dirfd(fds), entry->d_name, &first, 1) != 1 || (first != '/' && first != '(')) continue;
        if (is_locked(fdinfo, entry->d_name, &file, &os_errno) &&
            mdc_vec_push(&noopen->locked, &file, 1, NULL, err) != MDC_OK)
            return err->code;
        if (mdc_is_shortage_number(os_errno))
            return mdc_fail_short(err, MDC_PHASE_OPEN, os_errno, "cannot look for locks of this process");
    }
    return MDC_OK;
}

/* The descriptor that a POSIX lock was taken through is open as long as the lock is held, so our own descriptors show
 * all of them. So does /proc/locks, but reading it keeps the whole system from locking files for milliseconds
 * (percpu_down_write in locks_start, fs/locks.c). */
static mdc_status read_locks(mdc_noopen *noopen, mdc_error *err) {
    int fds = open("/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fdinfo = fds >= 0 ? open("/proc/thread-self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *list = fdinfo >= 0 ? fdopendir(fds) : NULL;
    int os_errno = list == NULL ? errno : 0;
    mdc_status status = MDC_OK;
    if (list != NULL)
        status = read_descriptors(noopen, list, fdinfo, err);
    else if (mdc_is_shortage_number(os_errno))
        status = mdc_fail_short(err, MDC_PHASE_OPEN, os_errno, "cannot look for locks of this process");
    if (list != NULL)
        closedir(list);
    else if (fds >= 0)
        close(fds);
    if (fdinfo >= 0) close(fdinfo);
    return status;
}

static bool listens(int proc) {
    static const char wanted[] = "anon_inode:[fanotify]";
    bool found = false;
    int directory = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = directory >= 0 ? fdopendir(directory) : NULL;
    if (list == NULL && directory >= 0) close(directory);
    const struct dirent *entry;
    for (int i = 0; list != NULL && !found && i < DESCRIPTORS_MAX && (entry = readdir(list)) != NULL; i++) {
        char target[sizeof wanted];
        ssize_t size = readlinkat(directory, entry->d_name, target, sizeof target);
        found = size == sizeof wanted - 1 && memcmp(target, wanted, sizeof wanted - 1) == 0;
    }
    if (list != NULL) closedir(list);
    return found;
}

mdc_status mdc_noopen_read(mdc_noopen *noopen, int proc, mdc_error *err) {
    noopen->locked.count = 0;
    noopen->all = listens(proc);
    mdc_status status = read_locks(noopen, err);
    noopen->known = status == MDC_OK;
    return status;
}

bool mdc_noopen_has(const mdc_noopen *noopen, uint32_t dev_major, uint32_t dev_minor, uint64_t inode, bool any_device) {
    if (noopen->all) return true;
    for (size_t i = 0; i < noopen->locked.count; i++) {
        const mdc_locked_file *file = &mdc_vec_at(&noopen->locked, const mdc_locked_file, i);
        if (file->inode != inode) continue;
        if (file->dev_major == dev_major && file->dev_minor == dev_minor) return true;
        if (any_device && file->dev_major == 0) return true;
    }
    return false;
}
