/* Looking at mapped files (see mapfiles.h). */
#include "mapfiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../source/name_kinds.h"
#include "slow_fs.h"
#include "statx.h"

typedef struct name_key {
    const uint8_t *bytes;
    size_t size;
} name_key;

static bool name_equal(const void *context, uint32_t number, const void *key) {
    const mdc_mappings *mappings = context;
    const name_key *wanted = key;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, number);
    return name.size == wanted->size &&
           memcmp(&mdc_vec_at(&mappings->pool, uint8_t, name.offset), wanted->bytes, wanted->size) == 0;
}

mdc_status mdc_mapped_name(mdc_mappings *mappings, const uint8_t *bytes, size_t size, uint32_t *name_id,
                           mdc_error *err) {
    *name_id = 0;
    if (size == 0) return MDC_OK;
    mdc_hash *table = &mappings->name_table;
    uint32_t hash = mdc_hash_of(table, bytes, size);
    name_key wanted = {bytes, size};
    uint32_t number = mdc_hash_find(table, hash, name_equal, mappings, &wanted);
    if (number == MDC_HASH_NONE) {
        mdc_name name;
        if (mdc_hash_reserve(table, table->count + 1, err) != MDC_OK ||
            mdc_mappings_intern(mappings, bytes, size, &name, err) != MDC_OK ||
            mdc_vec_push(&mappings->names, &name, 1, NULL, err) != MDC_OK)
            return err->code;
        number = mdc_hash_add(table, hash);
    }
    *name_id = number + 1;
    return MDC_OK;
}

typedef struct file_key {
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
} file_key;

static bool file_equal(const void *context, uint32_t number, const void *key) {
    const mdc_mappings *mappings = context;
    const file_key *wanted = key;
    const mdc_mapped_file *file = &mdc_vec_at(&mappings->files, mdc_mapped_file, number);
    return file->inode == wanted->inode && file->dev_major == wanted->dev_major && file->dev_minor == wanted->dev_minor;
}

int64_t mdc_mapped_file_find(const mdc_mappings *mappings, uint32_t dev_major, uint32_t dev_minor, uint64_t inode) {
    file_key key = {inode, dev_major, dev_minor};
    uint32_t hash = mdc_hash_of(&mappings->file_table, &key, sizeof key);
    uint32_t number = mdc_hash_find(&mappings->file_table, hash, file_equal, mappings, &key);
    return number == MDC_HASH_NONE ? -1 : (int64_t)number;
}

/* The path below proc that leads to this name in the target's root. Absolute links in it would be resolved in our
 * root, which is why every use compares device and inode. */
static bool root_path(const uint8_t *name, size_t size, char *path, size_t room) {
    if (size == 0 || name[0] != '/' || size + 5 > room || memchr(name, '\0', size) != NULL) return false;
    memcpy(path, "root", 4);
    memcpy(path + 4, name, size);
    path[4 + size] = '\0';
    return true;
}

static bool is_file(const mdc_statx_facts *facts, const mdc_map_record *record) {
    return facts->inode == record->inode && facts->dev_major == record->dev_major &&
           facts->dev_minor == record->dev_minor;
}

/* AT_STATX_DONT_SYNC: what the kernel has cached is enough, and a network or FUSE server (which may be the stopped
 * target itself) is not asked. */
static bool facts_of(int directory, const char *path, int follow, mdc_statx_facts *facts) {
    return mdc_statx(directory, path, follow | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
                     MDC_STATX_TYPE | MDC_STATX_MODE | MDC_STATX_INO | MDC_STATX_SIZE, facts) == 0;
}

static bool stat_by_path(int proc, const uint8_t *name, size_t size, const mdc_map_record *record,
                         mdc_statx_facts *facts) {
    char path[PATH_MAX + 8];
    return root_path(name, size, path, sizeof path) && facts_of(proc, path, AT_SYMLINK_NOFOLLOW, facts) &&
           is_file(facts, record);
}

static void map_files_path(char *path, size_t room, uint64_t first, uint64_t end) {
    snprintf(path, room, "map_files/%llx-%llx", (unsigned long long)first, (unsigned long long)end);
}

static bool has_suffix(const mdc_map_record *record) {
    size_t size = record->name_size;
    return mdc_name_deleted(record->name, &size);
}

