/* Opens a minidump with the debugger engine (dbgeng.dll) beside this program and says line by line what it sees:
 *
 *     dump_reader FILE SYMBOLS [ADDRESS:SIZE]...
 *
 * SYMBOLS is an empty folder: without a path the engine asks a server. Status 0 if the dump opens. */
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

enum { BYTES_MAX = 65536, FRAMES_MAX = 64 };

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

static void list_threads(IDebugSystemObjects *objects, IDebugRegisters *registers, IDebugControl *control) {
    ULONG count = 0;
    objects->lpVtbl->GetNumberThreads(objects, &count);
    for (ULONG i = 0; i < count; i++) {
        static DEBUG_STACK_FRAME frames[FRAMES_MAX];
        ULONG id = 0, system_id = 0, found = 0;
        ULONG64 pc = 0, sp = 0;
        objects->lpVtbl->GetThreadIdsByIndex(objects, i, 1, &id, &system_id);
        objects->lpVtbl->SetCurrentThreadId(objects, id);
        registers->lpVtbl->GetInstructionOffset(registers, &pc);
        registers->lpVtbl->GetStackOffset(registers, &sp);
        control->lpVtbl->GetStackTrace(control, 0, 0, 0, frames, FRAMES_MAX, &found);
        printf("\nthread %lu %llx %llx %lu\n", system_id, pc, sp, found);
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

int main(int argc, char **argv) {
    typedef HRESULT(STDAPICALLTYPE * create_routine)(REFIID, PVOID *);
    char path[MAX_PATH + 16];
    IDebugClient *client = NULL;
    IDebugControl *control = NULL;
    IDebugSystemObjects *objects = NULL;
    IDebugSymbols *symbols = NULL;
    IDebugDataSpaces *spaces = NULL;
    IDebugRegisters *registers = NULL;
    if (argc < 3) return 2;
    GetModuleFileNameA(NULL, path, MAX_PATH);
    strcpy(strrchr(path, '\\') + 1, "dbgeng.dll");
    HMODULE engine = LoadLibraryExA(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    create_routine create = engine != NULL ? (create_routine)(void *)GetProcAddress(engine, "DebugCreate") : NULL;
    if (create == NULL || FAILED(create(&IID_IDebugClient, (PVOID *)&client))) return 2;
    client->lpVtbl->QueryInterface(client, &IID_IDebugControl, (PVOID *)&control);
    client->lpVtbl->QueryInterface(client, &IID_IDebugSystemObjects, (PVOID *)&objects);
    client->lpVtbl->QueryInterface(client, &IID_IDebugSymbols, (PVOID *)&symbols);
    client->lpVtbl->QueryInterface(client, &IID_IDebugDataSpaces, (PVOID *)&spaces);
    client->lpVtbl->QueryInterface(client, &IID_IDebugRegisters, (PVOID *)&registers);
    client->lpVtbl->SetOutputCallbacks(client, &listener);
    symbols->lpVtbl->SetSymbolPath(symbols, argv[2]);
    HRESULT opened = client->lpVtbl->OpenDumpFile(client, argv[1]);
    if (SUCCEEDED(opened)) opened = control->lpVtbl->WaitForEvent(control, 0, 60000);
    printf("\nopened %lx\n", (unsigned long)opened);
    if (SUCCEEDED(opened)) {
        list_threads(objects, registers, control);
        list_modules(symbols);
        for (int i = 3; i < argc; i++) show_bytes(spaces, argv[i]);
    }
    fflush(stdout);
    ExitProcess(SUCCEEDED(opened) ? 0 : 1); /* the engine's own end takes its time */
}
