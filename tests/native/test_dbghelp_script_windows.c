/* The dbghelp backend against a dbghelp that plays the documented sequence by script: Io, read failures, cancel,
 * deadlines, snapshots, errors, both layouts of threads. Its memory is that of a real process. */
#include "dbghelp_child.h"

#include "../targets/dbghelp/script_double.c"

/* This program is the library: it exports MiniDumpWriteDump and the Pss functions. */
static uint16_t own_path[MAX_PATH];
static mdc_dbghelp_options options;

static mdc_session_spec spec_for(const child *it, uint64_t type) {
    options = (mdc_dbghelp_options){.dll = own_path};
    return (mdc_session_spec){.engine = {.dump_type = type},
                              .dbghelp = &options,
                              .pid = (int32_t)it->process.dwProcessId,
                              .pidfd = -1,
                              .sink = MDC_SINK_MEMORY};
}

static double_script plain_script(void) {
    return (double_script){.area = AREA, .area_size = AREA_PAGES * PAGE, .failure = 0x8007012Bu};
}

/* -- the whole sequence ---------------------------------------------------------------------------------------------
 */

/* EXCEPTION_POINTERS, a record and registers on page 10 of the area: 4096 bytes that name their page all over. */
static mdc_exception_info describe_exception(const child *it, uint32_t tid) {
    const uint64_t at = AREA + 10 * PAGE + 16;
    const uint64_t pointers[2] = {AREA + 10 * PAGE + 64, AREA + 10 * PAGE + 512};
    const uint8_t numbers[32] = {1}; /* code, flags, next record, address: no place for a text */
    SIZE_T done;
    CHECK(WriteProcessMemory(it->process.hProcess, (void *)(uintptr_t)pointers[0], numbers, sizeof numbers, &done));
    CHECK(WriteProcessMemory(it->process.hProcess, (void *)(uintptr_t)at, pointers, sizeof pointers, &done));
    return (mdc_exception_info){.thread_id = tid, .client = 1, .pointers = at};
}

static void test_sequence(const child *it) {
    double_script s = plain_script();
    double_set(&s);
    mdc_filter_spec filter = open_filter();
    const mdc_range add = {AREA + 12 * PAGE, AREA + 12 * PAGE + 64};
    filter.memory_add = &add;
    filter.memory_add_count = 1;
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.callback = callback_of(&filter);
    const mdc_user_stream stream = {.type = 0x10001, .data = "hello", .size = 5};
    spec.engine.user_streams = &stream;
    spec.engine.user_stream_count = 1;
    spec.engine.exception = describe_exception(it, 77);
    outcome out = run_session(&spec);
    const double_seen *saw = double_read();
    if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
    static const uint8_t start[] = {16, 17, 11, 15, 6, 3, 6, 3, 6, 6, 4, 6, 4, 6, 4, 6, 0, 0, 0, 1, 1, 6, 5, 6, 5, 9};
    CHECK(out.err.code == MDC_OK && saw->dumps == 1 && saw->complaint[0] == 0);
    CHECK(saw->calls > sizeof start && memcmp(saw->types, start, sizeof start) == 0);
    CHECK(saw->io == 1 && saw->was_snapshot == 0 && saw->handle_fits == 1);
    CHECK(saw->exception_tid == 77 && saw->exception_client == 1);
    CHECK(saw->exception_pointers == spec.engine.exception.pointers);
    CHECK(saw->user_streams == 1 && saw->user_stream_type == 0x10001 && saw->user_stream_size == 5);
    CHECK(out.report != NULL && memcmp(out.bytes, "MDMP", 4) == 0);
    if (out.report != NULL) {
        CHECK(out.report->thread_count == 2 && out.report->module_count == 3 && out.report->memory_ranges == 3);
        CHECK(out.report->calls[MDC_CB_IO_WRITE_ALL] > 5 && out.report->calls[MDC_CB_IO_FINISH] == 1);
        CHECK(out.report->threads[0].stack_base == AREA && out.report->threads[0].stack_size == 2 * PAGE);
        CHECK(out.report->warnings == 0 && out.report->file_bytes == out.size);
        unsigned blocks = 0, stacks = 0;
        for (size_t i = 0; i < out.report->extent_count; i++) {
            blocks += (out.report->extents[i].flags & MDC_EXTENT_BLOCK) != 0 && out.report->extents[i].size == 64;
            const mdc_report_region *region = &out.report->regions[out.report->extents[i].region];
            stacks += (region->kinds & MDC_KIND_STACK) != 0;
        }
        CHECK(blocks == 1 && stacks == out.report->extent_count);
    }
    mdc_callback_counters counters = mdc_session_counters(out.session);
    CHECK(counters.calls[MDC_CB_IO_WRITE_ALL] == 0 && counters.calls[MDC_CB_IO_START] == 1); /* shown, for recordings */
    CHECK(counters.calls[MDC_CB_IS_PROCESS_SNAPSHOT] == 1 && counters.calls[MDC_CB_INCLUDE_VM_REGION] == 0);
    drop(&out);
    free_callback(spec.callback);
}

