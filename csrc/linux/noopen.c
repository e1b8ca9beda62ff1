/* Mapped files that must not be opened (see noopen.h). */
#include "noopen.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "maptext.h"

enum {
    LOCKS_MAX = 64 * 1024,     /* lines of /proc/locks, which tells those of the whole system */
    DESCRIPTORS_MAX = 4 * 1024 /* of the target; a listener opens its own early */
};

void mdc_noopen_init(mdc_noopen *noopen) {
    mdc_vec_init(&noopen->locked, sizeof(mdc_locked_file));
    noopen->all = false;
}

void mdc_noopen_fini(mdc_noopen *noopen) { mdc_vec_fini(&noopen->locked); }

/* 1: POSIX  ADVISORY  WRITE 1234 08:01:393 0 EOF (fs/locks.c, lock_get_status). One that waits has "->" first. */
bool mdc_noopen_parse(const uint8_t *line, size_t size, int32_t pid, mdc_locked_file *file) {
    char text[160];
    int owner;
    if (size >= sizeof text) return false;
    memcpy(text, line, size);
    text[size] = '\0';
    return sscanf(text, "%*[0-9]: POSIX %*s %*s %d %" SCNx32 ":%" SCNx32 ":%" SCNu64, &owner, &file->dev_major,
                  &file->dev_minor, &file->inode) == 4 &&
           owner == pid;
}

static mdc_status read_locks(mdc_noopen *noopen, mdc_error *err) {
    mdc_error why;
    mdc_error_clear(&why);
    mdc_map_reader *reader = mdc_map_reader_new(AT_FDCWD, "/proc/locks", &why);
    mdc_status status = MDC_OK;
    for (size_t i = 0; reader != NULL && status == MDC_OK && i < LOCKS_MAX; i++) {
        uint8_t *line;
        size_t size;
        mdc_locked_file file;
        if (mdc_map_reader_line(reader, &line, &size, &why) != MDC_OK || line == NULL) break;
        if (mdc_noopen_parse(line, size, getpid(), &file)) status = mdc_vec_push(&noopen->locked, &file, 1, NULL, err);
    }
    mdc_map_reader_free(reader);
    if (!mdc_is_shortage(why.code) || status != MDC_OK) return status;
    *err = why;
    return why.code;
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
    return read_locks(noopen, err);
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
