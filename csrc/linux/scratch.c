/* Files of /proc for the tracer (see scratch.h). */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void mdc_scratch_close(_Atomic int *scratch) {
    int file = atomic_exchange(scratch, -1);
    if (file >= 0) close(file);
}

int mdc_scratch_reread(int file, char *text, size_t size) {
    size_t used = 0;
    int os_errno = 0;
    ssize_t got;
    /* Once: the kernel makes the one record of such a file whole, and what does not fit is not wanted. */
    do got = pread(file, text, size - 1, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) os_errno = errno;
    if (got > 0) used = (size_t)got;
    text[used] = '\0';
    return os_errno != 0 ? os_errno : used == 0 ? ESRCH : 0;
}

int mdc_scratch_read(_Atomic int *scratch, int directory, const char *path, char *text, size_t size) {
    int file = openat(directory, path, O_RDONLY | O_CLOEXEC), os_errno = errno;
    atomic_store(scratch, file);
    text[0] = '\0';
    if (file < 0) return os_errno;
    os_errno = mdc_scratch_reread(file, text, size);
    mdc_scratch_close(scratch);
    return os_errno;
}

int32_t mdc_scratch_number(const char *status, const char *field) {
    const char *at = strstr(status, field);
    return at == NULL ? 0 : (int32_t)strtol(at + strlen(field), NULL, 10);
}

char mdc_scratch_state(const char *status) {
    static const char field[] = "\nState:\t";
    const char *at = strstr(status, field);
    return at == NULL || at[sizeof field - 1] == '\0' ? '?' : at[sizeof field - 1];
}
