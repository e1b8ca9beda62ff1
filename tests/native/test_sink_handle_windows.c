/* Sinks on a HANDLE: files (position, patches, holes, what stood there before), what is only written forwards, readers
 * that stall or go, and handles that are no output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../../csrc/base/clock.h"
#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/sink/sink.h"
#include "check.h"

#define MS(n) ((n) * UINT64_C(1000000))

enum { BYTES = 300000 };

static WCHAR path[MAX_PATH];

static mdc_dump_control *control_of(uint64_t deadline_ms) {
    static mdc_dump_control control;
    mdc_control_init(&control, deadline_ms != 0 ? mdc_clock_ns() + MS(deadline_ms) : 0);
    return &control;
}

static HANDLE open_with(DWORD access, DWORD how, DWORD flags) {
    HANDLE file = CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, how, flags, NULL);
    CHECK(file != INVALID_HANDLE_VALUE);
    return file;
}

static mdc_sink *sink_on(HANDLE handle, mdc_dump_control *control) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_fd_new((intptr_t)handle, control, &err);
    CHECK(sink != NULL && err.code == MDC_OK);
    if (sink == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    CHECK(sink->fd == (intptr_t)handle);
    return sink;
}

static uint8_t *pattern(void) {
    static uint8_t bytes[BYTES];
    for (size_t i = 0; i < BYTES; i++) bytes[i] = (uint8_t)(i * 31 + i / 251 + 1);
    return bytes;
}

/* All of the file, through a handle of its own. */
static uint8_t *contents(size_t *size) {
    HANDLE file = open_with(GENERIC_READ, OPEN_EXISTING, 0);
    LARGE_INTEGER length = {.QuadPart = 0};
    DWORD done = 0;
    GetFileSizeEx(file, &length);
    uint8_t *bytes = calloc(1, (size_t)length.QuadPart + 1);
    CHECK(bytes != NULL && ReadFile(file, bytes, (DWORD)length.QuadPart, &done, NULL));
    CloseHandle(file);
    *size = done;
    return bytes;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0) return false;
    return true;
}

static int64_t position_of(HANDLE file) {
    LARGE_INTEGER zero = {.QuadPart = 0}, at = {.QuadPart = -1};
    SetFilePointerEx(file, zero, &at, FILE_CURRENT);
    return at.QuadPart;
}

/* A dump behind 7 bytes in a file that holds old bytes: written, a hole, a patch, cut to its length. `sparse` as the
 * volume has it or forced. */
static void test_file(DWORD flags, int sparse) {
    mdc_error err;
    const uint8_t *bytes = pattern();
    uint8_t old[4096];
    memset(old, 0xEE, sizeof old);
    HANDLE file = open_with(GENERIC_READ | GENERIC_WRITE, CREATE_ALWAYS, 0);
    DWORD done;
    for (int i = 0; i < 200; i++) CHECK(WriteFile(file, old, sizeof old, &done, NULL));
    CloseHandle(file);
    file = open_with(GENERIC_READ | GENERIC_WRITE, OPEN_EXISTING, flags);
    LARGE_INTEGER seven = {.QuadPart = 7};
    CHECK(SetFilePointerEx(file, seven, NULL, FILE_BEGIN));

    mdc_error_clear(&err);
    mdc_sink *sink = sink_on(file, control_of(0));
    CHECK(sink->patchable);
    if (sparse >= 0) sink->sparse = sparse != 0;
    CHECK(sink->ops->begin(sink, BYTES + 200000 + 5, BYTES + 200000 + 5, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, bytes, BYTES, &err) == MDC_OK && sink->position == BYTES);
    CHECK(sink->ops->hole(sink, 200000, &err) == MDC_OK && sink->position == BYTES + 200000);
    CHECK(sink->ops->write(sink, "tail.", 5, &err) == MDC_OK);
    CHECK(sink->ops->patch(sink, 0, "MDMP", 4, &err) == MDC_OK);
    CHECK(sink->ops->patch(sink, BYTES + 200000, "T", 1, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "x", 1, &err) == MDC_ERR_INVALID); /* it is finished */
    sink->ops->free(sink);
    CHECK(position_of(file) == 7 + BYTES + 200000 + 5);
    CloseHandle(file);

    size_t size;
    uint8_t *got = contents(&size);
    CHECK(size == 7 + BYTES + 200000 + 5);
    if (size == 7 + BYTES + 200000 + 5) {
        CHECK(memcmp(got, old, 7) == 0 && memcmp(got + 7, "MDMP", 4) == 0);
        CHECK(memcmp(got + 11, bytes + 4, BYTES - 4) == 0);
        CHECK(all_zero(got + 7 + BYTES, 200000));
        CHECK(memcmp(got + 7 + BYTES + 200000, "Tail.", 5) == 0);
    }
    free(got);
}

