/* Dumps of a real Windows process by the system's own dbghelp, through a session: filters on threads, modules and
 * memory, every kind of output, and what cannot be dumped. Under Wine dbghelp asks about modules and threads only, so
 * this is also the test that nothing excluded gets out of an engine that does not ask. */
#include "dbghelp_child.h"

static const mdc_dbghelp_options DBGHELP = {.snapshot = 0};

static mdc_session_spec spec_for(const child *it, uint64_t type) {
    return (mdc_session_spec){.engine = {.dump_type = type},
                              .dbghelp = &DBGHELP,
                              .pid = (int32_t)it->process.dwProcessId,
                              .pidfd = -1,
                              .sink = MDC_SINK_MEMORY};
}

static void test_plain(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    outcome out = run_session(&spec);
    if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
    CHECK(out.err.code == MDC_OK && out.report != NULL && out.size > 0 && out.report->file_bytes == out.size);
    if (out.report != NULL) {
        CHECK(out.report->thread_count == count_of(&out, MDC_STREAM_TYPE_THREAD_LIST));
        CHECK(out.report->module_count == count_of(&out, MDC_STREAM_TYPE_MODULE_LIST));
        CHECK(out.report->thread_count >= 2 && out.report->module_count >= 3);
        CHECK(out.report->region_count > 10 && out.report->extent_count > 0 && out.report->pid == spec.pid);
        CHECK(out.report->calls[MDC_CB_MODULE] >= 3 && out.report->calls[MDC_CB_THREAD] >= 2);
        CHECK(out.report->warnings == 0); /* there was no callee */
        unsigned stacks = 0, heaps = 0, named = 0;
        for (size_t i = 0; i < out.report->region_count; i++) {
            stacks += (out.report->regions[i].kinds & MDC_KIND_STACK) != 0;
            heaps += (out.report->regions[i].kinds & MDC_KIND_HEAP) != 0;
            named += out.report->regions[i].type == MDC_MEM_IMAGE && out.report->regions[i].name_size > 4;
        }
        CHECK(stacks >= 2 && heaps >= 1 && named > 3);
    }
    drop(&out);
}

static void test_threads_and_modules(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    outcome all = run_session(&spec);
    mdc_filter_spec filter = open_filter();
    const mdc_thread_rule thread = {.tid = it->second_thread, .keep = 0};
    const mdc_module_rule module = {.glob = {(const uint8_t *)"*/KERNEL32.dll", 14}, .keep = 0};
    filter.threads = &thread;
    filter.thread_count = 1;
    filter.modules = &module;
    filter.module_count = 1;
    spec.callback = callback_of(&filter);
    outcome some = run_session(&spec);
    if (some.err.code != MDC_OK) fprintf(stderr, "%s\n", some.err.message);
    CHECK(all.err.code == MDC_OK && some.err.code == MDC_OK);
    CHECK(count_of(&some, MDC_STREAM_TYPE_THREAD_LIST) + 1 == count_of(&all, MDC_STREAM_TYPE_THREAD_LIST));
    CHECK(count_of(&some, MDC_STREAM_TYPE_MODULE_LIST) + 1 == count_of(&all, MDC_STREAM_TYPE_MODULE_LIST));
    unsigned excluded = 0;
    for (size_t i = 0; some.report != NULL && i < some.report->thread_count; i++)
        if (some.report->threads[i].tid == it->second_thread)
            excluded += (some.report->threads[i].flags & MDC_THREAD_EXCLUDED) != 0;
    CHECK(excluded == 1);
    excluded = 0;
    for (size_t i = 0; some.report != NULL && i < some.report->module_count; i++)
        excluded += some.report->modules[i].flags == 0 && some.report->modules[i].path_size > 12;
    CHECK(excluded == 1);
    CHECK(some.report != NULL &&
          mdc_session_counters(some.session).calls[MDC_CB_THREAD] == some.report->calls[MDC_CB_THREAD]);
    drop(&all);
    drop(&some);
    free_callback(spec.callback);
}

/* Pages 4 to 7 of the area are excluded; whatever the engine asks, they are not in the dump. */
static void test_memory(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
    outcome all = run_session(&spec);
    CHECK(all.err.code == MDC_OK);
    for (unsigned page = 0; page < AREA_PAGES; page++) CHECK(holds_page(&all, page));
    mdc_filter_spec filter = open_filter();
    const mdc_rule rule = {
        .action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 4 * PAGE, AREA + 8 * PAGE}};
    filter.rules = &rule;
    filter.rule_count = 1;
    spec.callback = callback_of(&filter);
    outcome some = run_session(&spec);
    if (some.err.code != MDC_OK) fprintf(stderr, "%s\n", some.err.message);
    CHECK(some.err.code == MDC_OK);
    for (unsigned page = 0; page < AREA_PAGES; page++) CHECK(holds_page(&some, page) == (page < 4 || page >= 8));
    uint64_t kept[2] = {0, 0}, excluded[2] = {0, 0}, area = 0;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(some.session != NULL && mdc_session_rule_stats_get(some.session, kept, excluded, 2, &err) == MDC_OK);
    CHECK(excluded[0] == 4 * PAGE && kept[0] == 0 && kept[1] > 0);
    for (size_t i = 0; some.report != NULL && i < some.report->extent_count; i++) {
        const mdc_extent *extent = &some.report->extents[i];
        if (extent->address < AREA || extent->address >= AREA + AREA_PAGES * PAGE) continue;
        area += extent->size;
        char text[32];
        pattern_of((unsigned)((extent->address - AREA) / PAGE), text);
        CHECK(contains(some.bytes + extent->file_offset, PAGE, text));
    }
    CHECK(area == 12 * PAGE);
    drop(&all);
    drop(&some);
    free_callback(spec.callback);
}