static void look(mdc_mapped_file *file, int proc, mdc_fs_kind kind, const mdc_map_record *record) {
    file->flags = 0;
    file->size = 0;
    if (mdc_fs_slow(kind)) file->flags |= MDC_MAPPED_SLOW;
    if (kind == MDC_FS_MEMORY) file->flags |= MDC_MAPPED_MEMORY;
    if (kind == MDC_FS_SLOW_STAT) file->flags |= MDC_MAPPED_NO_STAT;
    mdc_statx_facts facts;
    mdc_statx_facts named;
    char path[64];
    map_files_path(path, sizeof path, record->first, record->end);
    /* Through the link it is this very file, whatever its device is called (btrfs shows another one in maps). */
    bool linked = kind != MDC_FS_SLOW_STAT && facts_of(proc, path, 0, &facts) && facts.inode == record->inode;
    bool suffixed = has_suffix(record);
    bool by_path = false;
    /* Walking a path asks the server for each of its names. */
    if (!mdc_fs_slow(kind) && (suffixed || !linked))
        by_path = stat_by_path(proc, record->name, record->name_size, record, &named);
    if (!mdc_fs_slow(kind) && suffixed && linked && !by_path) {
        /* The same question for file systems whose device differs from the one in maps. */
        mdc_map_record same = *record;
        same.dev_major = facts.dev_major;
        same.dev_minor = facts.dev_minor;
        by_path = stat_by_path(proc, record->name, record->name_size, &same, &named);
    }
    if (suffixed && !by_path) file->flags |= MDC_MAPPED_DELETED;
    if (!linked && !by_path) return;
    if (!linked) facts = named;
    if (S_ISREG(facts.mode)) {
        file->flags |= MDC_MAPPED_REGULAR;
        file->size = facts.size;
        if ((facts.mode & 0111) != 0) file->flags |= MDC_MAPPED_EXECUTABLE;
    }
    if (S_ISCHR(facts.mode)) file->flags |= MDC_MAPPED_CHAR;
    if (S_ISCHR(facts.mode) && facts.rdev_major == 1 && facts.rdev_minor == 5)
        file->flags |= MDC_MAPPED_ZERO; /* Documentation/admin-guide/devices.txt: 1:5 */
}

/* Does the file have the same name as when it was examined? */
static bool same_name(const mdc_mappings *mappings, const mdc_mapped_file *file, const mdc_map_record *record) {
    size_t size = record->name_size;
    if ((file->flags & MDC_MAPPED_DELETED) != 0) {
        if (!has_suffix(record)) return false;
        size -= MDC_NAME_DELETED_SIZE;
    }
    if (file->name_id == 0) return size == 0;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, file->name_id - 1);
    return name.size == size && memcmp(&mdc_vec_at(&mappings->pool, uint8_t, name.offset), record->name, size) == 0;
}

mdc_status mdc_mapped_file_get(mdc_mappings *mappings, int proc, const mdc_map_record *record, size_t *number,
                               mdc_error *err) {
    int64_t found = mdc_mapped_file_find(mappings, record->dev_major, record->dev_minor, record->inode);
    mdc_mapped_file file = {.inode = record->inode, .dev_major = record->dev_major, .dev_minor = record->dev_minor};
    if (found >= 0) {
        *number = (size_t)found;
        if (same_name(mappings, &mdc_vec_at(&mappings->files, mdc_mapped_file, *number), record)) return MDC_OK;
    }
    mdc_fs_kind kind =
        mdc_mounts_find(&mappings->mounts, record->dev_major, record->dev_minor, record->name, record->name_size);
    look(&file, proc, kind, record);
    size_t size = record->name_size - ((file.flags & MDC_MAPPED_DELETED) != 0 ? MDC_NAME_DELETED_SIZE : 0);
    mdc_status status = mdc_mapped_name(mappings, record->name, size, &file.name_id, err);
    if (status != MDC_OK) return status;
    if (found >= 0) {
        mdc_vec_at(&mappings->files, mdc_mapped_file, *number) = file;
        return MDC_OK;
    }
    mdc_hash *table = &mappings->file_table;
    file_key key = {file.inode, file.dev_major, file.dev_minor};
    if (mdc_hash_reserve(table, table->count + 1, err) != MDC_OK ||
        mdc_vec_push(&mappings->files, &file, 1, NULL, err) != MDC_OK)
        return err->code;
    *number = mdc_hash_add(table, mdc_hash_of(table, &key, sizeof key));
    return MDC_OK;
}

void mdc_mapped_file_resize(const mdc_mappings *mappings, mdc_mapped_file *file, int proc, const mdc_region *region) {
    char path[64];
    mdc_statx_facts facts;
    if ((file->flags & MDC_MAPPED_NO_STAT) != 0) return;
    map_files_path(path, sizeof path, region->base, region->base + region->size);
    bool found = facts_of(proc, path, 0, &facts) && facts.inode == region->inode;
    if (!found && region->name_id != 0 && (file->flags & MDC_MAPPED_SLOW) == 0) {
        mdc_name name = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
        mdc_map_record record = {
            .inode = region->inode, .dev_major = region->dev_major, .dev_minor = region->dev_minor};
        found = stat_by_path(proc, &mdc_vec_at(&mappings->pool, uint8_t, name.offset), name.size, &record, &facts);
    }
    if (found && S_ISREG(facts.mode)) file->size = facts.size;
}

/* The file of a region that is about to be opened. maps can show another device and inode than /proc/locks: that of
 * the lower file of overlayfs, before Linux 6.8. */
