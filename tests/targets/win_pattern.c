/* A Windows process to dump: known bytes at known addresses. Writes one "name 0xvalue" per line to its standard output,
 * then "ready", and ends when its standard input does.
 *
 *   pattern, pattern_size   private memory: byte i is (i * 7 + i / 256) & 0xFF
 *   secret, secret_size     private memory: the text "TOP-SECRET-" again and again
 *   guard                   a page with PAGE_GUARD, after a page of plain memory
 *   noaccess, reserved      a page without access; 64 KiB reserved
 *   section, file           a view of nameless shared memory ("section"), and of a temporary file ("mapped file")
 *   counter                 where a thread named "counter" counts
 *   sleeper                 id of a thread that was made suspended, and stays so
 *   exception               EXCEPTION_POINTERS: code 0xC0000005 at 0x12345678, with the registers of the main thread
 *   main                    id of the main thread, in `marker` of whose stack the text "stack-marker" stands */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

enum { PATTERN_SIZE = 0x10000, SECRET_SIZE = 0x3000 };

typedef HRESULT(WINAPI *set_description)(HANDLE thread, PCWSTR description);

static DWORD WINAPI count_up(void *argument) {
    volatile uint64_t *counter = argument;
    while (++*counter != 0) Sleep(1);
    return 0;
}

static DWORD WINAPI never_run(void *argument) {
    (void)argument;
    return 0;
}

static void tell(const char *name, uint64_t value) { printf("%s 0x%" PRIx64 "\n", name, value); }

static uint64_t map_section(HANDLE file, const char *text) {
    HANDLE section = CreateFileMappingW(file, NULL, PAGE_READWRITE, 0, 0x2000, NULL);
    void *view = section == NULL ? NULL : MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 0x2000);
    if (view != NULL) memcpy(view, text, strlen(text));
    return (uint64_t)(uintptr_t)view;
}

static uint64_t map_file(void) {
    wchar_t folder[MAX_PATH], path[MAX_PATH];
    if (GetTempPathW(MAX_PATH, folder) == 0 || GetTempFileNameW(folder, L"mdc", 0, path) == 0) return 0;
    HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                              CREATE_ALWAYS, FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
    return file == INVALID_HANDLE_VALUE ? 0 : map_section(file, "mapped file");
}

/* What a handler of an exception would be given. */
static uint64_t make_exception(void) {
    static EXCEPTION_RECORD record;
    static CONTEXT context;
    static EXCEPTION_POINTERS pointers = {&record, &context};
    RtlCaptureContext(&context);
    record.ExceptionCode = EXCEPTION_ACCESS_VIOLATION;
    record.ExceptionAddress = (void *)(uintptr_t)0x12345678;
    record.NumberParameters = 2;
    record.ExceptionInformation[0] = 1;
    record.ExceptionInformation[1] = 0xBAD;
    return (uint64_t)(uintptr_t)&pointers;
}

int main(void) {
    char marker[64] = "stack-marker";
    uint8_t *pattern = VirtualAlloc(NULL, PATTERN_SIZE, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    char *secret = VirtualAlloc(NULL, SECRET_SIZE, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    uint8_t *guarded = VirtualAlloc(NULL, 0x2000, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    uint8_t *noaccess = VirtualAlloc(NULL, 0x1000, MEM_COMMIT | MEM_RESERVE, PAGE_NOACCESS);
    uint8_t *reserved = VirtualAlloc(NULL, 0x10000, MEM_RESERVE, PAGE_NOACCESS);
    uint64_t *counter = VirtualAlloc(NULL, 0x1000, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    if (pattern == NULL || secret == NULL || guarded == NULL || noaccess == NULL || reserved == NULL || counter == NULL)
        return 2;
    for (uint32_t i = 0; i < PATTERN_SIZE; i++) pattern[i] = (uint8_t)(i * 7 + i / 256);
    for (uint32_t i = 0; i < SECRET_SIZE; i++) secret[i] = "TOP-SECRET-"[i % 11];
    DWORD before;
    VirtualProtect(guarded + 0x1000, 0x1000, PAGE_READWRITE | PAGE_GUARD, &before);

    DWORD sleeper;
    HANDLE counting = CreateThread(NULL, 0, count_up, counter, 0, NULL);
    if (counting == NULL || CreateThread(NULL, 0, never_run, NULL, CREATE_SUSPENDED, &sleeper) == NULL) return 3;
    HMODULE kernel = GetModuleHandleA("kernel32.dll");
    set_description describe = (set_description)(void (*)(void))GetProcAddress(kernel, "SetThreadDescription");
    if (describe != NULL) describe(counting, L"counter");

    tell("pid", GetCurrentProcessId());
    tell("main", GetCurrentThreadId());
    tell("marker", (uint64_t)(uintptr_t)marker);
    tell("pattern", (uint64_t)(uintptr_t)pattern);
    tell("pattern_size", PATTERN_SIZE);
    tell("secret", (uint64_t)(uintptr_t)secret);
    tell("secret_size", SECRET_SIZE);
    tell("guard", (uint64_t)(uintptr_t)guarded + 0x1000);
    tell("noaccess", (uint64_t)(uintptr_t)noaccess);
    tell("reserved", (uint64_t)(uintptr_t)reserved);
    tell("section", map_section(INVALID_HANDLE_VALUE, "section"));
    tell("file", map_file());
    tell("counter", (uint64_t)(uintptr_t)counter);
    tell("sleeper", sleeper);
    tell("exception", make_exception());
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return marker[0] == 's' ? 0 : 4;
}
