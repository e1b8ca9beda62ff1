/* Dumps of a live Windows process by the engine of this package. With the argument "keep" the dumps stay in the current
 * folder, as normal.dmp and full.dmp, for readers on other systems. */
#include "windows_target.h"

#include "../../csrc/base/failpoint.h"
#include "../../csrc/windows/win_memory.h"

enum {
    NORMAL = MDC_TYPE_WITH_THREAD_INFO | MDC_TYPE_WITH_HANDLE_DATA | MDC_TYPE_WITH_UNLOADED_MODULES,
    FULL = NORMAL | MDC_TYPE_WITH_FULL_MEMORY
};

static mdc_win_live_options by_pid(const child *target) {
    return (mdc_win_live_options){.pid = (int32_t)target->info.dwProcessId};
}

static void keep(const taken *dump, const char *name) {
    FILE *file = fopen(name, "wb");
    CHECK(file != NULL && fwrite(dump->block.data, 1, dump->block.size, file) == dump->block.size);
    if (file != NULL) fclose(file);
}

static mdc_file_thread thread_of(const taken *dump, uint64_t tid) {
    size_t size;
    uint32_t count = 0;
    mdc_file_thread entry;
    const uint8_t *list = stream(dump, MDC_STREAM_TYPE_THREAD_LIST, &size);
    if (list != NULL) memcpy(&count, list, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&entry, list + 4 + i * sizeof entry, sizeof entry);
        if (entry.thread_id == tid) return entry;
    }
    CHECK(!"the thread is in the list");
    memset(&entry, 0, sizeof entry);
    return entry;
}

static const mdc_report_region *region_of(const mdc_report *report, uint64_t address) {
    for (size_t i = 0; i < report->region_count; i++)
        if (address - report->regions[i].base < report->regions[i].size) return &report->regions[i];
    CHECK(!"the address lies in a region");
    return &report->regions[0];
}

static void check_threads(const taken *dump, const child *target) {
    CHECK(dump->report->thread_count == 3);
    CHECK(dump->report->thread_count > 0 && dump->report->threads[0].tid == fact(target, "main"));
    mdc_file_thread entry = thread_of(dump, fact(target, "main"));
    CHECK(entry.teb != 0 && entry.suspend_count == 0 && entry.context.data_size == sizeof(CONTEXT));
    CONTEXT context;
    memcpy(&context, dump->block.data + entry.context.rva, sizeof context);
    CHECK(context.ContextFlags == CONTEXT_ALL);
#if defined(__x86_64__)
    uint64_t sp = context.Rsp, ip = context.Rip;
#else
    uint64_t sp = context.Esp, ip = context.Eip;
#endif
    CHECK(sp - entry.stack.start < entry.stack.memory.data_size);
    uint64_t marker = fact(target, "marker");
    CHECK(marker - entry.stack.start < entry.stack.memory.data_size);
    CHECK(stored(dump, marker) != NULL && memcmp(stored(dump, marker), "stack-marker", 13) == 0);
    CHECK((region_of(dump->report, sp)->kinds & MDC_KIND_STACK) != 0);
    CHECK(region_of(dump->report, ip)->type == MDC_MEM_IMAGE);
    bool in_module = false;
    for (size_t i = 0; i < dump->report->module_count; i++)
        in_module = in_module || ip - dump->report->modules[i].base < dump->report->modules[i].size;
    CHECK(in_module);
    CHECK(thread_of(dump, fact(target, "sleeper")).suspend_count == 1);
}

/* The child is this program: its image is ours. */
static void check_modules(const taken *dump) {
    const uint8_t *image = (const uint8_t *)GetModuleHandleA(NULL);
    const IMAGE_NT_HEADERS *headers = (const void *)(image + ((const IMAGE_DOS_HEADER *)image)->e_lfanew);
    size_t size;
    const uint8_t *list = stream(dump, MDC_STREAM_TYPE_MODULE_LIST, &size);
    mdc_file_module module;
    memset(&module, 0, sizeof module);
    CHECK(size >= 4 + sizeof module);
    if (size >= 4 + sizeof module) memcpy(&module, list + 4, sizeof module); /* the executable is the first */
    CHECK(module.size_of_image == headers->OptionalHeader.SizeOfImage);
    CHECK(module.time_date_stamp == headers->FileHeader.TimeDateStamp);
    CHECK(module.checksum == headers->OptionalHeader.CheckSum);
    wchar_t path[MAX_PATH];
    uint32_t length = 0;
    GetModuleFileNameW(NULL, path, MAX_PATH);
    memcpy(&length, dump->block.data + module.name_rva, sizeof length);
    CHECK(length == wcslen(path) * 2 && memcmp(dump->block.data + module.name_rva + 4, path, length) == 0);
    /* kernel32 tells a version. */
    bool versioned = false;
    for (size_t at = 4; at + sizeof module <= size; at += sizeof module) {
        memcpy(&module, list + at, sizeof module);
        versioned = versioned || module.version_info.Signature == 0xFEEF04BD;
    }
    CHECK(versioned);
}

