/* The dbghelp backend against a MiniDumpWriteDump that is a real engine over a real process: this package's own one,
 * speaking the plain protocol. What a filter keeps and leaves out there is what it does with the engine itself. */
#include "dbghelp_child.h"

#include "../targets/dbghelp/engine_double.c"

/* This program is the library: it exports MiniDumpWriteDump. */
static uint16_t own_path[MAX_PATH];
static const mdc_dbghelp_options DBGHELP = {.dll = own_path};

static mdc_session_spec spec_for(const child *it, uint64_t type, bool dbghelp) {
    return (mdc_session_spec){.engine = {.dump_type = type},
                              .dbghelp = dbghelp ? &DBGHELP : NULL,
                              .pid = (int32_t)it->process.dwProcessId,
                              .pidfd = -1,
                              .sink = MDC_SINK_MEMORY};
}

/* Bytes of the area that the report says are in the dump. */
static uint64_t area_bytes(const outcome *out) {
    uint64_t bytes = 0;
    for (size_t i = 0; out->report != NULL && i < out->report->extent_count; i++) {
        const mdc_extent *extent = &out->report->extents[i];
        if (extent->address >= AREA && extent->address < AREA + AREA_PAGES * PAGE) bytes += extent->size;
    }
    return bytes;
}

/* The same filter with and without dbghelp in between: holes, redaction and kinds. */
static void test_same_as_native(const child *it) {
    mdc_filter_spec filter = open_filter();
    char text[32];
    pattern_of(9, text);
    const mdc_bytes pattern = {(const uint8_t *)text, strlen(text)};
    const mdc_rule rules[] = {
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_KIND, .kinds = MDC_KIND_IMAGE},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 4 * PAGE, AREA + 6 * PAGE}},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 10 * PAGE, AREA + 11 * PAGE}}};
    filter.rules = rules;
    filter.rule_count = 3;
    filter.patterns = &pattern;
    filter.pattern_count = 1;
    for (unsigned dbghelp = 0; dbghelp < 2; dbghelp++) {
        mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY, dbghelp);
        spec.callback = callback_of(&filter);
        outcome out = run_session(&spec);
        if (out.err.code != MDC_OK) fprintf(stderr, "%u: %s\n", dbghelp, out.err.message);
        CHECK(out.err.code == MDC_OK && out.report != NULL);
        for (unsigned page = 0; page < AREA_PAGES; page++) {
            bool there = page != 4 && page != 5 && page != 9 && page != 10;
            if (holds_page(&out, page) != there) fprintf(stderr, "dbghelp %u, page %u\n", dbghelp, page);
            CHECK(holds_page(&out, page) == there);
        }
        CHECK(area_bytes(&out) == (AREA_PAGES - 3) * PAGE && count_of(&out, MDC_STREAM_TYPE_THREAD_LIST) >= 2);
        uint64_t kept[4] = {0}, excluded[4] = {0};
        mdc_error err;
        mdc_error_clear(&err);
        CHECK(mdc_session_rule_stats_get(out.session, kept, excluded, 4, &err) == MDC_OK);
        CHECK(excluded[0] > 1 << 20 && excluded[1] == 2 * PAGE && excluded[2] == PAGE);
        CHECK(mdc_session_counters(out.session).scrubbed_hits >= PAGE / strlen(text));
        for (size_t i = 0; out.report != NULL && i < out.report->extent_count; i++)
            CHECK(out.report->regions[out.report->extents[i].region].type != MDC_MEM_IMAGE);
        drop(&out);
        free_callback(spec.callback);
    }
}

static void test_normal(const child *it) {
    mdc_filter_spec filter = open_filter();
    const mdc_range add[] = {{AREA + 2 * PAGE, AREA + 4 * PAGE}}, remove[] = {{AREA + 3 * PAGE, AREA + 4 * PAGE}};
    filter.memory_add = add;
    filter.memory_add_count = 1;
    filter.memory_remove = remove;
    filter.memory_remove_count = 1;
    const mdc_thread_rule thread = {.tid = it->second_thread, .keep = 0};
    filter.threads = &thread;
    filter.thread_count = 1;
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL, true);
    spec.callback = callback_of(&filter);
    const mdc_user_stream stream = {.type = 0x10001, .data = "a stream of the user", .size = 20};
    spec.engine.user_streams = &stream;
    spec.engine.user_stream_count = 1;
    outcome out = run_session(&spec);
    if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
    CHECK(out.err.code == MDC_OK && out.report != NULL && area_bytes(&out) == PAGE);
    CHECK(holds_page(&out, 2) && !holds_page(&out, 3) && !holds_page(&out, 4));
    uint32_t size = 0;
    const uint8_t *found = stream_of(&out, 0x10001, &size);
    CHECK(found != NULL && size == 20 && memcmp(found, stream.data, 20) == 0);
    for (size_t i = 0; out.report != NULL && i < out.report->thread_count; i++) {
        const mdc_report_thread *told = &out.report->threads[i];
        CHECK(((told->flags & MDC_THREAD_EXCLUDED) != 0) == (told->tid == it->second_thread));
    }
    static const int32_t asked[] = {0, 1, 3, 4, 5, 6, 7, 9, 11, 12, 13, 15, 16, 17};
    for (size_t i = 0; out.report != NULL && i < sizeof asked / sizeof asked[0]; i++) {
        if (out.report->calls[asked[i]] == 0) fprintf(stderr, "type %d was not asked\n", (int)asked[i]);
        CHECK(out.report->calls[asked[i]] != 0);
    }
    drop(&out);
    free_callback(spec.callback);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "child") == 0) return run_child(arguments[2]);
    GetModuleFileNameW(NULL, (wchar_t *)own_path, MAX_PATH);
    child it = start_child();
    test_same_as_native(&it);
    test_normal(&it);
    stop_child(&it);
    if (failures == 0) puts("ok");
    return failures != 0;
}