/* Threads and modules left out; both layouts of a thread, both orders of its stack's ends. */
static void test_items(const child *it) {
    for (unsigned layout = 0; layout < 4; layout++) {
        double_script s = plain_script();
        s.gcc_layout = layout & 1;
        s.low_first = layout >> 1;
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        const mdc_thread_rule thread = {.tid = 1004, .keep = 0};
        const mdc_module_rule module = {.glob = {(const uint8_t *)"*/LIBTWO.dll", 12}, .keep = 0};
        const mdc_rule stacks = {.action = MDC_EXCLUDE, .fields = MDC_RULE_KIND, .kinds = MDC_KIND_STACK};
        filter.threads = &thread;
        filter.thread_count = 1;
        filter.modules = &module;
        filter.module_count = 1;
        filter.rules = &stacks;
        filter.rule_count = 1;
        mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
        spec.callback = callback_of(&filter);
        outcome out = run_session(&spec);
        CHECK(out.err.code == MDC_OK && out.report != NULL);
        if (out.report != NULL) {
            CHECK(count_of(&out, MDC_STREAM_TYPE_THREAD_LIST) == 1 && out.report->thread_count == 2);
            CHECK(count_of(&out, MDC_STREAM_TYPE_MODULE_LIST) == 2 && out.report->module_count == 3);
            /* The kept thread's stack is known by its ends, wherever those are, and a stack is what is excluded:
             * dbghelp stores it all the same, and it is overwritten. */
            CHECK(!holds_page(&out, 0) && !holds_page(&out, 1));
            CHECK((out.report->warnings & MDC_WARN_FILLED) != 0 && out.report->memory_bytes == 0);
            CHECK(mdc_session_counters(out.session).scrubbed_bytes >= 2 * PAGE);
        }
        drop(&out);
        free_callback(spec.callback);
    }
}

/* -- full memory ----------------------------------------------------------------------------------------------------
 */

static void test_full(const child *it) {
    double_script s = plain_script();
    double_set(&s);
    mdc_filter_spec filter = open_filter();
    /* A hole in the middle: it is asked again about the rest, twice in each pass, and the hole is nowhere in the file.
     */
    const mdc_rule rules[] = {
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 4 * PAGE, AREA + 6 * PAGE}},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 15 * PAGE, AREA + 16 * PAGE}}};
    filter.rules = rules;
    filter.rule_count = 2;
    mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
    spec.callback = callback_of(&filter);
    outcome out = run_session(&spec);
    if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
    CHECK(out.err.code == MDC_OK && double_read()->complaint[0] == 0);
    for (unsigned page = 0; page < AREA_PAGES; page++) CHECK(!holds_page(&out, page) || (page / 2 != 2 && page < 15));
    CHECK(holds_page(&out, 6) && holds_page(&out, 14));
    uint64_t kept[3] = {0, 0, 0}, excluded[3] = {0, 0, 0};
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_rule_stats_get(out.session, kept, excluded, 3, &err) == MDC_OK);
    CHECK(excluded[0] == 2 * PAGE && excluded[1] == PAGE);
    CHECK(out.report != NULL && out.report->calls[MDC_CB_INCLUDE_VM_REGION] == 6);
    CHECK(out.report != NULL && (out.report->warnings & MDC_WARN_NO_REGION_CALLBACKS) == 0);
    drop(&out);
    free_callback(spec.callback);
}

