#include "view.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../source/elf_image.h"
#include "mapfiles.h"
#include "statx.h"

static mdc_status read_memory(void *context, uint64_t address, void *to, size_t size, size_t *done, mdc_error *err) {
    mdc_live_view *live = context;
    const mdc_span span = {address, size};
    int32_t os_errno;
    return mdc_memory_read(live->memory, live->mappings, &span, 1, to, done, &os_errno, err);
}

mdc_target_view mdc_live_view_of(mdc_live_view *live) {
    mdc_mappings *mappings = live->mappings;
    return (mdc_target_view){.regions = &mappings->regions,
                             .names = &mappings->names,
                             .pool = &mappings->pool,
                             .read = read_memory,
                             .context = live,
                             .control = mappings->control};
}

static mdc_status read_file(void *context, uint64_t offset, void *to, size_t size, size_t *done, mdc_error *err) {
    (void)err;
    ssize_t got = offset <= INT64_MAX ? pread(*(const int *)context, to, size, (off_t)offset) : 0;
    *done = got > 0 ? (size_t)got : 0;
    return MDC_OK;
}

static mdc_status identify(void *context, const mdc_region *head, uint64_t start, mdc_module *module, mdc_error *err) {
    mdc_live_view *live = context;
    if (head->inode == 0) return MDC_OK;
    int fd = mdc_mapped_file_open(live->mappings, live->proc, head);
    if (fd < 0) return MDC_OK;
    const mdc_image_reader file = {.read = read_file, .context = &fd, .base = start, .file = true};
    mdc_status status = mdc_elf_image_identify(&file, module, err);
    close(fd);
    return status;
}

static void executable(void *context, uint8_t *path, size_t room, size_t *size) {
    const mdc_live_view *live = context;
    ssize_t got = readlinkat(live->proc, "exe", (char *)path, room);
    *size = got > 0 ? (size_t)got : 0;
}

static bool executable_file(void *context, mdc_region *file) {
    const mdc_live_view *live = context;
    mdc_statx_facts exe;
    if (mdc_statx(live->proc, "exe", AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, MDC_STATX_INO, &exe) != 0) return false;
    *file = (mdc_region){.inode = exe.inode, .dev_major = exe.dev_major, .dev_minor = exe.dev_minor};
    return true;
}

mdc_status mdc_live_modules_find(mdc_vec *modules, mdc_live_view *live, uint64_t phdr, mdc_error *err) {
    const mdc_module_ops ops = {identify, executable, executable_file, live};
    const mdc_target_view view = mdc_live_view_of(live);
    return mdc_modules_find(modules, &view, &ops, phdr, err);
}
