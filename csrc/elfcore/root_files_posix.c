#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool mdc_root_file_open(mdc_root_file *file, const char *root, const uint8_t *path, size_t size) {
    char text[PATH_MAX];
    if (size == 0 || size >= sizeof text || memchr(path, '\0', size) != NULL) return false;
    memcpy(text, path, size);
    text[size] = '\0';
    if (root == NULL) return take(file, open_regular(AT_FDCWD, text, 0));
    if (text[0] != '/') return false;
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char *part = text;
    while (folder >= 0) {
        part += strspn(part, "/");
        size_t length = strcspn(part, "/");
        const bool last = part[length] == '\0';
        part[length] = '\0';
        int next = -1;
        if (length > 0 && strcmp(part, ".") != 0 && strcmp(part, "..") != 0)
            next = last ? open_regular(folder, part, AT_SYMLINK_NOFOLLOW)
                        : openat(folder, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(folder);
        if (last) return take(file, next);
        folder = next;
        part += length + 1;
    }
    return false;
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
