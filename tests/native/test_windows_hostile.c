/* Windows targets that do what they should not: lists that lead nowhere or in circles, threads that come and go,
 * threads that do not answer. */
#include "windows_target.h"

#include "../../csrc/base/failpoint.h"
#include "../../csrc/windows/win_nt.h"
#include "../../csrc/windows/win_regions.h"
#include "../../csrc/windows/win_wow64.h"

enum { NORMAL = MDC_TYPE_WITH_THREAD_INFO };

/* -- the loader's list, the heaps, the TEB, as the target overwrites them -------------------------------------------
 */

enum {
    LDR = sizeof(void *) == 8 ? 0x18 : 0x0C,
    LIST = sizeof(void *) == 8 ? 0x20 : 0x14,
    HEAP_COUNT = sizeof(void *) == 8 ? 0xE8 : 0x88,
    HEAP_ARRAY = sizeof(void *) == 8 ? 0xF0 : 0x90,
    ENTRY_BASE = 4 * sizeof(void *),
    ENTRY_PATH = sizeof(void *) == 8 ? 0x40 : 0x20
};

static uintptr_t get_pointer(const child *target, uint64_t address) {
    uintptr_t value = 0;
    CHECK(ReadProcessMemory(target->info.hProcess, (void *)(uintptr_t)address, &value, sizeof value, NULL));
    return value;
}

static void put_pointer(const child *target, uint64_t address, uintptr_t value) {
    CHECK(WriteProcessMemory(target->info.hProcess, (void *)(uintptr_t)address, &value, sizeof value, NULL));
}

static size_t modules_of(const child *target, bool *distinct) {
    taken dump;
    mdc_win_live_options live = {.pid = (int32_t)target->info.dwProcessId};
    mdc_engine_options options = {.dump_type = NORMAL};
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK);
    size_t count = dump.report == NULL ? 0 : dump.report->module_count;
    *distinct = true;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            *distinct = *distinct && dump.report->modules[i].base != dump.report->modules[j].base;
    if (count > 0) { /* the executable stays the first, with its path */
        const mdc_report_module *first = &dump.report->modules[0];
        CHECK(first->base == (uint64_t)(uintptr_t)GetModuleHandleA(NULL) && first->path_size > 4);
        CHECK(memcmp(dump.report->names + first->path + first->path_size - 4, ".exe", 4) == 0);
    }
    put_back(&dump);
    return count;
}

static void test_lists(void) {
    child target;
    begin_child(&target);
    mdc_win_nt nt = mdc_win_nt_load();
    uint64_t peb = mdc_win_peb_address(&nt, target.info.hProcess);
    CHECK(peb != 0);
    bool distinct;
    size_t sound = modules_of(&target, &distinct);
    CHECK(sound >= 3 && distinct);
    uint64_t head = get_pointer(&target, peb + LDR) + LIST;
    uintptr_t first = get_pointer(&target, head), second = get_pointer(&target, first);
    const struct {
        uint64_t at;
        uintptr_t value;
    } wrong[] = {
        {second, first},                            /* a circle beside the head */
        {first, first},                             /* of one */
        {first, 0x10},                              /* nothing there */
        {first, UINTPTR_MAX - 7},                   /* at the end of everything */
        {head, 0},                                  /* no list */
        {peb + LDR, 0},                             /* nor its head */
        {peb + LDR, UINTPTR_MAX - 3},               /* the sum overflows */
        {second + ENTRY_BASE, 0x10},                /* a module where nothing is */
        {second + ENTRY_BASE, UINTPTR_MAX - 0xFFF}, /* at the end of everything */
        {first + ENTRY_PATH, 0x10},                 /* a path that cannot be read */
        {peb + HEAP_ARRAY, (uintptr_t)peb},         /* heaps that are none */
        {peb + HEAP_ARRAY, UINTPTR_MAX - 7},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uintptr_t before = get_pointer(&target, wrong[i].at);
        uintptr_t count = get_pointer(&target, peb + HEAP_COUNT);
        put_pointer(&target, wrong[i].at, wrong[i].value);
        if (wrong[i].at == peb + HEAP_ARRAY) put_pointer(&target, peb + HEAP_COUNT, UINTPTR_MAX);
        size_t found = modules_of(&target, &distinct);
        if (found + 1 < sound || !distinct) fprintf(stderr, "list %zu: %zu modules of %zu\n", i, found, sound);
        CHECK(found + 1 >= sound && distinct); /* the one whose base was overwritten may be missing */
        put_pointer(&target, wrong[i].at, before);
        put_pointer(&target, peb + HEAP_COUNT, count);
    }
    CHECK(modules_of(&target, &distinct) == sound);
    CHECK(runs_on(&target));
    end_child(&target);
}