/* A hole at the end is length, not bytes; and patches reach only what is there. */
static void test_trailing_hole(int sparse) {
    mdc_error err;
    mdc_error_clear(&err);
    HANDLE file = open_with(GENERIC_WRITE, CREATE_ALWAYS, 0);
    mdc_sink *sink = sink_on(file, control_of(0));
    sink->sparse = sparse != 0;
    CHECK(sink->ops->write(sink, "abc", 3, &err) == MDC_OK && sink->ops->hole(sink, 100000, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, false, &err) == MDC_OK);
    sink->ops->free(sink);
    size_t size;
    uint8_t *got = contents(&size);
    CHECK(size == 100003 && memcmp(got, "abc", 3) == 0 && all_zero(got + 3, size - 3));
    free(got);
    sink = sink_on(file, control_of(0));
    CHECK(sink->ops->patch(sink, 0, "x", 1, &err) == MDC_ERR_INVALID);
    sink->ops->free(sink);
    CloseHandle(file);
}

static void test_limits_and_fail_points(void) {
    mdc_error err;
    HANDLE file = open_with(GENERIC_WRITE, CREATE_ALWAYS, 0);
    LARGE_INTEGER end = {.QuadPart = INT64_MAX - 10}, zero = {.QuadPart = 0};
    if (SetFilePointerEx(file, end, NULL, FILE_BEGIN)) {
        mdc_error_clear(&err);
        mdc_sink *sink = sink_on(file, control_of(0));
        CHECK(sink->ops->write(sink, pattern(), 100, &err) == MDC_ERR_SINK && err.os_errno == ERROR_FILE_TOO_LARGE);
        sink->ops->free(sink);
    }
    SetFilePointerEx(file, zero, NULL, FILE_BEGIN);
    static const char *const points[] = {"write:chunk", "write:patch", "sink:finish"};
    for (size_t i = 0; i < 3; i++) {
        char spec[64];
        snprintf(spec, sizeof spec, "%s:1:%d", points[i], (int)ERROR_DISK_FULL);
        mdc_failpoint_set(spec);
        mdc_error_clear(&err);
        mdc_sink *sink = sink_on(file, control_of(0));
        mdc_status status = sink->ops->write(sink, "abcd", 4, &err);
        if (status == MDC_OK) status = sink->ops->patch(sink, 0, "x", 1, &err);
        if (status == MDC_OK) status = sink->ops->finish(sink, true, &err);
        CHECK(status == MDC_ERR_SINK && err.os_errno == ERROR_DISK_FULL && err.hresult == 0x80070070u);
        CHECK(strstr(err.message, "(error 112)") != NULL);
        mdc_error again;
        mdc_error_clear(&again);
        CHECK(sink->ops->write(sink, "y", 1, &again) == MDC_ERR_SINK); /* the first fault stays */
        sink->ops->free(sink);
        mdc_failpoint_set("");
    }
    CloseHandle(file);
}

