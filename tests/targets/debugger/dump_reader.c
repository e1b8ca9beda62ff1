/* Opens minidumps, one after the other, with the debugger engine (dbgeng.dll) beside this program, and says line by
 * line what it sees:
 *
 *     dump_reader LIST SYMBOLS
 *
 * A line of LIST is FILE, or FILE and ADDRESS:SIZE of memory to read, all with tabs between. SYMBOLS is an empty
 * folder: without a path the engine asks a server. Status 0 if it reached the end of the list. */
#define COBJMACROS
#define CINTERFACE
#include <windows.h>
/* After windows.h: it defines the GUIDs that dbgeng.h names. */
#include <initguid.h>

#include <dbgeng.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 65536, THREADS_MAX = 16384, THREADS_SHOWN = 100, LINE_MAX_BYTES = 16384 };

static HRESULT STDMETHODCALLTYPE query(IDebugOutputCallbacks *self, REFIID iid, PVOID *out) {
    bool known = IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IDebugOutputCallbacks);
    *out = known ? self : NULL;
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE hold(IDebugOutputCallbacks *self) {
    (void)self;
    return 1;
}

/* The engine's own words, each line marked. */
static HRESULT STDMETHODCALLTYPE say(IDebugOutputCallbacks *self, ULONG mask, PCSTR text) {
    static bool inside;
    (void)self;
    (void)mask;
    for (; *text != 0; text++) {
        if (!inside) fputs("says ", stdout);
        inside = *text != '\n';
        putchar(*text);
    }
    return S_OK;
}

static IDebugOutputCallbacksVtbl listener_table = {query, hold, hold, say};
static IDebugOutputCallbacks listener = {&listener_table};

/* Every thread; the registers of some if there are many, because a change of thread goes through the list. */
static void list_threads(IDebugSystemObjects *objects, IDebugRegisters *registers) {
    static ULONG ids[THREADS_MAX], system_ids[THREADS_MAX];
    ULONG count = 0;
    objects->lpVtbl->GetNumberThreads(objects, &count);
    if (count > THREADS_MAX) count = THREADS_MAX;
    objects->lpVtbl->GetThreadIdsByIndex(objects, 0, count, ids, system_ids);
    for (ULONG i = 0; i < count; i++) {
        ULONG64 pc = 0, sp = 0;
        bool shown = i % (count / THREADS_SHOWN + 1) == 0;
        if (shown) { /* the engine may speak meanwhile */
            objects->lpVtbl->SetCurrentThreadId(objects, ids[i]);
            registers->lpVtbl->GetInstructionOffset(registers, &pc);
            registers->lpVtbl->GetStackOffset(registers, &sp);
        }
        printf("\nthread %lu", system_ids[i]);
        if (shown) printf(" %llx %llx", pc, sp);
        putchar('\n');
    }
}

static void list_modules(IDebugSymbols *symbols) {
    ULONG loaded = 0, unloaded = 0;
    symbols->lpVtbl->GetNumberModules(symbols, &loaded, &unloaded);
    for (ULONG i = 0; i < loaded; i++) {
        ULONG64 base = 0;
        DEBUG_MODULE_PARAMETERS parameters;
        memset(&parameters, 0, sizeof parameters);
        symbols->lpVtbl->GetModuleByIndex(symbols, i, &base);
        symbols->lpVtbl->GetModuleParameters(symbols, 1, &base, 0, &parameters);
        printf("\nmodule %llx %lx\n", base, parameters.Size);
    }
}

static void show_bytes(IDebugDataSpaces *spaces, char *place) {
    static UCHAR bytes[BYTES_MAX];
    char *end;
    ULONG64 address = _strtoui64(place, &end, 16);
    ULONG size = *end == ':' ? strtoul(end + 1, NULL, 10) : 0, got = 0;
    if (size > BYTES_MAX) size = BYTES_MAX;
    if (FAILED(spaces->lpVtbl->ReadVirtual(spaces, address, bytes, size, &got))) got = 0;
    printf("\nbytes %llx ", address);
    for (ULONG i = 0; i < got; i++) printf("%02x", bytes[i]);
    putchar('\n');
}

typedef HRESULT(STDAPICALLTYPE *create_routine)(REFIID, PVOID *);

static bool read_dump(create_routine create, char *line, const char *symbols_path) {
    IDebugClient *client = NULL;
    IDebugControl *control = NULL;
    IDebugSystemObjects *objects = NULL;
    IDebugSymbols *symbols = NULL;
    IDebugDataSpaces *spaces = NULL;
    IDebugRegisters *registers = NULL;
    char *word = strtok(line, "\t\r\n");
    if (word == NULL || FAILED(create(&IID_IDebugClient, (PVOID *)&client))) return false;
    client->lpVtbl->QueryInterface(client, &IID_IDebugControl, (PVOID *)&control);
    client->lpVtbl->QueryInterface(client, &IID_IDebugSystemObjects, (PVOID *)&objects);
    client->lpVtbl->QueryInterface(client, &IID_IDebugSymbols, (PVOID *)&symbols);
    client->lpVtbl->QueryInterface(client, &IID_IDebugDataSpaces, (PVOID *)&spaces);
    client->lpVtbl->QueryInterface(client, &IID_IDebugRegisters, (PVOID *)&registers);
    client->lpVtbl->SetOutputCallbacks(client, &listener);
    symbols->lpVtbl->SetSymbolPath(symbols, symbols_path);
    printf("\nfile %s\n", word);
    HRESULT opened = client->lpVtbl->OpenDumpFile(client, word);
    if (SUCCEEDED(opened)) opened = control->lpVtbl->WaitForEvent(control, 0, 60000);
    printf("\nopened %lx\n", (unsigned long)opened);
    if (SUCCEEDED(opened)) {
        list_threads(objects, registers);
        list_modules(symbols);
        while ((word = strtok(NULL, "\t\r\n")) != NULL) show_bytes(spaces, word);
    }
    client->lpVtbl->EndSession(client, DEBUG_END_PASSIVE);
    registers->lpVtbl->Release(registers);
    spaces->lpVtbl->Release(spaces);
    symbols->lpVtbl->Release(symbols);
    objects->lpVtbl->Release(objects);
    control->lpVtbl->Release(control);
    client->lpVtbl->Release(client);
    printf("\nread\n");
    fflush(stdout);
    return true;
}

int main(int argc, char **argv) {
    static char line[LINE_MAX_BYTES];
    char path[MAX_PATH + 16];
    if (argc < 3) return 2;
    GetModuleFileNameA(NULL, path, MAX_PATH);
    strcpy(strrchr(path, '\\') + 1, "dbgeng.dll");
    HMODULE engine = LoadLibraryExA(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    create_routine create = engine != NULL ? (create_routine)(void *)GetProcAddress(engine, "DebugCreate") : NULL;
    FILE *list = fopen(argv[1], "r");
    if (create == NULL || list == NULL) return 2;
    bool good = true;
    while (good && fgets(line, sizeof line, list) != NULL) good = read_dump(create, line, argv[2]);
    fflush(stdout);
    ExitProcess(good ? 0 : 1); /* the engine's own end takes its time */
}
