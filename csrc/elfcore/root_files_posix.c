#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/failpoint.h"
#include "../base/openat2.h"
#include "root_files.h"

/* A terminal does not become ours, and a FIFO that has taken the place of the file does not block. */
enum { HOW = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

bool mdc_root_files_known(void) { return true; }

static bool take(mdc_root_file *file, int fd) {
    struct stat about;
    if (fd < 0) return false;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return false;
    }
    *file = (mdc_root_file){.fd = fd,
                            .device = (uint64_t)about.st_dev,
                            .inode = (uint64_t)about.st_ino,
                            .size = (uint64_t)about.st_size,
                            .changed_s = (int64_t)about.st_mtim.tv_sec,
                            .changed_ns = (int64_t)about.st_mtim.tv_nsec};
    return true;
}

/* Devices may do something when they are opened: what is no regular file is not. */
static int open_regular(int folder, const char *name, int flags) {
    struct stat about;
    if (fstatat(folder, name, &about, flags) != 0 || !S_ISREG(about.st_mode)) return -1;
    return openat(folder, name, HOW | (flags != 0 ? O_NOFOLLOW : 0));
}

/* As with that folder as the root: links and ".." lead nowhere else. */
static int open_below(int root, const char *path, uint64_t flags) {
    return mdc_openat2(root, path, flags, MDC_RESOLVE_NO_MAGICLINKS | MDC_RESOLVE_IN_ROOT);
}

static bool open_by_links(mdc_root_file *file, int root, const char *path, bool *known) {
    struct stat about;
    const int refused = MDC_FAILPOINT("root:links");
    if (refused != 0) errno = refused;
    int fd = refused != 0 ? -1 : open_below(root, path, O_PATH | O_CLOEXEC);
    *known = fd >= 0 || (errno != ENOSYS && errno != EPERM);
    const bool regular = fd >= 0 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    if (fd >= 0) close(fd);
    return regular && take(file, open_below(root, path, HOW));
}

/* Without a link. */
static bool open_by_parts(mdc_root_file *file, int root, char *path) {
    int folder = dup(root);
    while (folder >= 0) {
        path += strspn(path, "/");
        const size_t length = strcspn(path, "/");
        const bool last = path[length] == '\0';
        path[length] = '\0';
        int next = -1;
        if (length > 0 && strcmp(path, ".") != 0 && strcmp(path, "..") != 0)
            next = last ? open_regular(folder, path, AT_SYMLINK_NOFOLLOW)
                        : openat(folder, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(folder);
        if (last) return take(file, next);
        folder = next;
        path += length + 1;
    }
    return false;
}

bool mdc_root_file_open(mdc_root_file *file, const char *root, const uint8_t *path, size_t size) {
    char text[PATH_MAX];
    if (size == 0 || size >= sizeof text || memchr(path, '\0', size) != NULL) return false;
    memcpy(text, path, size);
    text[size] = '\0';
    if (root == NULL) return take(file, open_regular(AT_FDCWD, text, 0));
    int folder = text[0] == '/' ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder < 0) return false;
    bool known, found = open_by_links(file, folder, text, &known);
    if (!known) found = open_by_parts(file, folder, text);
    close(folder);
    return found;
}

void mdc_root_file_close(mdc_root_file *file) {
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

size_t mdc_root_file_read(const mdc_root_file *file, uint64_t offset, void *buffer, size_t size) {
    size_t done = 0;
    while (done < size && offset + done <= INT64_MAX) {
        ssize_t part = pread(file->fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (part > 0)
            done += (size_t)part;
        else if (part == 0 || errno != EINTR)
            break;
    }
    return done;
}

bool mdc_root_file_same(const mdc_root_file *a, const mdc_root_file *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->changed_s == b->changed_s &&
           a->changed_ns == b->changed_ns;
}
