/* Outputs for tests on both systems: a file and a pipe as mdc_session_spec.fd wants them. */
#ifndef MDC_TESTS_OUTPUT_CHECK_H
#define MDC_TESTS_OUTPUT_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#include <windows.h>

enum { OUTPUT_NOT_OPEN = 6 /* ERROR_INVALID_HANDLE */ };

/* Which one depends on whether the write had begun. */
static inline bool output_lost_reader(int32_t os_errno) {
    return os_errno == ERROR_BROKEN_PIPE || os_errno == ERROR_NO_DATA;
}

static inline HANDLE output_handle(int64_t fd) { return (HANDLE)(intptr_t)fd; }

/* Empty, open for both, gone when it is closed. */
static inline int64_t output_file(void) {
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    if (GetTempPathW(MAX_PATH, folder) == 0 || GetTempFileNameW(folder, L"mdc", 0, path) == 0) abort();
    HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS,
                              FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    if (file == INVALID_HANDLE_VALUE) abort();
    return (int64_t)(intptr_t)file;
}

static inline void output_close(int64_t fd) { CloseHandle(output_handle(fd)); }

static inline int64_t output_position(int64_t fd) {
    LARGE_INTEGER zero = {.QuadPart = 0}, at;
    return SetFilePointerEx(output_handle(fd), zero, &at, FILE_CURRENT) ? at.QuadPart : -1;
}

static inline bool output_restart(int64_t fd) {
    LARGE_INTEGER zero = {.QuadPart = 0};
    return SetFilePointerEx(output_handle(fd), zero, NULL, FILE_BEGIN);
}

/* From the start of the file. */
static inline size_t output_read(int64_t fd, void *bytes, size_t size) {
    OVERLAPPED start;
    DWORD done = 0;
    memset(&start, 0, sizeof start);
    return ReadFile(output_handle(fd), bytes, (DWORD)size, &done, &start) ? done : 0;
}

/* The reading end first. */
static inline void output_pipe(int64_t ends[2]) {
    HANDLE read, write;
    if (!CreatePipe(&read, &write, NULL, 0)) abort();
    ends[0] = (int64_t)(intptr_t)read;
    ends[1] = (int64_t)(intptr_t)write;
}

/* Takes what the pipe holds. true: no writer is left. */
static inline bool output_ends(int64_t fd) {
    char buffer[4096];
    DWORD count;
    while (PeekNamedPipe(output_handle(fd), NULL, 0, NULL, &count, NULL) && count > 0)
        if (!ReadFile(output_handle(fd), buffer, sizeof buffer, &count, NULL)) return true;
    return !PeekNamedPipe(output_handle(fd), NULL, 0, NULL, &count, NULL) && GetLastError() == ERROR_BROKEN_PIPE;
}
#else
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { OUTPUT_NOT_OPEN = EBADF };

static inline bool output_lost_reader(int32_t os_errno) { return os_errno == EPIPE; }

static inline int64_t output_file(void) {
    char path[] = "/tmp/mdc_output_XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || unlink(path) != 0) abort();
    return fd;
}

static inline void output_close(int64_t fd) { close((int)fd); }
static inline int64_t output_position(int64_t fd) { return lseek((int)fd, 0, SEEK_CUR); }
static inline bool output_restart(int64_t fd) { return lseek((int)fd, 0, SEEK_SET) == 0; }

static inline size_t output_read(int64_t fd, void *bytes, size_t size) {
    size_t done = 0;
    for (ssize_t count = 1; count > 0 && done < size; done += count > 0 ? (size_t)count : 0)
        count = pread((int)fd, (char *)bytes + done, size - done, (off_t)done);
    return done;
}

static inline void output_pipe(int64_t ends[2]) {
    int both[2];
    if (pipe(both) != 0) abort();
    ends[0] = both[0];
    ends[1] = both[1];
}

static inline bool output_ends(int64_t fd) {
    char buffer[4096];
    ssize_t count;
    if (fcntl((int)fd, F_SETFL, O_NONBLOCK) != 0) abort();
    while ((count = read((int)fd, buffer, sizeof buffer)) > 0) continue;
    return count == 0;
}
#endif

#endif