/* Whether or not reads are shown, a hole is not in the finished file; what made dbghelp fail is the error, even if a
 * hole was still to come. */
static void test_holes_to_come(const child *it) {
    for (unsigned failing = 0; failing < 2; failing++) {
        double_script s = plain_script();
        s.asks_once = 1;
        s.unshown = !failing;
        s.hresult = failing ? 0x80070070u : 0;
        s.fail_after = MDC_CB_INCLUDE_VM_REGION;
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        const mdc_rule rule = {
            .action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 4 * PAGE, AREA + 6 * PAGE}};
        filter.rules = &rule;
        filter.rule_count = 1;
        mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
        spec.callback = callback_of(&filter);
        outcome out = run_session(&spec);
        if (failing) {
            CHECK(out.err.code == MDC_ERR_SINK && out.err.os_errno == ERROR_DISK_FULL && out.size == 0);
        } else {
            CHECK(out.err.code == MDC_OK && out.report != NULL && (out.report->warnings & MDC_WARN_FILLED) != 0);
            for (unsigned page = 0; page < AREA_PAGES; page++) CHECK(holds_page(&out, page) == (page / 2 != 2));
        }
        drop(&out);
        free_callback(spec.callback);
    }
}

/* A rule by the file that is mapped needs facts that dbghelp does not send: the proxy finds them. Here the area is
 * no file, so a rule about files must leave it alone, and one about memory without a file must not. */
static void test_facts(const child *it) {
    for (unsigned anonymous = 0; anonymous < 2; anonymous++) {
        double_script s = plain_script();
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        const mdc_rule rule = {.action = MDC_EXCLUDE,
                               .fields = MDC_RULE_KIND | MDC_RULE_SIZE,
                               .kinds = anonymous ? MDC_KIND_ANONYMOUS : MDC_KIND_FILE | MDC_KIND_IMAGE,
                               .min_size = AREA_PAGES * PAGE,
                               .max_size = AREA_PAGES * PAGE};
        filter.rules = &rule;
        filter.rule_count = 1;
        mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
        spec.callback = callback_of(&filter);
        outcome out = run_session(&spec);
        CHECK(out.err.code == MDC_OK && holds_page(&out, 10) == !anonymous);
        drop(&out);
        free_callback(spec.callback);
    }
}

/* A block that is added lies at the beginning of a stack: of that stack, nothing but the block was asked for. */
static void test_added_in_stack(const child *it) {
    double_script s = plain_script();
    double_set(&s);
    mdc_filter_spec filter = open_filter();
    const mdc_range add[] = {{AREA, AREA + 64}, {AREA + 3 * PAGE, AREA + 4 * PAGE}};
    filter.default_action = MDC_EXCLUDE;
    filter.memory_add = add;
    filter.memory_add_count = 2;
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.callback = callback_of(&filter);
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && out.report != NULL && (out.report->warnings & MDC_WARN_FILLED) != 0);
    CHECK(holds_page(&out, 0) && holds_page(&out, 3)); /* the beginning of the one, all of the other */
    CHECK(!holds_page(&out, 1) && !holds_page(&out, 2));
    CHECK(out.report != NULL && out.report->stored_bytes == 64 + PAGE);
    drop(&out);
    free_callback(spec.callback);
}

/* -- what is no memory ----------------------------------------------------------------------------------------------
 */

static bool contains_wide(const outcome *out, const char *text) {
    uint8_t wide[64];
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) wide[2 * i] = (uint8_t)text[i], wide[2 * i + 1] = 0;
    for (size_t i = 0; out->bytes != NULL && i + 2 * length <= out->size; i++)
        if (memcmp(out->bytes + i, wide, 2 * length) == 0) return true;
    return false;
}