static bool must_not_open(mdc_mappings *mappings, int proc, const mdc_region *region, const mdc_statx_facts *facts) {
    mdc_noopen *noopen = &mappings->noopen;
    mdc_error ignored; /* without memory or descriptors to find out, none is opened */
    mdc_error_clear(&ignored);
    if (!noopen->known && mdc_noopen_read(noopen, proc, &ignored) != MDC_OK) return true;
    int64_t number = mdc_mapped_file_find(mappings, region->dev_major, region->dev_minor, region->inode);
    bool memory = number >= 0 &&
                  (mdc_vec_at(&mappings->files, const mdc_mapped_file, (size_t)number).flags & MDC_MAPPED_MEMORY) != 0;
    return mdc_noopen_has(noopen, region->dev_major, region->dev_minor, region->inode, !memory) ||
           mdc_noopen_has(noopen, facts->dev_major, facts->dev_minor, facts->inode, !memory);
}

int mdc_mapped_file_reopen(mdc_mappings *mappings, int proc, const mdc_region *region, uint64_t *budget) {
    if (region->name_id == 0 || (region->flags & MDC_REGION_SLOW_FILE) != 0) return -1;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    const uint8_t *bytes = &mdc_vec_at(&mappings->pool, uint8_t, name.offset);
    mdc_map_record record = {.inode = region->inode, .dev_major = region->dev_major, .dev_minor = region->dev_minor};
    int directory = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = -1;
    DIR *list = directory >= 0 ? fdopendir(directory) : NULL;
    if (list == NULL && directory >= 0) close(directory);
    const struct dirent *entry;
    while (list != NULL && found < 0 && *budget > 0 && (entry = readdir(list)) != NULL) {
        char target[PATH_MAX];
        mdc_statx_facts facts;
        --*budget;
        /* By its name first: to look at a file could mean to wait for a server, to read a link does not. */
        ssize_t size = readlinkat(directory, entry->d_name, target, sizeof target);
        if (size < (ssize_t)name.size || memcmp(target, bytes, name.size) != 0) continue;
        if (!facts_of(directory, entry->d_name, 0, &facts) || !is_file(&facts, &record) || !S_ISREG(facts.mode))
            continue;
        if (must_not_open(mappings, proc, region, &facts)) break;
        found = openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    }
    if (list != NULL) closedir(list);
    return found;
}

bool mdc_mapped_file_stays(const mdc_mappings *mappings, int proc, const mdc_region *region) {
    mdc_statx_facts facts;
    if (region->name_id == 0 || (region->flags & MDC_REGION_SLOW_FILE) != 0) return false;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    mdc_map_record record = {.inode = region->inode, .dev_major = region->dev_major, .dev_minor = region->dev_minor};
    return stat_by_path(proc, &mdc_vec_at(&mappings->pool, uint8_t, name.offset), name.size, &record, &facts) &&
           S_ISREG(facts.mode);
}

static int open_file(mdc_mappings *mappings, int proc, const mdc_region *region) {
    const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    char path[PATH_MAX + 8];
    mdc_statx_facts facts;
    if ((region->flags & MDC_REGION_SLOW_FILE) != 0) return -1;
    /* Looked at before it is opened: opening a FIFO or a device could do something. */
    map_files_path(path, sizeof path, region->base, region->base + region->size);
    if (facts_of(proc, path, 0, &facts)) {
        if (!S_ISREG(facts.mode) || must_not_open(mappings, proc, region, &facts)) return -1;
        int linked = openat(proc, path, flags);
        if (linked >= 0) return linked;
    }
    if (region->name_id == 0) return -1;
    mdc_name name = mdc_vec_at(&mappings->names, mdc_name, region->name_id - 1);
    if (!root_path(&mdc_vec_at(&mappings->pool, uint8_t, name.offset), name.size, path, sizeof path)) return -1;
    mdc_map_record record = {.inode = region->inode, .dev_major = region->dev_major, .dev_minor = region->dev_minor};
    if (!facts_of(proc, path, AT_SYMLINK_NOFOLLOW, &facts) || !is_file(&facts, &record) || !S_ISREG(facts.mode) ||
        must_not_open(mappings, proc, region, &facts))
        return -1;
    int fd = openat(proc, path, flags | O_NOFOLLOW);
    if (fd >= 0 && (!facts_of(fd, "", AT_EMPTY_PATH, &facts) || !is_file(&facts, &record))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int mdc_mapped_file_open(mdc_mappings *mappings, int proc, const mdc_region *region) {
    mdc_dump_control *control = mappings->control;
    if (control == NULL) return open_file(mappings, proc, region);
    const mdc_name none = {0, 0};
    const mdc_name *name =
        region->name_id == 0 ? &none : &mdc_vec_at(&mappings->names, const mdc_name, region->name_id - 1);
    mdc_control_name(control, (const uint8_t *)mappings->pool.data + name->offset, name->size);
    mdc_doing_before before = mdc_control_begin(control, MDC_DOING_OPEN, -1, region->base);
    int fd = open_file(mappings, proc, region);
    mdc_control_end(control, before);
    mdc_control_advance(control);
    return fd;
}
