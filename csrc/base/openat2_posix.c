#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "openat2.h"

/* struct open_how and the number of the call: of linux/openat2.h, which older systems do not have. */
int mdc_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve) {
    enum { OPENAT2 = 437 };
    const struct {
        uint64_t flags, mode, resolve;
    } how = {flags, 0, resolve};
    return (int)syscall(OPENAT2, folder, path, &how, sizeof how);
}

int32_t mdc_open_directory_without_links(const char *path) {
    return mdc_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, MDC_RESOLVE_NO_SYMLINKS);
}