/* dbghelp does not ask about names, and shows none; a pattern is in none of them, at any position. */
static void test_patterns_in_items(const child *it) {
    static const char *const everywhere[] = {"item-in-register", "item-in-pdb"};
    static const char *const wide[] = {"item-in-thread", "item-in-h\xE4ndle", "item-in-unloaded", "libtwo"};
    for (unsigned hidden = 0; hidden < 2; hidden++) {
        double_script s = plain_script();
        s.with_items = 1;
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        const mdc_bytes patterns[] = {{(const uint8_t *)"item-in-", 8},
                                      {(const uint8_t *)"libtwo", 6},
                                      {(const uint8_t *)"h\xC3\xA4ndle", 7},
                                      {(const uint8_t *)"<<area-10-secret>>", 18}};
        filter.patterns = patterns;
        filter.pattern_count = hidden != 0 ? 4 : 0;
        mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
        spec.callback = callback_of(&filter);
        spec.engine.exception = describe_exception(it, 1000);
        outcome out = run_session(&spec);
        if (out.err.code != MDC_OK) fprintf(stderr, "%s\n", out.err.message);
        CHECK(out.err.code == MDC_OK);
        for (size_t i = 0; i < 2; i++) CHECK(contains(out.bytes, out.size, everywhere[i]) == (hidden == 0));
        for (size_t i = 0; i < 4; i++) CHECK(contains_wide(&out, wide[i]) == (hidden == 0));
        CHECK(holds_page(&out, 10) == (hidden == 0)); /* in the registers of the exception, and in what is told of it */
        CHECK(!hidden || (contains_wide(&out, "XXXXXXXXXXXXXX") && contains_wide(&out, "three.dll")));
        CHECK(count_of(&out, MDC_STREAM_TYPE_EXCEPTION) == 1000);
        CHECK(out.report != NULL && (out.report->warnings & MDC_WARN_FILLED) == 0); /* hidden is not left out */
        drop(&out);
        free_callback(spec.callback);
    }
}

/* An exception goes with its thread, with the thread's registers, and with the memory that describes it. */
static void test_exception_left_out(const child *it) {
    const mdc_rule page = {
        .action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA + 10 * PAGE, AREA + 11 * PAGE}};
    const mdc_thread_rule no_thread = {.tid = 1000, .keep = 0};
    const mdc_thread_rule no_registers = {.tid = 1000, .keep = UINT32_MAX & ~(uint32_t)MDC_THREAD_WRITE_CONTEXT};
    for (unsigned how = 0; how < 8; how++) {
        double_script s = plain_script();
        s.with_items = 1;
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        filter.rules = &page;
        filter.rule_count = how % 4 == 1;
        filter.threads = how % 4 == 2 ? &no_thread : &no_registers;
        filter.thread_count = how % 4 >= 2;
        mdc_session_spec spec = spec_for(it, how < 4 ? MDC_TYPE_NORMAL : MDC_TYPE_WITH_FULL_MEMORY);
        spec.callback = callback_of(&filter);
        spec.engine.exception = describe_exception(it, 1000);
        outcome out = run_session(&spec);
        CHECK(out.err.code == MDC_OK);
        CHECK(count_of(&out, MDC_STREAM_TYPE_EXCEPTION) == (how % 4 == 0 ? 1000 : 0));
        CHECK(how % 4 == 0 || how > 4 || !holds_page(&out, 10));
        CHECK(how != 5 || !holds_page(&out, 10));
        uint32_t size = 0;
        const uint8_t *threads = stream_of(&out, MDC_STREAM_TYPE_THREAD_LIST, &size);
        CHECK(count_of(&out, MDC_STREAM_TYPE_THREAD_LIST) == (how % 4 == 2 ? 1 : 2) && threads != NULL);
        if (how % 4 == 3 && threads != NULL) { /* dbghelp stored the registers whatever the flags said */
            uint32_t rva, flags;
            memcpy(&rva, threads + 4 + 44, sizeof rva);
            memcpy(&flags, out.bytes + rva + 48, sizeof flags);
            CHECK(memcmp(out.bytes + rva + 120, "item-in-register", 16) != 0 && flags == 0x100000);
        }
        CHECK(out.report != NULL && ((out.report->warnings & MDC_WARN_FILLED) != 0) == (how % 4 != 0));
        drop(&out);
        free_callback(spec.callback);
    }
}