static void check_system(const taken *dump, const child *target) {
    size_t size;
    mdc_file_system_info info;
    mdc_file_misc_info misc;
    const uint8_t *at = stream(dump, MDC_STREAM_TYPE_SYSTEM_INFO, &size);
    CHECK(size == sizeof info);
    memcpy(&info, at, sizeof info);
    CHECK(info.processor_architecture == (sizeof(void *) == 8 ? MDC_FILE_ARCH_AMD64 : MDC_FILE_ARCH_X86));
    CHECK(info.platform_id == VER_PLATFORM_WIN32_NT && info.major_version >= 6 && info.product_type != 0);
    CHECK(sizeof(void *) == 4 || (info.processor_features[0] >> PF_XMMI64_INSTRUCTIONS_AVAILABLE & 1) == 1);
    at = stream(dump, MDC_STREAM_TYPE_MISC_INFO, &size);
    memset(&misc, 0, sizeof misc);
    memcpy(&misc, at, size < sizeof misc ? size : sizeof misc);
    CHECK(misc.process_id == target->info.dwProcessId && misc.create_time > 1600000000);
    CHECK(stream(dump, MDC_STREAM_TYPE_LINUX_MAPS, &size) == NULL);
    CHECK(stream(dump, MDC_STREAM_TYPE_LINUX_DSO_DEBUG, &size) == NULL);
}

static void test_normal(const child *target, bool kept) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    mdc_engine_options options = {.dump_type = NORMAL};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    CHECK(dump.report->gap_count == 0 && dump.report->stop_time_ns > 0);
    check_threads(&dump, target);
    check_modules(&dump);
    check_system(&dump, target);
    CHECK(stored(&dump, fact(target, "pattern")) == NULL);
    if (kept) keep(&dump, "normal.dmp");
    put_back(&dump);
    CHECK(runs_on(target));
    CHECK(suspend_count(fact(target, "sleeper")) == 1);
    CHECK(suspend_count(fact(target, "main")) == 0);
}

static void test_full(const child *target, bool kept) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    mdc_engine_options options = {.dump_type = FULL};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    CHECK(dump.report->gap_count == 0 && (dump.report->warnings & MDC_WARN_NO_RESIDENCY) != 0);
    check_threads(&dump, target);
    uint64_t pattern = fact(target, "pattern");
    bool same = true;
    for (uint32_t i = 0; i < PATTERN_SIZE; i++) {
        const uint8_t *byte = stored(&dump, pattern + i);
        same = same && byte != NULL && *byte == (uint8_t)(i * 7 + i / 256);
    }
    CHECK(same);
    CHECK(stored(&dump, fact(target, "guard") - 1) != NULL);
    CHECK(stored(&dump, fact(target, "guard")) == NULL);
    CHECK(stored(&dump, fact(target, "noaccess")) == NULL);
    CHECK(stored(&dump, fact(target, "reserved")) == NULL);
    CHECK(stored(&dump, fact(target, "section")) != NULL &&
          memcmp(stored(&dump, fact(target, "section")), "section", 8) == 0);
    CHECK(stored(&dump, fact(target, "file")) != NULL &&
          memcmp(stored(&dump, fact(target, "file")), "mapped file", 12) == 0);
    const mdc_report *report = dump.report;
    CHECK(region_of(report, fact(target, "section"))->kinds == MDC_KIND_SHARED);
    CHECK(region_of(report, fact(target, "section"))->name_size == 0);
    const mdc_report_region *file = region_of(report, fact(target, "file"));
    CHECK(file->kinds == MDC_KIND_FILE && file->name_size > 4);
    CHECK(memcmp(report->names + file->name + file->name_size - 4, ".tmp", 4) == 0);
    CHECK(file->name_size > 2 && report->names[file->name + 1] == ':');
    CHECK(region_of(report, pattern)->kinds == MDC_KIND_ANONYMOUS);
    CHECK(region_of(report, pattern)->size == PATTERN_SIZE);
    CHECK(region_of(report, fact(target, "reserved"))->state == MDC_MEM_RESERVE);
    CHECK((region_of(report, fact(target, "guard"))->flags & MDC_REGION_NEVER_READ) != 0);
    CHECK((region_of(report, fact(target, "guard"))->protect & MDC_PAGE_GUARD) != 0);
    size_t heaps = 0;
    for (size_t i = 0; i < report->region_count; i++) heaps += (report->regions[i].kinds & MDC_KIND_HEAP) != 0;
    CHECK(heaps > 0);
    for (size_t i = 0; i < report->region_count; i++)
        CHECK(report->regions[i].name_size == 0 ||
              memchr(report->names + report->regions[i].name, 0, report->regions[i].name_size) == NULL);
    if (kept) keep(&dump, "full.dmp");
    put_back(&dump);
    CHECK(runs_on(target));
}