static void test_redaction(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
    mdc_filter_spec filter = open_filter();
    char text[32];
    pattern_of(9, text);
    const mdc_bytes pattern = {(const uint8_t *)text, strlen(text)};
    filter.patterns = &pattern;
    filter.pattern_count = 1;
    spec.callback = callback_of(&filter);
    outcome out = run_session(&spec);
    if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
    CHECK(out.err.code == MDC_OK && out.size > 0 && !holds_page(&out, 9) && holds_page(&out, 10));
    CHECK(out.session != NULL && mdc_session_counters(out.session).scrubbed_hits >= PAGE / strlen(text));
    drop(&out);
    free_callback(spec.callback);
}

static void test_file_and_pipe(const child *it) {
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    GetTempPathW(MAX_PATH, folder);
    GetTempFileNameW(folder, L"tst", 0, path);
    HANDLE file =
        CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    DWORD done;
    uint8_t head[4];
    LARGE_INTEGER size, start = {.QuadPart = 0};
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.sink = MDC_SINK_FD;
    spec.fd = (int64_t)(intptr_t)file;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && out.report != NULL && GetFileSizeEx(file, &size));
    CHECK(out.report != NULL && (uint64_t)size.QuadPart == out.report->file_bytes);
    LARGE_INTEGER here, by_none = {.QuadPart = 0};
    CHECK(SetFilePointerEx(file, by_none, &here, FILE_CURRENT) && here.QuadPart == size.QuadPart);
    SetFilePointerEx(file, start, NULL, FILE_BEGIN);
    CHECK(ReadFile(file, head, sizeof head, &done, NULL) && memcmp(head, "MDMP", 4) == 0);
    drop(&out);
    /* After other content, which is kept. */
    start.QuadPart = 100;
    SetFilePointerEx(file, start, NULL, FILE_BEGIN);
    out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && out.report != NULL && GetFileSizeEx(file, &size));
    CHECK(out.report != NULL && (uint64_t)size.QuadPart == 100 + out.report->file_bytes);
    start.QuadPart = 0;
    SetFilePointerEx(file, start, NULL, FILE_BEGIN);
    CHECK(ReadFile(file, head, sizeof head, &done, NULL) && memcmp(head, "MDMP", 4) == 0);
    drop(&out);
    CloseHandle(file);

    HANDLE from, to;
    CHECK(CreatePipe(&from, &to, NULL, 0));
    spec.fd = (int64_t)(intptr_t)to;
    mdc_session *session = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_start(&spec, &session, &err) == MDC_OK);
    CloseHandle(to); /* the session has its own */
    uint64_t total = 0;
    static uint8_t buffer[65536];
    while (ReadFile(from, buffer, sizeof buffer, &done, NULL) && done > 0) {
        if (total == 0) CHECK(memcmp(buffer, "MDMP", 4) == 0);
        total += done;
    }
    out = end_of(session);
    CHECK(out.err.code == MDC_OK && out.report != NULL && total == out.report->file_bytes);
    drop(&out);
    CloseHandle(from);
}

/* Handles that dbghelp could not use by itself: opened for overlapped I/O, or for writing only. */
static void test_odd_handles(const child *it) {
    for (unsigned overlapped = 0; overlapped < 2; overlapped++) {
        WCHAR folder[MAX_PATH], path[MAX_PATH];
        GetTempPathW(MAX_PATH, folder);
        GetTempFileNameW(folder, L"tst", 0, path);
        HANDLE file = CreateFileW(path, overlapped ? GENERIC_READ | GENERIC_WRITE : GENERIC_WRITE, FILE_SHARE_READ,
                                  NULL, CREATE_ALWAYS, overlapped ? FILE_FLAG_OVERLAPPED : 0, NULL);
        mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
        spec.sink = MDC_SINK_FD;
        spec.fd = (int64_t)(intptr_t)file;
        outcome out = run_session(&spec);
        if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
        LARGE_INTEGER size;
        CHECK(out.err.code == MDC_OK && out.report != NULL && GetFileSizeEx(file, &size));
        CHECK(out.report != NULL && (uint64_t)size.QuadPart == out.report->file_bytes);
        drop(&out);
        CloseHandle(file);
        DeleteFileW(path);
    }
}