/* -- threads that come and go ----------------------------------------------------------------------------------------
 */

static DWORD WINAPI brief(void *argument) {
    (void)argument;
    Sleep(1);
    return 0;
}

static DWORD WINAPI churn(void *argument) {
    while (argument != NULL) {
        HANDLE thread = CreateThread(NULL, 0, brief, NULL, 0, NULL);
        if (thread != NULL) CloseHandle(thread);
        Sleep(1);
    }
    return 0;
}

static int churn_main(void) {
    static char yes;
    for (int i = 0; i < 8; i++) CreateThread(NULL, 0, churn, &yes, 0, NULL);
    return pattern_main();
}

static DWORD WINAPI take_one(void *argument) {
    const child *target = argument;
    for (int i = 0; i < 5; i++) {
        taken dump;
        mdc_win_live_options live = {.pid = (int32_t)target->info.dwProcessId};
        mdc_engine_options options = {.dump_type = NORMAL};
        take(&dump, &live, &options, 0);
        if (dump.status != MDC_OK) fprintf(stderr, "%d %s\n", (int)dump.status, dump.err.message);
        CHECK(dump.status == MDC_OK && dump.report->thread_count >= 11);
        put_back(&dump);
    }
    return 0;
}

/* The highest value of some new handles: they get the lowest that are free, so it grows when handles are not closed.
 * Wine does not count them otherwise. */
static uintptr_t highest_handle(void) {
    HANDLE probes[64];
    uintptr_t highest = 0;
    for (size_t i = 0; i < 64; i++) {
        probes[i] = CreateEventW(NULL, FALSE, FALSE, NULL);
        if ((uintptr_t)probes[i] / 4 > highest) highest = (uintptr_t)probes[i] / 4;
    }
    for (size_t i = 0; i < 64; i++) CloseHandle(probes[i]);
    return highest;
}

/* Two dumps at once, again and again: each resumes what it suspended, no more and no less, and gives back its handles.
 */
static void test_churn(void) {
    child target;
    begin_child_as(&target, "churn");
    take_one(&target);
    uintptr_t before = highest_handle();
    HANDLE threads[2];
    for (int i = 0; i < 2; i++) threads[i] = CreateThread(NULL, 0, take_one, &target, 0, NULL);
    WaitForMultipleObjects(2, threads, TRUE, INFINITE);
    for (int i = 0; i < 2; i++) CloseHandle(threads[i]);
    CHECK(highest_handle() < before + 40); /* the dumps have opened more than a hundred */
    CHECK(runs_on(&target));
    CHECK(suspend_count(fact(&target, "main")) == 0);
    CHECK(suspend_count(fact(&target, "sleeper")) == 1);
    end_child(&target);
}

/* -- threads that do not answer --------------------------------------------------------------------------------------
 */

