/* Regular files below a folder, by the paths that a core has: links lead nowhere outside of it (before Linux 5.6 none
 * is followed), nothing but regular files is opened. Where a system has no way to promise that (Windows), there are no
 * files. */
#ifndef MDC_ELFCORE_ROOT_FILES_H
#define MDC_ELFCORE_ROOT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mdc_root_file {
    int fd;
    uint64_t device;
    uint64_t inode;
    uint64_t size;     /* bytes */
    int64_t changed_s; /* when it was written to last */
    int64_t changed_ns;
} mdc_root_file;

/* Whether there are files at all. */
bool mdc_root_files_known(void);
/* Opens a file by its absolute path (of `size` bytes) below root; of a name without a root (NULL) the file with that
 * very path, whose links are followed. */
bool mdc_root_file_open(mdc_root_file *file, const char *root, const uint8_t *path, size_t size);
void mdc_root_file_close(mdc_root_file *file);
/* Bytes from the start that were read. */
size_t mdc_root_file_read(const mdc_root_file *file, uint64_t offset, void *buffer, size_t size);
/* Whether both are the same file, and nothing has been written to it in between. */
bool mdc_root_file_same(const mdc_root_file *a, const mdc_root_file *b);

#endif