/* Rights decide: a handle that may only append is a stream, one that may only read is none. */
static void test_rights(void) {
    mdc_error err;
    size_t size;
    mdc_error_clear(&err);
    HANDLE file = open_with(GENERIC_WRITE, CREATE_ALWAYS, 0);
    DWORD done;
    CHECK(WriteFile(file, "12345", 5, &done, NULL));
    CloseHandle(file);
    file = open_with(FILE_APPEND_DATA | SYNCHRONIZE, OPEN_EXISTING, 0);
    mdc_sink *sink = sink_on(file, control_of(0));
    CHECK(!sink->patchable && !sink->sparse);
    CHECK(sink->ops->write(sink, "ab", 2, &err) == MDC_OK && sink->ops->hole(sink, 3, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "cd", 2, &err) == MDC_OK && sink->ops->finish(sink, true, &err) == MDC_OK);
    CHECK(sink->position == 7);
    sink->ops->free(sink);
    CloseHandle(file);
    uint8_t *got = contents(&size);
    CHECK(size == 12 && memcmp(got, "12345ab\0\0\0cd", 12) == 0);
    free(got);

    file = open_with(GENERIC_READ, OPEN_EXISTING, 0);
    CHECK(mdc_sink_fd_new((intptr_t)file, control_of(0), &err) == NULL && err.code == MDC_ERR_SINK);
    CHECK(err.os_errno == ERROR_ACCESS_DENIED && err.hresult == 0x80070005u);
    CloseHandle(file);

    file = open_with(GENERIC_WRITE, OPEN_EXISTING, FILE_FLAG_NO_BUFFERING);
    mdc_error_clear(&err);
    sink = mdc_sink_fd_new((intptr_t)file, control_of(0), &err);
    if (sink != NULL) puts("this system does not tell unbuffered handles"), sink->ops->free(sink);
    CHECK(sink != NULL || (err.code == MDC_ERR_SINK && strstr(err.message, "FILE_FLAG_NO_BUFFERING") != NULL));
    CloseHandle(file);

    mdc_error_clear(&err);
    CHECK(mdc_sink_fd_new((intptr_t)file, control_of(0), &err) == NULL && err.code == MDC_ERR_SINK); /* closed */
    CHECK(err.os_errno == ERROR_INVALID_HANDLE);
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    mdc_error_clear(&err);
    CHECK(mdc_sink_fd_new((intptr_t)event, control_of(0), &err) == NULL && err.code == MDC_ERR_SINK); /* no file */
    CloseHandle(event);
}

/* -- pipes --------------------------------------------------------------------------------------------------------- */

typedef struct reader {
    HANDLE pipe;
    size_t most; /* bytes after which it goes away */
    uint8_t *bytes;
    size_t size;
} reader;

static DWORD WINAPI read_all(void *argument) {
    reader *r = argument;
    DWORD done;
    while (r->size < r->most && ReadFile(r->pipe, r->bytes + r->size,
                                         (DWORD)(r->most - r->size < 5000 ? r->most - r->size : 5000), &done, NULL))
        r->size += done;
    CloseHandle(r->pipe);
    return 0;
}

/* Two ends; `overlapped`: the writing one was opened for overlapped I/O. */
static void make_pipe(HANDLE *read, HANDLE *write, bool overlapped) {
    static int number;
    WCHAR name[64];
    swprintf(name, 64, L"\\\\.\\pipe\\mdc-%lu-%d", (unsigned long)GetCurrentProcessId(), number++);
    *read = CreateNamedPipeW(name, PIPE_ACCESS_INBOUND, PIPE_TYPE_BYTE | PIPE_WAIT, 1, 4096, 4096, 0, NULL);
    *write = CreateFileW(name, GENERIC_WRITE, 0, NULL, OPEN_EXISTING, overlapped ? FILE_FLAG_OVERLAPPED : 0, NULL);
    CHECK(*read != INVALID_HANDLE_VALUE && *write != INVALID_HANDLE_VALUE);
}

static void test_pipe(bool overlapped, size_t most) {
    mdc_error err;
    mdc_error_clear(&err);
    HANDLE read, write;
    make_pipe(&read, &write, overlapped);
    reader r = {.pipe = read, .most = most, .bytes = calloc(1, most)};
    HANDLE thread = CreateThread(NULL, 0, read_all, &r, 0, NULL);
    mdc_sink *sink = sink_on(write, control_of(0));
    CHECK(!sink->patchable && !sink->sparse);
    mdc_status status = sink->ops->write(sink, pattern(), BYTES, &err);
    if (status == MDC_OK) status = sink->ops->hole(sink, 100000, &err);
    if (status == MDC_OK) status = sink->ops->write(sink, "end", 3, &err);
    bool whole = most > BYTES;
    if (whole) {
        CHECK(status == MDC_OK && sink->position == BYTES + 100003 && sink->ops->finish(sink, true, &err) == MDC_OK);
        CHECK(sink->ops->patch(sink, 0, "x", 1, &err) == MDC_ERR_INVALID);
    } else {
        CHECK(status == MDC_ERR_SINK && strstr(err.message, "the reader closed") != NULL);
    }
    sink->ops->free(sink);
    CloseHandle(write);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    CHECK(r.size == (whole ? BYTES + 100003 : most));
    CHECK(memcmp(r.bytes, pattern(), whole ? BYTES : r.size) == 0);
    if (whole) CHECK(all_zero(r.bytes + BYTES, 100000) && memcmp(r.bytes + BYTES + 100000, "end", 3) == 0);
    free(r.bytes);
}

