/* errno (see os_error.h). */
#include "os_error.h"

#include <stdio.h>
#include <string.h>

void mdc_os_error_text(int32_t os_errno, char *text, size_t size) {
    char room[128] = "";
    /* strerror is not safe between threads; the XSI and the GNU strerror_r differ in type. */
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *name = strerror_r(os_errno, room, sizeof room);
#else
    const char *name = strerror_r(os_errno, room, sizeof room) == 0 ? room : "unknown error";
#endif
    snprintf(text, size, "%s (errno %d)", name, (int)os_errno);
}

uint32_t mdc_os_error_hresult(int32_t os_errno) {
    /* HRESULT_FROM_WIN32 of the nearest Windows error; errno numbers differ between systems, so by name. */
    static const struct {
        int32_t from;
        uint32_t windows;
    } table[] = {
        {EPERM, 5},        /* ERROR_ACCESS_DENIED */
        {EACCES, 5},       /* ERROR_ACCESS_DENIED */
        {ENOENT, 2},       /* ERROR_FILE_NOT_FOUND */
        {ESRCH, 87},       /* ERROR_INVALID_PARAMETER: what OpenProcess says of a pid that is gone */
        {EINVAL, 87},      /* ERROR_INVALID_PARAMETER */
        {ENOMEM, 14},      /* ERROR_OUTOFMEMORY */
        {ENOSPC, 112},     /* ERROR_DISK_FULL */
        {EIO, 299},        /* ERROR_PARTIAL_COPY */
        {EFAULT, 998},     /* ERROR_NOACCESS */
        {EPIPE, 109},      /* ERROR_BROKEN_PIPE */
        {EBUSY, 170},      /* ERROR_BUSY */
        {EMFILE, 4},       /* ERROR_TOO_MANY_OPEN_FILES */
        {ENFILE, 4},       /* ERROR_TOO_MANY_OPEN_FILES */
        {EAGAIN, 164},     /* ERROR_MAX_THRDS_REACHED */
        {ETIMEDOUT, 1460}, /* ERROR_TIMEOUT */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].from == os_errno) return 0x80070000u | table[i].windows;
    return 0x80004005u; /* E_FAIL */
}