static void test_environment_blocks(const child *target) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    mdc_engine_options options = {.dump_type = NORMAL | MDC_TYPE_WITH_PROCESS_THREAD_DATA};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    uint64_t teb = thread_of(&dump, fact(target, "main")).teb;
    const uint8_t *at = stored(&dump, teb);
    CHECK(at != NULL);
    uintptr_t self[32], base = (uintptr_t)teb;
    if (at != NULL) memcpy(self, at, sizeof self);
    CHECK(at != NULL && self[6] == base);                 /* NT_TIB.Self */
    CHECK(at != NULL && stored(&dump, self[12]) != NULL); /* TEB.ProcessEnvironmentBlock */
    put_back(&dump);
}

/* A sink that stalls: the target goes on after max_stop, and the dump fails. */
static void test_watchdog(const child *target) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    live.max_stop_ns = 100000000;
    mdc_engine_options options = {.dump_type = FULL};
    take(&dump, &live, &options, 1000);
    CHECK(dump.status == MDC_ERR_DEADLINE);
    CHECK(atomic_load(&dump.control.abort) == MDC_ABORT_MAX_STOP);
    CHECK(atomic_load(&dump.control.stopped) == 0);
    CHECK(runs_on(target)); /* before anything is freed */
    CHECK(suspend_count(fact(target, "sleeper")) == 1);
    put_back(&dump);
    CHECK(suspend_count(fact(target, "main")) == 0);
}

static void test_refusals(const child *target) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    mdc_engine_options options = {.dump_type = NORMAL};
#ifdef MDC_FAILPOINTS
    mdc_failpoint_set("regs:thread:2:5");
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    size_t without = 0;
    for (size_t i = 0; dump.report != NULL && i < dump.report->thread_count; i++)
        without += (dump.report->threads[i].flags & MDC_THREAD_NO_REGISTERS) != 0;
    CHECK(without == 1);
    put_back(&dump);
    mdc_failpoint_set("stop:thread:0:5");
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_ERR_ACCESS && dump.block.size == 0);
    put_back(&dump);
    mdc_failpoint_set("stop:thread:2:5");
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    put_back(&dump);
    mdc_failpoint_set("spawn:tracer:1:8");
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_ERR_NOMEM);
    put_back(&dump);
    mdc_failpoint_set("");
#endif
    live.start_time = 1;
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_ERR_TARGET_GONE && dump.err.pid == (int32_t)target->info.dwProcessId);
    put_back(&dump);
    const struct {
        mdc_win_live_options live;
        mdc_status status;
    } refused[] = {
        {{.pid = 4}, MDC_ERR_TARGET},
        {{.pid = 0}, MDC_ERR_TARGET},
        {{.pid = (int32_t)GetCurrentProcessId()}, MDC_ERR_TARGET},
        {{.pid = 0x7FFFFFF0}, MDC_ERR_TARGET_GONE},
        {{.process = 0x7FFFFFF0}, MDC_ERR_INVALID},
        {{.process = (int64_t)(intptr_t)target->info.hThread}, MDC_ERR_INVALID},
        {{.pid = 4, .process = (int64_t)(intptr_t)target->info.hProcess}, MDC_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        take(&dump, &refused[i].live, &options, 0);
        if (dump.status != refused[i].status)
            fprintf(stderr, "refusal %zu: %d %s\n", i, (int)dump.status, dump.err.message);
        CHECK(dump.status == refused[i].status && dump.block.size == 0);
        put_back(&dump);
    }
    CHECK(runs_on(target));
}

static void test_handle(const child *target) {
    taken dump;
    mdc_win_live_options live = {.process = (int64_t)(intptr_t)target->info.hProcess};
    FILETIME created, other[3];
    CHECK(GetProcessTimes(target->info.hProcess, &created, &other[0], &other[1], &other[2]));
    live.start_time = (uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
    mdc_engine_options options = {.dump_type = NORMAL};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK && dump.report->pid == (int32_t)target->info.dwProcessId);
    put_back(&dump);
    DWORD code;
    CHECK(GetExitCodeProcess(target->info.hProcess, &code)); /* the caller's handle is still open */
}

static void check_exception(const taken *dump, uint64_t tid) {
    size_t size;
    mdc_file_exception exception;
    memset(&exception, 0, sizeof exception);
    const uint8_t *at = stream(dump, MDC_STREAM_TYPE_EXCEPTION, &size);
    CHECK(size == sizeof exception);
    if (at != NULL) memcpy(&exception, at, sizeof exception);
    CHECK(exception.thread_id == tid && exception.record.code == 0xC0000005u);
    CHECK(exception.record.address == 0x12345678 && exception.record.parameters == 2);
    CHECK(exception.record.information[0] == 1 && exception.record.information[1] == 0xBAD);
    CHECK(exception.context.data_size == sizeof(CONTEXT));
}