static void test_hang(void) {
#ifdef MDC_FAILPOINTS
    child target;
    taken dump;
    begin_child(&target);
    mdc_win_live_options live = {.pid = (int32_t)target.info.dwProcessId, .stop_timeout_ns = 100000000};
    mdc_engine_options options = {.dump_type = NORMAL};
    mdc_failpoint_set("regs:hang:2:5");
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_OK && dump.report->thread_count == 3);
    size_t without = 0;
    for (size_t i = 0; dump.report != NULL && i < dump.report->thread_count; i++)
        without += (dump.report->threads[i].flags & MDC_THREAD_NO_REGISTERS) != 0;
    CHECK(without == 1);
    put_back(&dump);
    /* All of them, and none may wait so long: the target is resumed, and the dump fails in time. */
    mdc_failpoint_set("regs:hang:0:5");
    live.stop_timeout_ns = UINT64_C(60000000000);
    live.max_stop_ns = 50000000;
    take(&dump, &live, &options, 0);
    CHECK(dump.status == MDC_ERR_DEADLINE && dump.block.size == 0);
    put_back(&dump);
    mdc_failpoint_set("");
    CHECK(runs_on(&target));
    CHECK(suspend_count(fact(&target, "main")) == 0);
    end_child(&target);
#endif
}

/* -- what a region is ------------------------------------------------------------------------------------------------
 */

static void test_region_facts(void) {
    const uint32_t commit = MDC_MEM_COMMIT, private = MDC_MEM_PRIVATE, never = MDC_REGION_NEVER_READ;
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_READWRITE, private) == 0);
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_EXECUTE, private) == 0);
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_READONLY, MDC_MEM_IMAGE) == MDC_REGION_FILE);
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_READWRITE | MDC_PAGE_GUARD, private) == never);
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_NOACCESS, private) == never);
    CHECK(mdc_win_region_flags(commit, MDC_PAGE_READWRITE | MDC_PAGE_NOCACHE, private) == never);
    CHECK((mdc_win_region_flags(commit, MDC_PAGE_READWRITE | MDC_PAGE_WRITECOMBINE, MDC_MEM_MAPPED) & never) != 0);
    CHECK(mdc_win_region_flags(MDC_MEM_RESERVE, 0, private) == never);
    CHECK(mdc_win_region_kinds(private, false) == MDC_KIND_ANONYMOUS);
    CHECK(mdc_win_region_kinds(MDC_MEM_MAPPED, false) == MDC_KIND_SHARED);
    CHECK(mdc_win_region_kinds(MDC_MEM_MAPPED, true) == MDC_KIND_FILE);
    CHECK(mdc_win_region_kinds(MDC_MEM_IMAGE, true) == MDC_KIND_IMAGE);
}

static void set_drive(mdc_win_paths *paths, char letter, const wchar_t *device) {
    size_t size = wcslen(device);
    memcpy(paths->device[letter - 'A'], device, (size + 1) * sizeof *device);
    paths->size[letter - 'A'] = size;
}

static bool becomes(const mdc_win_paths *paths, const wchar_t *from, const wchar_t *to) {
    uint16_t units[128];
    size_t count = wcslen(from);
    memcpy(units, from, count * sizeof *from);
    count = mdc_win_paths_to_dos(paths, units, count, 128);
    return count == wcslen(to) && memcmp(units, to, count * sizeof *to) == 0;
}

static void test_paths(void) {
    static mdc_win_paths paths;
    set_drive(&paths, 'C', L"\\Device\\HarddiskVolume1");
    set_drive(&paths, 'D', L"\\Device\\HarddiskVolume12");
    CHECK(becomes(&paths, L"\\Device\\HarddiskVolume1\\a\\b.dll", L"C:\\a\\b.dll"));
    CHECK(becomes(&paths, L"\\Device\\HarddiskVolume12\\a", L"D:\\a"));
    CHECK(becomes(&paths, L"\\device\\harddiskvolume1\\a", L"C:\\a"));
    CHECK(becomes(&paths, L"\\Device\\HarddiskVolume1", L"C:"));
    CHECK(becomes(&paths, L"\\Device\\HarddiskVolume3\\a", L"\\Device\\HarddiskVolume3\\a")); /* no letter */
    CHECK(becomes(&paths, L"\\Device\\Mup\\server\\share\\a", L"\\\\server\\share\\a"));
    CHECK(becomes(&paths, L"\\Device\\Mupp\\a", L"\\Device\\Mupp\\a"));
    CHECK(becomes(&paths, L"\\??\\Z:\\a", L"Z:\\a"));
    CHECK(becomes(&paths, L"", L""));
    uint16_t full[8] = {'\\', '?', '?', '\\', 'Z', ':', '\\', 'a'};
    CHECK(mdc_win_paths_to_dos(&paths, full, 8, 8) == 4);
}

