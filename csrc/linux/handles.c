/* Descriptors (see handles.h).
 *
 * What a descriptor leads to is not opened, and only asked for its kind where no server has to answer: its mount is
 * looked up by the id that fdinfo shows. */
#include "handles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "slow_fs.h"
#include "statx.h"

enum {
    HANDLES_MAX = 1 << 18,
    NAMES_MAX = 64 << 20, /* bytes of the pool after which targets are left out */
    INFO_BYTES = 1024,    /* pos, flags and mnt_id come first; of an epoll descriptor there may be megabytes more */
    CHECK_EVERY = 256
};

uint64_t mdc_fdinfo_number(const char *text, const char *key, unsigned base) {
    size_t size = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, size) != 0 || line[size] != ':') continue;
        uint64_t value = 0;
        for (line += size + 1; *line == '\t' || *line == ' '; line++) {
        }
        for (; *line >= '0' && (unsigned)(*line - '0') < base; line++) value = value * base + (unsigned)(*line - '0');
        return value;
    }
    return 0;
}

/* The text of a descriptor's fdinfo; empty if it is gone. */
static int read_info(int fdinfo, const char *name, char *text) {
    text[0] = 0;
    int fd = openat(fdinfo, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t got;
    do got = read(fd, text, INFO_BYTES - 1);
    while (got < 0 && errno == EINTR);
    text[got > 0 ? got : 0] = 0;
    close(fd);
    return 0;
}

/* Whether statx on the link asks nothing but the kernel. Pipes, sockets and the like have no path. */
static bool is_local(const mdc_vec *mounts, uint64_t mount_id, const char *target) {
    if (target[0] != '/' && target[0] != '(') return true;
    for (size_t i = 0; i < mounts->count; i++) {
        const mdc_mount *mount = &mdc_vec_at(mounts, const mdc_mount, i);
        if (mount->id == mount_id && mount_id != 0) return mount->kind != MDC_FS_SLOW_STAT;
    }
    return strncmp(target, "/memfd:", 7) == 0 || strncmp(target, "/dev/", 5) == 0;
}

/* anon_inode:[eventpoll] is an "eventpoll": the kernel's file of that kind has no type of its own. */
static const char *type_of(uint32_t mode, const char *target, size_t *size) {
    static const char anonymous[] = "anon_inode:";
    static const struct {
        uint32_t format;
        const char *name;
    } known[] = {{S_IFREG, "File"}, {S_IFDIR, "Directory"}, {S_IFCHR, "CharDevice"},  {S_IFBLK, "BlockDevice"},
                 {S_IFIFO, "Pipe"}, {S_IFSOCK, "Socket"},   {S_IFLNK, "SymbolicLink"}};
    if (strncmp(target, anonymous, sizeof anonymous - 1) == 0) {
        const char *name = target + sizeof anonymous - 1;
        *size = strlen(name);
        if (*size > 2 && name[0] == '[') name++, *size -= 2;
        return name;
    }
    const char *name = "File";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if ((mode & S_IFMT) == known[i].format) name = known[i].name;
    *size = strlen(name);
    return name;
}

static mdc_status add(mdc_vec *handles, int fd, int fdinfo, const char *number, mdc_mappings *mappings,
                      mdc_error *err) {
    char target[PATH_MAX], info[INFO_BYTES];
    ssize_t size = readlinkat(fd, number, target, sizeof target - 1);
    if (size < 0) return MDC_OK;
    target[size] = 0;
    int os_errno = read_info(fdinfo, number, info);
    if (mdc_is_shortage_number(os_errno))
        return mdc_fail_short(err, MDC_PHASE_CAPTURE, os_errno, "cannot look at the target's descriptors");
    mdc_statx_facts facts = {.mode = 0};
    if (is_local(&mappings->mounts, mdc_fdinfo_number(info, "mnt_id", 10), target) &&
        mdc_statx(fd, number, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, MDC_STATX_TYPE | MDC_STATX_MODE, &facts) != 0)
        facts.mode = 0;
    uint64_t offset = mdc_fdinfo_number(info, "pos", 10);
    mdc_handle handle = {.value = strtoul(number, NULL, 10),
                         .attributes = facts.mode,
                         .access = (uint32_t)mdc_fdinfo_number(info, "flags", 8),
                         .handles = (uint32_t)offset,
                         .pointers = (uint32_t)(offset >> 32)};
    size_t length;
    const char *type = type_of(facts.mode, target, &length);
    if (mdc_mappings_intern(mappings, type, length, &handle.type, err) != MDC_OK ||
        (mappings->pool.count < NAMES_MAX &&
         mdc_mappings_intern(mappings, target, (size_t)size, &handle.name, err) != MDC_OK))
        return err->code;
    return mdc_vec_push(handles, &handle, 1, NULL, err);
}

static int by_value(const void *a, const void *b) {
    uint64_t one = ((const mdc_handle *)a)->value, other = ((const mdc_handle *)b)->value;
    return one < other ? -1 : one > other;
}

static void add_all(mdc_vec *handles, DIR *list, int fdinfo, mdc_mappings *mappings, mdc_error *err) {
    const struct dirent *entry;
    mdc_status status = MDC_OK;
    while (status == MDC_OK && handles->count < HANDLES_MAX && (entry = readdir(list)) != NULL) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        status = add(handles, dirfd(list), fdinfo, entry->d_name, mappings, err);
        mdc_control_advance(mappings->control);
        if (status == MDC_OK && handles->count % CHECK_EVERY == 0 && mappings->control != NULL)
            status = mdc_control_check(mappings->control, err);
    }
    if (handles->count > 0) qsort(handles->data, handles->count, sizeof(mdc_handle), by_value);
}

bool mdc_handles_list(mdc_vec *handles, int proc, mdc_mappings *mappings, mdc_error *err) {
    int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fdinfo = fd >= 0 ? openat(proc, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *list = fdinfo >= 0 ? fdopendir(fd) : NULL;
    int os_errno = list == NULL ? errno : 0;
    if (list != NULL)
        add_all(handles, list, fdinfo, mappings, err);
    else if (mdc_is_shortage_number(os_errno))
        mdc_fail_short(err, MDC_PHASE_CAPTURE, os_errno, "cannot look at the target's descriptors");
    if (list != NULL)
        closedir(list);
    else if (fd >= 0)
        close(fd);
    if (fdinfo >= 0) close(fdinfo);
    return list != NULL;
}