/* An engine like Wine's: nothing is asked about memory. */
static void test_only_items(const child *it) {
    double_script s = plain_script();
    s.only_items = 1;
    double_set(&s);
    mdc_filter_spec filter = open_filter();
    const mdc_rule rule = {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {AREA, AREA + 8 * PAGE}};
    filter.rules = &rule;
    filter.rule_count = 1;
    mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
    spec.callback = callback_of(&filter);
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && out.report != NULL);
    for (unsigned page = 0; page < AREA_PAGES; page++) CHECK(holds_page(&out, page) == (page >= 8));
    CHECK(out.report != NULL && (out.report->warnings & MDC_WARN_NO_REGION_CALLBACKS) != 0 &&
          (out.report->warnings & MDC_WARN_FILLED) != 0 && (out.report->warnings & MDC_WARN_NO_VM_CALLBACKS) == 0);
    drop(&out);
    free_callback(spec.callback);
}

/* -- failures -------------------------------------------------------------------------------------------------------
 */

/* In a full dump all of the region is lost that is in no stack, without a question; a range that was added is asked
 * about. */
static void test_read_failures(const child *it) {
    for (unsigned how = 0; how < 4; how++) {
        unsigned tolerated = how & 1, full = how >> 1, first = full ? 4 : 10;
        double_script s = plain_script();
        s.failed_reads = 2;
        double_set(&s);
        mdc_filter_spec filter = open_filter();
        filter.tolerate_read_failures = tolerated;
        const mdc_range add = {AREA + 10 * PAGE, AREA + AREA_PAGES * PAGE};
        filter.memory_add = &add;
        filter.memory_add_count = 1;
        mdc_session_spec spec = spec_for(it, full ? MDC_TYPE_WITH_FULL_MEMORY : MDC_TYPE_NORMAL);
        spec.callback = callback_of(&filter);
        outcome out = run_session(&spec);
        CHECK(out.report == NULL || (out.report->calls[MDC_CB_READ_MEMORY_FAILURE] != 0) == !full);
        if (tolerated) {
            CHECK(out.err.code == MDC_OK && out.report != NULL && out.report->gap_count == 1);
            if (out.report != NULL && out.report->gap_count == 1) {
                const mdc_gap *gap = &out.report->gaps[0];
                CHECK(gap->address == AREA + first * PAGE && gap->size == (AREA_PAGES - first) * PAGE);
                CHECK(gap->reason == MDC_GAP_READ_FAILED && out.report->read_failed_gaps == 1);
                CHECK(full || gap->os_errno == ERROR_PARTIAL_COPY);
                CHECK(out.report->stored_bytes == 4 * PAGE);
            }
            CHECK(holds_page(&out, 3) && !holds_page(&out, 13) && !holds_page(&out, 14));
        } else {
            CHECK(out.err.code == MDC_ERR_READ && out.err.hresult == 0x8007012Bu && out.size == 0);
            CHECK(out.err.os_errno == ERROR_PARTIAL_COPY && out.err.address == (full ? 0 : AREA + first * PAGE));
        }
        drop(&out);
        free_callback(spec.callback);
    }
}