static void test_names(void) {
    mdc_win_names names = {0};
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_win_names_init(&names, &err) == MDC_OK);
    uint32_t id, again;
    CHECK(mdc_win_names_id(&names, (const uint8_t *)"", 0, &id, &err) == MDC_OK && id == 0);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 2000; i++) { /* more than the table begins with */
            char text[16];
            size_t size = (size_t)snprintf(text, sizeof text, "name %u", i);
            CHECK(mdc_win_names_id(&names, (const uint8_t *)text, size, &id, &err) == MDC_OK && id == i + 1);
            mdc_name name = mdc_vec_at(&names.names, const mdc_name, id - 1);
            CHECK(name.size == size && memcmp((const uint8_t *)names.pool.data + name.offset, text, size) == 0);
        }
    }
    CHECK(mdc_win_names_id(&names, (const uint8_t *)"name 7 ", 7, &again, &err) == MDC_OK && again == 2001);
    mdc_win_names_fini(&names);
}

/* What 64-bit code finds of a 32-bit program: there is none here, so its PEB and a TEB are laid out by hand. */
static void test_narrow(void) {
    if (sizeof(void *) != 8) return;
    child target;
    begin_child(&target);
    HANDLE process = target.info.hProcess;
    mdc_win_nt nt = mdc_win_nt_load();
    CHECK(mdc_win_wow64_peb(&nt, process) == 0);
    const uint32_t at = 0x21000000, heaps[] = {0x22000000, 0, 0x23000000};
    CHECK(VirtualAllocEx(process, (void *)(uintptr_t)at, 0x4000, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) != NULL);
    uint32_t peb[0x100 / 4] = {0};
    peb[0x18 / 4] = heaps[0];
    peb[0x88 / 4] = 3;
    peb[0x90 / 4] = at + 0x800;
    CHECK(WriteProcessMemory(process, (void *)(uintptr_t)at, peb, sizeof peb, NULL));
    CHECK(WriteProcessMemory(process, (void *)(uintptr_t)(at + 0x800), heaps, sizeof heaps, NULL));
    mdc_vec found;
    mdc_error err;
    mdc_error_clear(&err);
    mdc_vec_init(&found, sizeof(uint64_t));
    CHECK(mdc_win_wow64_heaps(&found, process, at, &err) == MDC_OK && found.count == 3);
    CHECK(found.count == 3 && mdc_vec_at(&found, uint64_t, 0) == heaps[0] &&
          mdc_vec_at(&found, uint64_t, 2) == heaps[2]);
    peb[0x88 / 4] = UINT32_MAX; /* more than there are, and a list that leads nowhere: what was read is kept */
    CHECK(WriteProcessMemory(process, (void *)(uintptr_t)at, peb, sizeof peb, NULL));
    CHECK(mdc_win_wow64_heaps(&found, process, at, &err) == MDC_OK && found.count < 5000);
    CHECK(mdc_win_wow64_heaps(&found, process, 0, &err) == MDC_OK);
    mdc_vec_fini(&found);

    const uint32_t tib[7] = {0, 0x24000000, 0x23FF0000, 0, 0, 0, at + 0x2000};
    CHECK(mdc_win_wow64_stack_base(process, at) == 0); /* no TEB there yet */
    CHECK(WriteProcessMemory(process, (void *)(uintptr_t)(at + 0x2000), tib, sizeof tib, NULL));
    CHECK(mdc_win_wow64_stack_base(process, at) == 0x24000000 && mdc_win_wow64_stack_base(process, UINT64_MAX) == 0);
    end_child(&target);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "target") == 0) return pattern_main();
    if (argc > 1 && strcmp(argv[1], "churn") == 0) return churn_main();
    test_region_facts();
    test_paths();
    test_names();
    test_lists();
    test_narrow();
    test_churn();
    test_hang();
    return failures == 0 ? 0 : 1;
}
