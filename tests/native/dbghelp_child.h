/* For the dbghelp tests: a Windows process to dump, which is the test program itself with the argument "child", and
 * short ways to run a session over it. */
#ifndef MDC_TESTS_DBGHELP_CHILD_H
#define MDC_TESTS_DBGHELP_CHILD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/format/minidump_file.h"
#include "../../csrc/session/session.h"
#include "check.h"

#define SECONDS(n) ((n) * UINT64_C(1000000000))

/* What the child has at addresses of its own choice: 16 pages, each full of a pattern that names its page. */
#define AREA UINT64_C(0x20000000)
enum { AREA_PAGES = 16, PAGE = 4096 };

typedef struct child {
    PROCESS_INFORMATION process;
    HANDLE ready;
    DWORD second_thread;
} child;

/* "page NN of the area" and so on, over and over. Never in one piece in the parent's memory: only the child has it. */
static void pattern_of(unsigned page, char text[32]) { snprintf(text, 32, "%s%02u%s", "<<area-", page, "-secret>>"); }

static DWORD WINAPI sleep_on(void *event) {
    WaitForSingleObject(event, INFINITE);
    return 0;
}

static int run_child(const char *ready_name) {
    char *area = VirtualAlloc((void *)(uintptr_t)AREA, AREA_PAGES * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    HANDLE ready = OpenEventA(EVENT_MODIFY_STATE, FALSE, ready_name);
    HANDLE never = CreateEventA(NULL, TRUE, FALSE, NULL);
    if (area == NULL || ready == NULL || never == NULL) return 3;
    for (unsigned page = 0; page < AREA_PAGES; page++) {
        char text[32];
        pattern_of(page, text);
        size_t size = strlen(text);
        for (size_t at = 0; at + size <= PAGE; at += size) memcpy(area + page * PAGE + at, text, size);
    }
    DWORD tid;
    HANDLE thread = CreateThread(NULL, 0, sleep_on, never, 0, &tid);
    if (thread == NULL) return 4;
    memcpy(area, &tid, sizeof tid); /* where the parent reads it */
    SetEvent(ready);
    WaitForSingleObject(never, 600 * 1000);
    return 0;
}

static child start_child(void) {
    child it;
    char name[64], path[MAX_PATH], command[MAX_PATH + 96];
    STARTUPINFOA startup = {.cb = sizeof startup};
    memset(&it, 0, sizeof it);
    snprintf(name, sizeof name, "mdc-test-child-%lu-%llu", GetCurrentProcessId(), (unsigned long long)GetTickCount64());
    it.ready = CreateEventA(NULL, TRUE, FALSE, name);
    GetModuleFileNameA(NULL, path, sizeof path);
    snprintf(command, sizeof command, "\"%s\" child %s", path, name);
    if (!CreateProcessA(path, command, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &it.process) ||
        WaitForSingleObject(it.ready, 60 * 1000) != WAIT_OBJECT_0) {
        fprintf(stderr, "the child did not come up: %lu\n", GetLastError());
        exit(1);
    }
    SIZE_T done;
    ReadProcessMemory(it.process.hProcess, (void *)(uintptr_t)AREA, &it.second_thread, sizeof it.second_thread, &done);
    return it;
}

static void stop_child(child *it) {
    TerminateProcess(it->process.hProcess, 0);
    WaitForSingleObject(it->process.hProcess, 60 * 1000);
    CloseHandle(it->process.hProcess);
    CloseHandle(it->process.hThread);
    CloseHandle(it->ready);
}

/* -- sessions
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct outcome {
    mdc_session *session;
    mdc_error err;
    const mdc_report *report; /* NULL if there is none */
    const uint8_t *bytes;     /* MDC_SINK_MEMORY */
    size_t size;
} outcome;

static outcome end_of(mdc_session *session) {
    outcome out = {.session = session};
    mdc_error_clear(&out.err);
    CHECK(mdc_session_wait(session, SECONDS(120)) == 1);
    mdc_session_result(session, &out.err);
    out.report = mdc_session_report(session);
    out.bytes = mdc_session_memory(session, &out.size);
    return out;
}

static outcome run_session(const mdc_session_spec *spec) {
    mdc_session *session = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session_start(spec, &session, &err);
    if (session != NULL) return end_of(session);
    outcome out = {.err = err};
    return out;
}

static void drop(outcome *out) {
    mdc_session_free(out->session);
    out->session = NULL;
}

static bool contains(const uint8_t *bytes, size_t size, const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; bytes != NULL && i + length <= size; i++)
        if (bytes[i] == (uint8_t)text[0] && memcmp(bytes + i, text, length) == 0) return true;
    return false;
}

static bool holds_page(const outcome *out, unsigned page) {
    char text[32];
    pattern_of(page, text);
    return contains(out->bytes, out->size, text);
}

/* The stream of a dump in memory; NULL if there is none of that type. */
static const uint8_t *stream_of(const outcome *out, uint32_t type, uint32_t *size) {
    mdc_file_header header;
    if (out->bytes == NULL || out->size < sizeof header) return NULL;
    memcpy(&header, out->bytes, sizeof header);
    for (uint32_t i = 0; i < header.stream_count; i++) {
        mdc_file_directory entry;
        if (header.directory_rva + (i + 1) * sizeof entry > out->size) return NULL;
        memcpy(&entry, out->bytes + header.directory_rva + i * sizeof entry, sizeof entry);
        if (entry.stream_type != type) continue;
        *size = entry.data_size;
        return out->bytes + entry.rva;
    }
    return NULL;
}

static uint32_t count_of(const outcome *out, uint32_t type) {
    uint32_t size = 0, count = 0;
    const uint8_t *stream = stream_of(out, type, &size);
    if (stream != NULL && size >= sizeof count) memcpy(&count, stream, sizeof count);
    return count;
}

/* -- callees ------------------------------------------------------------------------------------------------------- */

static mdc_callback *callback_of(const mdc_filter_spec *spec) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_filter *filter = mdc_filter_new(spec, &err);
    mdc_callback *callback = filter != NULL ? mdc_callback_new(filter, NULL, &err) : NULL;
    mdc_filter_release(filter);
    if (callback == NULL) fprintf(stderr, "%s\n", err.message);
    CHECK(callback != NULL);
    return callback;
}

static mdc_filter_spec open_filter(void) {
    return (mdc_filter_spec){.default_action = MDC_INCLUDE,
                             .threads_default_keep = UINT32_MAX,
                             .modules_default_keep = UINT32_MAX,
                             .tolerate_read_failures = 1,
                             .nocase = 1};
}

static void free_callback(mdc_callback *callback) {
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_callback_free(callback, &err) == MDC_OK);
}

#endif