static void test_errors(const child *it) {
    static const struct {
        uint32_t hresult;
        mdc_status code;
        int32_t os_errno;
    } cases[] = {
        {0x80070005u, MDC_ERR_ACCESS, ERROR_ACCESS_DENIED},
        {0x8007012Bu, MDC_ERR_READ, ERROR_PARTIAL_COPY},
        {0x800703E6u, MDC_ERR_READ, ERROR_NOACCESS},
        {0x8007001Fu, MDC_ERR_READ, ERROR_GEN_FAILURE},
        {0x80070070u, MDC_ERR_SINK, ERROR_DISK_FULL},
        {0x8007000Eu, MDC_ERR_NOMEM, ERROR_OUTOFMEMORY},
        {0x80004005u, MDC_ERR_TARGET, 0},
        {0x800704C7u, MDC_ERR_CANCELLED, ERROR_CANCELLED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double_script s = plain_script();
        s.hresult = cases[i].hresult;
        s.fail_after = MDC_CB_MODULE;
        double_set(&s);
        mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
        outcome out = run_session(&spec);
        CHECK(out.err.code == cases[i].code && out.err.hresult == cases[i].hresult && out.size == 0);
        CHECK(out.err.os_errno == cases[i].os_errno && out.err.pid == spec.pid);
        drop(&out);
    }
    for (uint32_t spoil = 1; spoil <= 2; spoil++) { /* says that all is well, and wrote nonsense */
        double_script s = plain_script();
        s.spoil = spoil;
        double_set(&s);
        mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
        outcome out = run_session(&spec);
        CHECK(out.err.code == MDC_ERR_FORMAT && out.size == 0);
        drop(&out);
    }
}

/* The old content of the caller's file is gone, and so is what a failed dump had written. */
static void test_cut(const child *it) {
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    GetTempPathW(MAX_PATH, folder);
    GetTempFileNameW(folder, L"tst", 0, path);
    HANDLE file =
        CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    double_script s = plain_script();
    s.hresult = 0x80004005u;
    s.fail_after = MDC_CB_WRITE_KERNEL_MINIDUMP; /* everything is written by then */
    double_set(&s);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.sink = MDC_SINK_FD;
    spec.fd = (int64_t)(intptr_t)file;
    outcome out = run_session(&spec);
    LARGE_INTEGER size;
    CHECK(out.err.code == MDC_ERR_TARGET && double_read()->io == 0);
    CHECK(GetFileSizeEx(file, &size) && size.QuadPart == 0);
    drop(&out);
    CloseHandle(file);
}

/* -- cancel and deadline --------------------------------------------------------------------------------------------
 */

static void test_cancel(const child *it) {
    double_script s = plain_script();
    s.wait_for_cancel = 60 * 1000;
    double_set(&s);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    mdc_session *session = NULL;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_start(&spec, &session, &err) == MDC_OK);
    while (double_read()->calls < 20) Sleep(10); /* it goes on asking, though there is no callee that wants it */
    mdc_session_cancel(session, MDC_ERR_CANCELLED);
    outcome out = end_of(session);
    CHECK(out.err.code == MDC_ERR_CANCELLED && out.err.hresult == 0x800704C7u && out.size == 0);
    drop(&out);

    double_set(&s);
    spec.deadline_ns = SECONDS(1) / 5;
    mdc_filter_spec filter = open_filter();
    spec.callback = callback_of(&filter);
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_DEADLINE && out.err.hresult == 0x800704C7u && out.size == 0);
    drop(&out);
    free_callback(spec.callback);
}

static int32_t MDC_CALL refuse(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    uint32_t *asked = param;
    asked[input->CallbackType]++;
    if (input->CallbackType == MDC_CB_IS_PROCESS_SNAPSHOT) output->Status = MDC_S_FALSE; /* a lie */
    if (input->CallbackType == MDC_CB_CANCEL) {
        output->Cancel.CheckCancel = asked[MDC_CB_CANCEL] < 3;
        output->Cancel.Cancel = asked[31] != 0; /* what the test wants */
        return 1;
    }
    return input->CallbackType <= MDC_CB_INCLUDE_MODULE || input->CallbackType == MDC_CB_IS_PROCESS_SNAPSHOT;
}

/* Somebody else's callee is shown what Windows would show it; it cannot say that a process is a snapshot. */
static void test_foreign(const child *it) {
    uint32_t asked[32] = {0};
    double_script s = plain_script();
    double_set(&s);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){refuse, asked};
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_OK && double_read()->was_snapshot == 0 && double_read()->handle_fits == 1);
    CHECK(asked[MDC_CB_IS_PROCESS_SNAPSHOT] == 1 && asked[MDC_CB_IO_START] == 1 && asked[MDC_CB_IO_WRITE_ALL] == 0);
    CHECK(asked[MDC_CB_CANCEL] == 3 && out.report != NULL && out.report->calls[MDC_CB_CANCEL] > 3);
    drop(&out);
    asked[31] = 1;
    out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_CANCELLED && out.err.callback_type == MDC_CB_CANCEL);
    CHECK(out.err.hresult == 0x800704C7u && out.size == 0);
    drop(&out);
}