static void test_exception(const child *target) {
    taken dump;
    mdc_win_live_options live = by_pid(target);
    uint32_t tid = (uint32_t)fact(target, "main");
    mdc_engine_options options = {.dump_type = NORMAL, .exception = {tid, 1, fact(target, "exception")}};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    check_exception(&dump, tid);
    put_back(&dump);
    options.exception.client = 0;
    options.exception.pointers = make_exception(); /* ours */
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    check_exception(&dump, tid);
    put_back(&dump);
    for (int32_t client = 0; client < 2; client++) {
        options.exception.client = client;
        options.exception.pointers = 0x10;
        take(&dump, &live, &options, 0);
        CHECK(dump.status == MDC_ERR_INVALID && dump.block.size == 0);
        put_back(&dump);
    }
    CHECK(runs_on(target));
}

/* Blocks that touch, one of them given back; Wine reads pages without access all the same, and also what it has
 * reserved for later, so far from there. */
static void test_partial_reads(void) {
    enum { BLOCK = 0x10000, BLOCKS = 5 };
    static uint8_t out[BLOCKS * BLOCK];
    void *far_away = sizeof(void *) == 8 ? (void *)(uintptr_t)UINT64_C(0x1000000000) : NULL;
    uint8_t *first = VirtualAlloc(far_away, BLOCKS * BLOCK, MEM_RESERVE, PAGE_READWRITE);
    void *self = GetCurrentProcess();
    uint64_t base = (uint64_t)(uintptr_t)first;
    uint32_t os_errno;
    CHECK(first != NULL && VirtualFree(first, 0, MEM_RELEASE));
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(VirtualAlloc(first + i * BLOCK, BLOCK, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) == first + i * BLOCK);
        for (size_t j = 0; j < BLOCK; j++) first[i * BLOCK + j] = (uint8_t)(i * 31 + (j >> 8) * 7 + j);
    }
    CHECK(mdc_win_memory_read(self, base + 5, out, sizeof out - 5, &os_errno) == sizeof out - 5 && os_errno == 0);
    CHECK(memcmp(out, first + 5, sizeof out - 5) == 0);
    for (size_t bad = BLOCKS; bad-- > 0;) {
        CHECK(VirtualFree(first + bad * BLOCK, 0, MEM_RELEASE));
        for (size_t from = 0; from < BLOCK; from += 0x1333) {
            size_t expected = bad * BLOCK > from ? bad * BLOCK - from : 0;
            size_t done = mdc_win_memory_read(self, base + from, out, sizeof out - from, &os_errno);
            CHECK(done == expected && os_errno != 0);
            CHECK(memcmp(out, first + from, done) == 0);
        }
    }
    CHECK(mdc_win_memory_read(self, UINT64_MAX - 4, out, 16, &os_errno) == 0 && os_errno != 0);
}

static DWORD WINAPI kill_later(void *argument) {
    child *target = argument;
    Sleep(300);
    TerminateProcess(target->info.hProcess, 7);
    return 0;
}

/* A target that is killed while it is stopped: an error, and soon. */
static void test_killed(void) {
    child target;
    taken dump;
    begin_child(&target);
    mdc_win_live_options live = by_pid(&target);
    mdc_engine_options options = {.dump_type = FULL};
    HANDLE killer = CreateThread(NULL, 0, kill_later, &target, 0, NULL);
    take(&dump, &live, &options, 500);
    CHECK(dump.status == MDC_ERR_TARGET_GONE);
    WaitForSingleObject(killer, INFINITE);
    CloseHandle(killer);
    put_back(&dump);
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_ERR_TARGET_GONE); /* ended, though its number is not free while we have a handle */
    put_back(&dump);
    CloseHandle(target.input);
    CloseHandle(target.info.hProcess);
    CloseHandle(target.info.hThread);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "target") == 0) return pattern_main();
    bool kept = argc > 1 && strcmp(argv[1], "keep") == 0;
    child target;
    begin_child(&target);
    if (kept)
        for (size_t i = 0; i < target.fact_count; i++)
            printf("%s 0x%" PRIx64 "\n", target.facts[i].name, target.facts[i].value);
    test_normal(&target, kept);
    test_full(&target, kept);
    test_environment_blocks(&target);
    test_exception(&target);
    test_handle(&target);
    test_refusals(&target);
    test_watchdog(&target);
    end_child(&target);
    test_killed();
    test_partial_reads();
    return failures == 0 ? 0 : 1;
}
