/* Sees what is flushed to the disk: takes the place of the system's function, which it does not call. */
#ifndef MDC_TESTS_FLUSH_CHECK_H
#define MDC_TESTS_FLUSH_CHECK_H

#include <stdint.h>

static struct {
    int calls;
    intptr_t fd;      /* of the last call: a descriptor or HANDLE */
    int64_t size;     /* of the file then */
    int32_t os_errno; /* not 0: it fails with that */
} flushed;

#if defined(_WIN32)
#include <windows.h>

static BOOL WINAPI flush_is_seen(HANDLE file) {
    LARGE_INTEGER size = {.QuadPart = -1};
    GetFileSizeEx(file, &size);
    flushed.calls++;
    flushed.fd = (intptr_t)file;
    flushed.size = size.QuadPart;
    SetLastError((DWORD)flushed.os_errno);
    return flushed.os_errno == 0;
}
#if defined(_WIN64)
BOOL(WINAPI *imported_flush)(HANDLE) __asm__("__imp_FlushFileBuffers") = flush_is_seen;
#else
BOOL(WINAPI *imported_flush)(HANDLE) __asm__("__imp__FlushFileBuffers@4") = flush_is_seen;
#endif
#else
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int fsync(int fd) {
    struct stat about;
    flushed.calls++;
    flushed.fd = fd;
    flushed.size = fstat(fd, &about) == 0 ? about.st_size : -1;
    errno = flushed.os_errno;
    return flushed.os_errno == 0 ? 0 : -1;
}
#endif

#endif