static DWORD WINAPI cancel_soon(void *argument) {
    Sleep(200);
    mdc_control_abort(argument, MDC_ABORT_CANCEL);
    return 0;
}

/* Nobody reads: the deadline, or a cancel from another thread, ends the write. */
static void test_stalled(bool overlapped, bool cancel) {
    mdc_error err;
    mdc_error_clear(&err);
    HANDLE read, write;
    make_pipe(&read, &write, overlapped);
    mdc_dump_control *control = control_of(cancel ? 0 : 300);
    mdc_sink *sink = sink_on(write, control);
    HANDLE thread = cancel ? CreateThread(NULL, 0, cancel_soon, control, 0, NULL) : NULL;
    CHECK(sink->ops->write(sink, pattern(), BYTES, &err) == (cancel ? MDC_ERR_CANCELLED : MDC_ERR_DEADLINE));
    CHECK(sink->position < BYTES);
    sink->ops->free(sink);
    CloseHandle(write);
    CloseHandle(read);
    if (thread != NULL) {
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
    }
}

/* A pipe that does not wait: slow readers get it all. */
static void test_nowait(void) {
    mdc_error err;
    mdc_error_clear(&err);
    HANDLE read, write;
    make_pipe(&read, &write, false);
    DWORD mode = PIPE_READMODE_BYTE | PIPE_NOWAIT;
    CHECK(SetNamedPipeHandleState(write, &mode, NULL, NULL));
    reader r = {.pipe = read, .most = BYTES + 1, .bytes = calloc(1, BYTES + 1)};
    HANDLE thread = CreateThread(NULL, 0, read_all, &r, 0, NULL);
    mdc_sink *sink = sink_on(write, control_of(30000));
    CHECK(sink->ops->write(sink, pattern(), BYTES, &err) == MDC_OK);
    sink->ops->free(sink);
    CloseHandle(write);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    CHECK(r.size == BYTES && memcmp(r.bytes, pattern(), BYTES) == 0);
    free(r.bytes);
}

static void test_devices(void) {
    mdc_error err;
    mdc_error_clear(&err);
    HANDLE nul = CreateFileW(L"NUL", GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    mdc_sink *sink = sink_on(nul, control_of(0));
    CHECK(!sink->patchable);
    CHECK(sink->ops->write(sink, pattern(), BYTES, &err) == MDC_OK && sink->ops->finish(sink, true, &err) == MDC_OK);
    sink->ops->free(sink);
    CloseHandle(nul);
}

int main(void) {
    WCHAR folder[MAX_PATH];
    if (GetTempPathW(MAX_PATH, folder) == 0 || GetTempFileNameW(folder, L"mdc", 0, path) == 0) return 1;
    test_file(0, -1);
    test_file(0, 1);
    test_file(FILE_FLAG_OVERLAPPED, 1);
    test_file(0, 0);
    test_trailing_hole(0);
    test_trailing_hole(1);
    test_limits_and_fail_points();
    test_rights();
    test_pipe(false, BYTES + 100003);
    test_pipe(true, BYTES + 100003);
    test_pipe(false, 70000);
    test_pipe(true, 70000);
    test_stalled(true, false);
    test_stalled(true, true);
    test_stalled(false, false);
    test_stalled(false, true);
    test_nowait();
    test_devices();
    DeleteFileW(path);
    if (failures == 0) puts("ok");
    return failures != 0;
}
