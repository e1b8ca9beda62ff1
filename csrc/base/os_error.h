/* The system's own error numbers, as mdc_error.os_errno, mdc_gap.os_errno and the sources carry them: errno on POSIX,
 * GetLastError() on Windows. */
#ifndef MDC_BASE_OS_ERROR_H
#define MDC_BASE_OS_ERROR_H

#include <stddef.h>
#include <stdint.h>

/* What code for every system has to say itself. */
#if defined(_WIN32)
enum {
    MDC_OS_FAULT = 998,     /* ERROR_NOACCESS */
    MDC_OS_IO = 299,        /* ERROR_PARTIAL_COPY: what ReadProcessMemory says */
    MDC_OS_NO_SPACE = 112,  /* ERROR_DISK_FULL */
    MDC_OS_TOO_LARGE = 223, /* ERROR_FILE_TOO_LARGE */
    MDC_OS_NO_MEMORY = 8,   /* ERROR_NOT_ENOUGH_MEMORY */
};
#else
#include <errno.h>
enum {
    MDC_OS_FAULT = EFAULT,
    MDC_OS_IO = EIO,
    MDC_OS_NO_SPACE = ENOSPC,
    MDC_OS_TOO_LARGE = EFBIG,
    MDC_OS_NO_MEMORY = ENOMEM,
};
#endif

/* The system's sentence for it and the number, as in "No space left on device (errno 28)" or "There is not enough space
 * on the disk (error 112)": UTF-8, terminated, cut to `size` bytes. */
void mdc_os_error_text(int32_t os_errno, char *text, size_t size);

/* HRESULT_FROM_WIN32 of it, on POSIX of the Windows error nearest to it; MDC_E_FAIL if none is near. */
uint32_t mdc_os_error_hresult(int32_t os_errno);

#endif