/* -- hooks for Io: the finished dump, in order ----------------------------------------------------------------------
 */

typedef struct taker {
    uint64_t starts, finishes, end;
    bool in_order;
} taker;

static int32_t take(void *context, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    taker *t = context;
    output->Status = MDC_S_OK;
    switch (input->CallbackType) {
    case MDC_CB_IO_START:
        t->starts++;
        output->Status = MDC_S_FALSE;
        return 1;
    case MDC_CB_IO_WRITE_ALL:
        t->in_order = t->in_order && input->u.Io.Offset == t->end;
        t->end += input->u.Io.BufferBytes;
        return 1;
    default:
        t->finishes++;
        return 1;
    }
}

static void test_hooks(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    taker t = {.in_order = true};
    mdc_callback_options options = {.hook_types = 7u << MDC_CB_IO_START, .hook = take, .hook_context = &t};
    mdc_filter_spec filter_spec = open_filter();
    mdc_error err;
    mdc_error_clear(&err);
    mdc_filter *filter = mdc_filter_new(&filter_spec, &err);
    spec.callback = mdc_callback_new(filter, &options, &err);
    mdc_filter_release(filter);
    spec.sink = MDC_SINK_NONE;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && t.starts == 1 && t.finishes == 1 && t.in_order);
    CHECK(out.report != NULL && t.end == out.report->file_bytes && t.end > 0);
    drop(&out);
    free_callback(spec.callback);
}

/* -- what cannot be dumped ------------------------------------------------------------------------------------------
 */

static void test_refusals(const child *it) {
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.start_time = 1;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_TARGET_GONE && out.report == NULL);
    drop(&out);
    spec.start_time = 0;
    spec.pid = 0x7FFFFFFC;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_TARGET_GONE && out.err.os_errno == ERROR_INVALID_PARAMETER);
    CHECK(out.err.hresult == 0x80070057u);
    drop(&out);
    spec.pid = (int32_t)GetCurrentProcessId();
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_TARGET);
    drop(&out);
    spec.pid = 0;
    spec.process = (int64_t)(intptr_t)it->process.hProcess;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && out.report != NULL && out.report->pid == (int32_t)it->process.dwProcessId);
    drop(&out);
    spec.engine.plan_only = 1;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_INVALID);
    drop(&out);
    spec.engine.plan_only = 0;
    static const uint16_t nowhere[] = {'n', 'o', '.', 'd', 'l', 'l', 0};
    mdc_dbghelp_options given = {.dll = nowhere};
    spec.dbghelp = &given;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_INVALID && out.err.os_errno == ERROR_BAD_PATHNAME);
    drop(&out);
    HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    if (GetProcAddress(kernel, "PssCaptureSnapshot") == NULL) { /* Wine */
        mdc_dbghelp_options snapshot = {.snapshot = 1};
        spec.dbghelp = &snapshot;
        out = run_session(&spec);
        CHECK(out.err.code == MDC_ERR_TARGET && strstr(out.err.message, "PssCaptureSnapshot") != NULL);
        drop(&out);
    }
}

/* Somebody else in this process is inside dbghelp: the session waits for its turn, and not beyond its deadline. */
static void test_turn(const child *it) {
    char name[64];
    snprintf(name, sizeof name, "Local\\minidump_cffi-dbghelp-%lu", GetCurrentProcessId());
    HANDLE turn = CreateMutexA(NULL, TRUE, name);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.deadline_ns = SECONDS(1) / 10;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_DEADLINE && out.size == 0);
    drop(&out);
    mdc_session *session = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    spec.deadline_ns = 0;
    CHECK(mdc_session_start(&spec, &session, &err) == MDC_OK);
    CHECK(mdc_session_wait(session, SECONDS(1) / 5) == 0);
    mdc_session_cancel(session, MDC_ERR_CANCELLED);
    out = end_of(session);
    CHECK(out.err.code == MDC_ERR_CANCELLED && out.err.hresult == 0x800704C7u);
    drop(&out);
    CHECK(mdc_session_start(&spec, &session, &err) == MDC_OK);
    CHECK(mdc_session_wait(session, SECONDS(1) / 5) == 0);
    ReleaseMutex(turn);
    out = end_of(session);
    CHECK(out.err.code == MDC_OK && out.size > 0);
    drop(&out);
    CloseHandle(turn);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "child") == 0) return run_child(arguments[2]);
    child it = start_child();
    test_plain(&it);
    test_threads_and_modules(&it);
    test_memory(&it);
    test_redaction(&it);
    test_file_and_pipe(&it);
    test_odd_handles(&it);
    test_hooks(&it);
    test_refusals(&it);
    test_turn(&it);
    stop_child(&it);
    if (failures == 0) puts("ok");
    return failures != 0;
}
