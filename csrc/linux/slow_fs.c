/* The table of mounts (see slow_fs.h). */
#include "slow_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "proc_maps.h"

static bool is(const uint8_t *text, size_t size, const char *word) {
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

static bool begins(const uint8_t *text, size_t size, const char *prefix) {
    size_t length = strlen(prefix);
    return size >= length && memcmp(text, prefix, length) == 0;
}

mdc_fs_kind mdc_fs_kind_of_type(const uint8_t *type, size_t size) {
    static const char cached[][9] = {"fuse", "fuseblk", "virtiofs", "nfs", "nfs4", "cifs", "smb3", "ceph", "afs"};
    static const char others[][12] = {"9p",     "coda",   "gfs2",   "ocfs2",  "orangefs", "pvfs2",
                                      "lustre", "beegfs", "wekafs", "vboxsf", "vmhgfs",   "prl_fs",
                                      "panfs",  "gpfs",   "davfs",  "smbfs",  "ncpfs",    "glusterfs"};
    static const char memory[][10] = {"tmpfs", "devtmpfs", "ramfs", "rootfs", "hugetlbfs"};
    for (size_t i = 0; i < sizeof cached / sizeof cached[0]; i++)
        if (is(type, size, cached[i])) return MDC_FS_SLOW;
    if (begins(type, size, "fuse.") || begins(type, size, "fuseblk.")) return MDC_FS_SLOW;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (is(type, size, others[i])) return MDC_FS_SLOW_STAT;
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        if (is(type, size, memory[i])) return MDC_FS_MEMORY;
    return MDC_FS_LOCAL;
}

/* The next word that ends with a blank, or with the line; false if there is none. */
static bool next_word(const uint8_t **at, const uint8_t *end, const uint8_t **word, size_t *size) {
    while (*at < end && **at == ' ') ++*at;
    *word = *at;
    while (*at < end && **at != ' ') ++*at;
    *size = (size_t)(*at - *word);
    return *size > 0;
}

static bool number(const uint8_t *digits, size_t size, uint32_t *value) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        if (digits[i] < '0' || digits[i] > '9') return false;
        sum = sum * 10 + (uint64_t)(digits[i] - '0');
        if (sum > UINT32_MAX) return false;
    }
    *value = (uint32_t)sum;
    return size > 0;
}

/* 36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw: any number of words before the hyphen. */
bool mdc_mount_parse(const uint8_t *line, size_t size, mdc_mount *mount) {
    const uint8_t *at = line, *end = line + size, *word;
    size_t length;
    for (int i = 0; i < 3; i++)
        if (!next_word(&at, end, &word, &length) || (i == 0 && !number(word, length, &mount->id))) return false;
    const uint8_t *colon = memchr(word, ':', length);
    if (colon == NULL || !number(word, (size_t)(colon - word), &mount->dev_major) ||
        !number(colon + 1, length - (size_t)(colon - word) - 1, &mount->dev_minor))
        return false;
    do {
        if (!next_word(&at, end, &word, &length)) return false;
    } while (!is(word, length, "-"));
    if (!next_word(&at, end, &word, &length)) return false;
    mount->kind = mdc_fs_kind_of_type(word, length);
    return true;
}

static mdc_status read_one(mdc_vec *mounts, int directory, const char *name, mdc_error *err) {
    mdc_error why;
    mdc_error_clear(&why);
    mdc_map_reader *reader = mdc_map_reader_new(directory, name, &why);
    mdc_status status = MDC_OK;
    while (reader != NULL && status == MDC_OK) {
        uint8_t *line;
        size_t size;
        mdc_mount mount;
        if (mdc_map_reader_line(reader, &line, &size, &why) != MDC_OK || line == NULL) break;
        if (mdc_mount_parse(line, size, &mount)) status = mdc_vec_push(mounts, &mount, 1, NULL, err);
    }
    mdc_map_reader_free(reader);
    if (!mdc_is_shortage(why.code) || status != MDC_OK) return status;
    *err = why;
    return why.code;
}

/* Where memfd, SysV and anonymous shared memory live; no process sees it mounted. */
static mdc_status add_shared_memory(mdc_vec *mounts, mdc_error *err) {
    struct stat facts;
    int fd = memfd_create("mdc", MFD_CLOEXEC);
    if (fd < 0) return MDC_OK;
    int rc = fstat(fd, &facts);
    close(fd);
    if (rc != 0) return MDC_OK;
    mdc_mount mount = {major(facts.st_dev), minor(facts.st_dev), MDC_FS_MEMORY, 0};
    return mdc_vec_push(mounts, &mount, 1, NULL, err);
}

/* Whether the process sees the mounts that we see: mostly. They are shown up to one's own root. */
static bool same_mounts(int proc) {
    char theirs[64], ours[64];
    if (readlinkat(proc, "root", theirs, sizeof theirs) != 1 || theirs[0] != '/') return false;
    ssize_t size = readlinkat(proc, "ns/mnt", theirs, sizeof theirs);
    return size > 0 && size == readlinkat(AT_FDCWD, "/proc/thread-self/ns/mnt", ours, sizeof ours) &&
           memcmp(theirs, ours, (size_t)size) == 0;
}

mdc_status mdc_mounts_read(mdc_vec *mounts, int proc, mdc_error *err) {
    mdc_status status = add_shared_memory(mounts, err);
    if (status == MDC_OK) status = read_one(mounts, proc, "mountinfo", err);
    if (status == MDC_OK && !same_mounts(proc)) status = read_one(mounts, AT_FDCWD, "/proc/self/mountinfo", err);
    return status;
}

/* Memory of the kernel's own file systems (fs/hugetlbfs/inode.c, mm/shmem.c, ipc/shm.c). */
static bool internal_memory(const uint8_t *name, size_t size) {
    return begins(name, size, "/anon_hugepage") || begins(name, size, "/memfd:") || begins(name, size, "/SYSV");
}

/* Other files that the kernel makes for itself (mm/secretmem.c, fs/aio.c), and names that are not paths:
 * anon_inode:[perf_event], socket:[1]. */
static bool internal(const uint8_t *name, size_t size) {
    return !begins(name, size, "/") || begins(name, size, "/secretmem") || begins(name, size, "/[aio]");
}

mdc_fs_kind mdc_mounts_find(const mdc_vec *mounts, uint32_t dev_major, uint32_t dev_minor, const uint8_t *name,
                            size_t name_size) {
    for (size_t i = 0; i < mounts->count; i++) {
        const mdc_mount *mount = &mdc_vec_at(mounts, const mdc_mount, i);
        if (mount->dev_major == dev_major && mount->dev_minor == dev_minor) return (mdc_fs_kind)mount->kind;
    }
    if (dev_major == 0 && internal_memory(name, name_size)) return MDC_FS_MEMORY;
    return dev_major != 0 || internal(name, name_size) ? MDC_FS_LOCAL : MDC_FS_SLOW_STAT;
}
