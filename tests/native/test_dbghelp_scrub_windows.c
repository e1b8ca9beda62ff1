/* What is done to the finished dump of a dbghelp that plays by script: patterns across pieces that are listed in any
 * order, stacks that were not to be written, targets with unknown memory. */
#include "dbghelp_child.h"

#include "../targets/dbghelp/script_double.c"

/* This program is the library: it exports MiniDumpWriteDump and the Pss functions. */
static uint16_t own_path[MAX_PATH];
static mdc_dbghelp_options options;

static mdc_session_spec spec_for(const child *it, const double_script *s, const mdc_filter_spec *filter,
                                 uint64_t type) {
    double_set(s);
    options = (mdc_dbghelp_options){.dll = own_path, .pss = own_path, .snapshot = s->clone != NULL};
    return (mdc_session_spec){.engine = {.dump_type = type},
                              .dbghelp = &options,
                              .pid = (int32_t)it->process.dwProcessId,
                              .pidfd = -1,
                              .sink = MDC_SINK_MEMORY,
                              .callback = callback_of(filter)};
}

static outcome run_script(const child *it, const double_script *s, const mdc_filter_spec *filter, uint64_t type) {
    mdc_session_spec spec = spec_for(it, s, filter, type);
    outcome out = run_session(&spec);
    free_callback(spec.callback);
    return out;
}

static double_script plain_script(void) {
    return (double_script){.area = AREA, .area_size = AREA_PAGES * PAGE, .failure = 0x8007012Bu};
}

/* Memory (5) adds what it likes in any order, and dbghelp lists it so; a stack is in the lists before all of it. */
static void test_pattern_across_pieces(const child *it) {
    static const char secret[] = "straddle-secret!";
    const uint64_t borders[] = {AREA + 4 * PAGE, AREA + 7 * PAGE}; /* after the stacks, and between two blocks */
    const mdc_range add[] = {
        {AREA + 7 * PAGE, AREA + 8 * PAGE}, {AREA + 6 * PAGE, AREA + 7 * PAGE}, {AREA + 4 * PAGE, AREA + 5 * PAGE}};
    const mdc_bytes pattern = {(const uint8_t *)secret, sizeof secret - 1};
    SIZE_T done;
    for (size_t i = 0; i < 2; i++)
        CHECK(WriteProcessMemory(it->process.hProcess, (void *)(uintptr_t)(borders[i] - 8), secret, 16, &done));
    for (unsigned hidden = 0; hidden < 2; hidden++) {
        double_script s = plain_script();
        mdc_filter_spec filter = open_filter();
        filter.memory_add = add;
        filter.memory_add_count = sizeof add / sizeof *add;
        filter.patterns = &pattern;
        filter.pattern_count = hidden;
        outcome out = run_script(it, &s, &filter, MDC_TYPE_NORMAL);
        CHECK(out.err.code == MDC_OK && holds_page(&out, 6) && holds_page(&out, 7));
        CHECK(contains(out.bytes, out.size, "straddle") == (hidden == 0));
        CHECK(contains(out.bytes, out.size, "-secret!") == (hidden == 0));
        drop(&out);
    }
}

/* A thread without its stack, or left out: the stack is in no list of a dump that was not to have all memory, but for
 * what was added. */
static void test_unwanted_stack(const child *it) {
    const mdc_range add = {AREA + PAGE, AREA + PAGE + 64};
    for (unsigned full = 0; full < 2; full++) {
        double_script s = plain_script();
        s.with_items = 1;
        mdc_filter_spec filter = open_filter();
        const mdc_thread_rule rule = {.tid = 1000, .keep = UINT32_MAX & ~(uint32_t)MDC_THREAD_WRITE_STACK};
        filter.threads = &rule;
        filter.thread_count = 1;
        filter.memory_add = &add;
        filter.memory_add_count = 1;
        outcome out = run_script(it, &s, &filter, full ? MDC_TYPE_WITH_FULL_MEMORY : MDC_TYPE_NORMAL);
        CHECK(out.err.code == MDC_OK && count_of(&out, MDC_STREAM_TYPE_THREAD_LIST) == 2);
        CHECK(holds_page(&out, 0) == (full == 1) && holds_page(&out, 1) && holds_page(&out, 2));
        CHECK(out.report != NULL && ((out.report->warnings & MDC_WARN_FILLED) != 0) == (full == 0));
        CHECK(full || (out.report != NULL && out.report->stored_bytes == 2 * PAGE + 64));
        drop(&out);
    }
}

/* The target ends while its snapshot is dumped, and the clone is unknown: then rules cannot be applied. */
static void test_unknown_memory(void) {
    for (unsigned rules = 0; rules < 2; rules++) {
        child target = start_child(), clone = start_child();
        double_script s = plain_script();
        s.clone = clone.process.hProcess;
        s.no_clone = 1;
        s.wait_for_cancel = 1000;
        mdc_filter_spec filter = open_filter();
        const mdc_rule rule = {.action = MDC_EXCLUDE, .fields = MDC_RULE_KIND, .kinds = MDC_KIND_STACK};
        filter.rules = &rule;
        filter.rule_count = rules;
        mdc_session_spec spec = spec_for(&target, &s, &filter, MDC_TYPE_NORMAL);
        mdc_session *session = NULL;
        mdc_error err;
        mdc_error_clear(&err);
        CHECK(mdc_session_start(&spec, &session, &err) == MDC_OK);
        while (double_read()->calls < 5) Sleep(10);
        stop_child(&target);
        outcome out = end_of(session);
        CHECK(out.err.code == (rules ? MDC_ERR_TARGET : MDC_OK) && (out.size == 0) == (rules == 1));
        CHECK(double_read()->frees == 1 && double_read()->wrong_frees == 0);
        drop(&out);
        free_callback(spec.callback);
        stop_child(&clone);
    }
}

/* The caller's file is emptied for a dump, and not for a target that does not exist. */
static void test_old_content(const child *it) {
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    LARGE_INTEGER size, zero = {.QuadPart = 0};
    DWORD done;
    GetTempPathW(MAX_PATH, folder);
    GetTempFileNameW(folder, L"tst", 0, path);
    HANDLE file =
        CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    CHECK(WriteFile(file, "old", 3, &done, NULL) && SetFilePointerEx(file, zero, NULL, FILE_BEGIN));
    double_script s = plain_script();
    mdc_filter_spec filter = open_filter();
    mdc_session_spec spec = spec_for(it, &s, &filter, MDC_TYPE_NORMAL);
    spec.sink = MDC_SINK_FD;
    spec.fd = (int64_t)(intptr_t)file;
    spec.pid = 0x7FFFFFF0;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_TARGET_GONE && GetFileSizeEx(file, &size) && size.QuadPart == 3);
    drop(&out);
    spec.pid = (int32_t)it->process.dwProcessId;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && GetFileSizeEx(file, &size) && size.QuadPart > 3);
    drop(&out);
    free_callback(spec.callback);
    CloseHandle(file);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "child") == 0) return run_child(arguments[2]);
    GetModuleFileNameW(NULL, (wchar_t *)own_path, MAX_PATH);
    child it = start_child();
    test_pattern_across_pieces(&it);
    test_unwanted_stack(&it);
    test_unknown_memory();
    test_old_content(&it);
    stop_child(&it);
    if (failures == 0) puts("ok");
    return failures != 0;
}
