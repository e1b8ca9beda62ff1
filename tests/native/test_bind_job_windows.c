/* Jobs over a fake target on Windows: the dump in memory, in a file through a HANDLE, and in a pipe, byte for byte the
 * same where the kind of output allows it; the job's own duplicates; a reader that stalls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/bind/job.h"

static int failures;
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

#define SECONDS(n) ((n) * UINT64_C(1000000000))
#define MIB(n) ((n) * UINT64_C(1048576))

static const mdc_fake_region REGIONS[] = {
    {.base = 0x400000,
     .size = 0x10000,
     .state = MDC_MEM_COMMIT,
     .protect = MDC_PAGE_EXECUTE_READ,
     .type = MDC_MEM_IMAGE,
     .kinds = MDC_KIND_IMAGE,
     .touch_every = 1,
     .name = "C:\\app\\app.exe"},
    {.base = 0x1000000,
     .size = MIB(4),
     .state = MDC_MEM_COMMIT,
     .protect = MDC_PAGE_READWRITE,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS,
     .touch_every = 1},
    {.base = 0x10000000,
     .size = MIB(16),
     .state = MDC_MEM_COMMIT,
     .protect = MDC_PAGE_READWRITE,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS,
     .flags = MDC_REGION_UNTOUCHED,
     .touch_every = 64},
};

static const mdc_fake_thread THREADS[] = {
    {.tid = 100, .stack_pointer = 0x1200000, .instruction_pointer = 0x401000, .name = "main"}};
static const mdc_fake_module MODULES[] = {{.base = 0x400000, .size = 0x10000, .path = "C:\\app\\app.exe"}};

static const mdc_fake_target TARGET = {.regions = REGIONS,
                                       .region_count = sizeof REGIONS / sizeof REGIONS[0],
                                       .threads = THREADS,
                                       .thread_count = 1,
                                       .modules = MODULES,
                                       .module_count = 1,
                                       .seed = 7};

static mdc_job_spec spec_of(int32_t sink, HANDLE handle) {
    return (mdc_job_spec){.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY},
                          .fake = &TARGET,
                          .pidfd = -1,
                          .sink = sink,
                          .fd = (int64_t)(intptr_t)handle};
}

static mdc_job *start(const mdc_job_spec *spec) {
    mdc_job *job = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_job_start(spec, &job, &err) == MDC_OK);
    if (job == NULL) fprintf(stderr, "%s\n", err.message);
    return job;
}

static mdc_error end_of(mdc_job *job) {
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_job_wait(job, SECONDS(60)) == 1);
    mdc_job_result(job, &err);
    return err;
}

/* A fresh empty file of ours; deleted when the last handle is closed. */
static HANDLE open_file(void) {
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    if (GetTempPathW(MAX_PATH, folder) == 0 || GetTempFileNameW(folder, L"mdc", 0, path) == 0) return NULL;
    return CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS,
                       FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
}

static uint8_t *contents(HANDLE file, size_t *size) {
    LARGE_INTEGER length, zero = {.QuadPart = 0};
    DWORD done = 0;
    *size = 0;
    if (!GetFileSizeEx(file, &length) || !SetFilePointerEx(file, zero, NULL, FILE_BEGIN)) return NULL;
    uint8_t *bytes = malloc((size_t)length.QuadPart + 1);
    if (bytes != NULL && ReadFile(file, bytes, (DWORD)length.QuadPart, &done, NULL)) *size = done;
    return bytes;
}

/* The header's time stamp is the one thing that may differ. */
static void forget_time(uint8_t *dump, size_t size) {
    if (size >= 32) memset(dump + 20, 0, 4);
}

static void test_memory_and_file(void) {
    mdc_job_spec spec = spec_of(MDC_SINK_MEMORY, NULL);
    mdc_job *job = start(&spec);
    if (job == NULL) return;
    mdc_error err = end_of(job);
    CHECK(err.code == MDC_OK);
    size_t size = 0, file_size = 0;
    const uint8_t *memory = mdc_job_memory(job, &size);
    const mdc_report *report = mdc_job_report(job);
    CHECK(memory != NULL && report != NULL && size == report->file_bytes && memcmp(memory, "MDMP", 4) == 0);
    CHECK(report != NULL && report->memory_bytes == MIB(20) + 0x10000);

    HANDLE file = open_file();
    CHECK(file != NULL && file != INVALID_HANDLE_VALUE);
    spec = spec_of(MDC_SINK_FD, file);
    mdc_job *second = start(&spec);
    if (second != NULL) {
        err = end_of(second);
        CHECK(err.code == MDC_OK);
        uint8_t *bytes = contents(file, &file_size);
        uint8_t *copy = malloc(size);
        CHECK(bytes != NULL && copy != NULL && file_size == mdc_job_report(second)->file_bytes);
        if (bytes != NULL && copy != NULL && memory != NULL && file_size == size) {
            memcpy(copy, memory, size);
            forget_time(copy, size);
            forget_time(bytes, size);
            CHECK(memcmp(copy, bytes, size) == 0);
        }
        free(copy);
        free(bytes);
        mdc_job_free(second);
    }
    CloseHandle(file);
    mdc_job_free(job);
}

int main(void) {
    test_memory_and_file();
    if (failures == 0) puts("ok");
    return failures != 0;
}