/* A callee that has no room for what it has to remember gives answers all the same; the dump is not handed out. */
static void test_fault(const child *it) {
    double_script s = plain_script();
    double_set(&s);
    mdc_filter_spec filter_spec = open_filter();
    const mdc_rule rule = {.action = MDC_EXCLUDE, .fields = MDC_RULE_MODULE, .module = {(const uint8_t *)"*three*", 7}};
    filter_spec.rules = &rule;
    filter_spec.rule_count = 1;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_filter *filter = mdc_filter_new(&filter_spec, &err);
    const mdc_callback_options few = {.module_capacity = 1};
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    spec.callback = mdc_callback_new(filter, &few, &err);
    mdc_filter_release(filter);
    for (unsigned failing = 0; failing < 2; failing++) {
        s.hresult = failing ? 0x80004005u : 0;
        s.fail_after = MDC_CB_WRITE_KERNEL_MINIDUMP;
        double_set(&s);
        outcome out = run_session(&spec);
        CHECK(out.err.code == MDC_ERR_CALLBACK && out.size == 0 && double_read()->dumps == 1);
        CHECK(strstr(out.err.message, "module") != NULL);
        drop(&out);
    }
    free_callback(spec.callback);
}

/* -- snapshots ------------------------------------------------------------------------------------------------------
 */

static bool has_ended(HANDLE process) { return WaitForSingleObject(process, 10 * 1000) == WAIT_OBJECT_0; }

static void test_snapshot(const child *it) {
    for (unsigned failing = 0; failing < 3; failing++) {
        child clone = start_child(); /* ends with the snapshot */
        double_script s = plain_script();
        s.clone = clone.process.hProcess;
        s.hresult = failing == 1 ? 0x80004005u : 0;
        s.fail_after = MDC_CB_THREAD;
        if (failing == 1) s.fail_after = MDC_CB_MODULE;
        s.spoil = failing == 2 ? 2 : 0;
        double_set(&s);
        mdc_session_spec spec = spec_for(it, MDC_TYPE_WITH_FULL_MEMORY);
        options.pss = own_path;
        options.snapshot = 1;
        outcome out = run_session(&spec);
        const double_seen *saw = double_read();
        CHECK((out.err.code == MDC_OK) == (failing == 0));
        CHECK(saw->captures == 1 && saw->frees == 1 && saw->wrong_frees == 0 && saw->was_snapshot == 1);
        CHECK(saw->handle_fits == 1 && (saw->capture_flags & 1) != 0);
        CHECK(has_ended(clone.process.hProcess));
        CHECK(failing != 0 || (out.report != NULL && holds_page(&out, 3)));
        drop(&out);
        stop_child(&clone);
    }
    double_script s = plain_script(); /* PssCaptureSnapshot refuses */
    double_set(&s);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    options.pss = own_path;
    options.snapshot = 1;
    outcome out = run_session(&spec);
    CHECK(out.err.code == MDC_ERR_TARGET && out.err.os_errno == ERROR_NOT_SUPPORTED && double_read()->dumps == 0);
    CHECK(double_read()->frees == 0);
    drop(&out);
}

/* -- one at a time --------------------------------------------------------------------------------------------------
 */

static void test_one_at_a_time(const child *it) {
    double_script s = plain_script();
    s.wait_for_cancel = 50;
    double_set(&s);
    mdc_session_spec spec = spec_for(it, MDC_TYPE_NORMAL);
    mdc_session *sessions[4];
    mdc_error err;
    mdc_error_clear(&err);
    for (size_t i = 0; i < 4; i++) CHECK(mdc_session_start(&spec, &sessions[i], &err) == MDC_OK);
    for (size_t i = 0; i < 4; i++) {
        outcome out = end_of(sessions[i]);
        CHECK(out.err.code == MDC_OK && out.size > 0);
        drop(&out);
    }
    CHECK(double_read()->dumps == 4 && double_read()->busy == 0);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "child") == 0) return run_child(arguments[2]);
    GetModuleFileNameW(NULL, (wchar_t *)own_path, MAX_PATH);
    child it = start_child();
    test_sequence(&it);
    test_items(&it);
    test_full(&it);
    test_holes_to_come(&it);
    test_facts(&it);
    test_added_in_stack(&it);
    test_only_items(&it);
    test_patterns_in_items(&it);
    test_exception_left_out(&it);
    test_read_failures(&it);
    test_errors(&it);
    test_cut(&it);
    test_cancel(&it);
    test_foreign(&it);
    test_fault(&it);
    test_snapshot(&it);
    test_one_at_a_time(&it);
    stop_child(&it);
    if (failures == 0) puts("ok");
    return failures != 0;
}
