#include "root_files.h"

bool mdc_root_files_known(void) { return false; }

bool mdc_root_file_open(mdc_root_file *file, const char *root, const uint8_t *path, size_t size) {
    (void)root;
    (void)path;
    (void)size;
    file->fd = -1;
    return false;
}

void mdc_root_file_close(mdc_root_file *file) { file->fd = -1; }

size_t mdc_root_file_read(const mdc_root_file *file, uint64_t offset, void *buffer, size_t size) {
    (void)file;
    (void)offset;
    (void)buffer;
    (void)size;
    return 0;
}

bool mdc_root_file_same(const mdc_root_file *a, const mdc_root_file *b) { return a->fd == b->fd; }
