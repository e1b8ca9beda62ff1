/* Jobs on Windows: over a fake target the dump in memory and the one in a file through a HANDLE are the same bytes; a
 * live target is given by its pid or by a HANDLE, of which the session has a duplicate. */
#include "../../csrc/session/session.h"
#include "../support/fake.h"
#include "output_check.h"
#include "windows_target.h"

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

/* The session takes the source out of the slot. */
static mdc_session_spec spec_of(mdc_source **slot, int32_t sink, int64_t fd) {
    mdc_error err;
    mdc_error_clear(&err);
    *slot = mdc_fake_new(&TARGET, &err);
    /* Holes in both: by itself the engine leaves untouched memory out where the volume has no sparse files. */
    return (mdc_session_spec){.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY, .untouched = MDC_UNTOUCHED_HOLE},
                              .take_source = slot,
                              .pidfd = -1,
                              .sink = sink,
                              .fd = fd};
}

static mdc_session *start(const mdc_session_spec *spec) {
    mdc_session *session = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_start(spec, &session, &err) == MDC_OK);
    if (session == NULL) fprintf(stderr, "%s\n", err.message);
    return session;
}

static mdc_error end_of(mdc_session *session) {
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_wait(session, SECONDS(60)) == 1);
    mdc_session_result(session, &err);
    return err;
}

/* The header's time stamp is the one thing that may differ. */
static void forget_time(uint8_t *dump, size_t size) {
    if (size >= 32) memset(dump + 20, 0, 4);
}

static void test_memory_and_file(void) {
    mdc_source *slot;
    mdc_session_spec spec = spec_of(&slot, MDC_SINK_MEMORY, -1);
    mdc_session *session = start(&spec);
    if (session == NULL) return;
    mdc_error err = end_of(session);
    CHECK(err.code == MDC_OK);
    size_t size = 0;
    const uint8_t *memory = mdc_session_memory(session, &size);
    const mdc_report *report = mdc_session_report(session);
    CHECK(memory != NULL && report != NULL && size == report->file_bytes && memcmp(memory, "MDMP", 4) == 0);
    CHECK(report != NULL && report->memory_bytes == MIB(20) + 0x10000);

    int64_t file = output_file();
    spec = spec_of(&slot, MDC_SINK_FD, file);
    mdc_session *second = start(&spec);
    if (second != NULL) {
        err = end_of(second);
        CHECK(err.code == MDC_OK && mdc_session_report(second)->file_bytes == size);
        CHECK(output_position(file) == (int64_t)size);
        uint8_t *bytes = malloc(size + 1), *copy = malloc(size);
        CHECK(bytes != NULL && copy != NULL && memory != NULL && output_read(file, bytes, size + 1) == size);
        if (bytes != NULL && copy != NULL && memory != NULL) {
            memcpy(copy, memory, size);
            forget_time(copy, size);
            forget_time(bytes, size);
            CHECK(memcmp(copy, bytes, size) == 0);
        }
        free(copy);
        free(bytes);
        mdc_session_free(second);
    }
    output_close(file);
    mdc_session_free(session);
}

/* -- live targets -------------------------------------------------------------------------------------------------- */

static void check_live(const mdc_session_spec *spec, const child *target, HANDLE closed) {
    mdc_session *session = start(spec);
    if (closed != NULL) CloseHandle(closed); /* the session has its own */
    if (session == NULL) return;
    mdc_error err = end_of(session);
    if (err.code != MDC_OK) fprintf(stderr, "%s\n", err.message);
    const mdc_report *report = mdc_session_report(session);
    size_t size = 0;
    const uint8_t *dump = mdc_session_memory(session, &size);
    CHECK(err.code == MDC_OK && report != NULL && (uint32_t)report->pid == target->info.dwProcessId);
    CHECK(report != NULL && report->thread_count == 3 && report->module_count > 1 && report->memory_bytes > 0);
    CHECK(dump != NULL && size == report->file_bytes && memcmp(dump, "MDMP", 4) == 0);
    mdc_session_free(session);
    CHECK(runs_on(target));
}

static void test_live(const child *target) {
    HANDLE own = NULL;
    mdc_session_spec spec = {.pidfd = -1, .sink = MDC_SINK_MEMORY, .fd = -1};
    spec.pid = (int32_t)target->info.dwProcessId;
    check_live(&spec, target, NULL);
    spec.pid = 0;
    DuplicateHandle(GetCurrentProcess(), target->info.hProcess, GetCurrentProcess(), &own, 0, FALSE,
                    DUPLICATE_SAME_ACCESS);
    spec.process = (int64_t)(intptr_t)own;
    check_live(&spec, target, own);
}

static mdc_error refusal(const mdc_session_spec *spec) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session *session = NULL;
    if (mdc_session_start(spec, &session, &err) == MDC_OK) err = end_of(session);
    mdc_session_free(session);
    return err;
}

static void test_refused(const child *target) {
    mdc_session_spec spec = {.pidfd = -1, .sink = MDC_SINK_MEMORY, .fd = -1};
    CHECK(refusal(&spec).code == MDC_ERR_INVALID); /* no target at all */
    HANDLE closed = CreateEventW(NULL, TRUE, FALSE, NULL);
    CloseHandle(closed);
    spec.process = (int64_t)(intptr_t)closed;
    mdc_error err = refusal(&spec);
    CHECK(err.code == MDC_ERR_TARGET && err.os_errno == ERROR_INVALID_HANDLE && err.hresult == 0x80070006u);
    spec.process = 0;
    spec.pid = (int32_t)target->info.dwProcessId;
    spec.sink = MDC_SINK_FD;
    spec.fd = (int64_t)(intptr_t)closed;
    err = refusal(&spec);
    CHECK(err.code == MDC_ERR_SINK && err.os_errno == ERROR_INVALID_HANDLE);
    spec.fd = 0;
    err = refusal(&spec);
    CHECK(err.code == MDC_ERR_SINK && err.os_errno == ERROR_INVALID_HANDLE);
    CHECK(runs_on(target));
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "target") == 0) return pattern_main();
    child target;
    test_memory_and_file();
    begin_child(&target);
    test_live(&target);
    test_refused(&target);
    end_child(&target);
    return failures != 0;
}
