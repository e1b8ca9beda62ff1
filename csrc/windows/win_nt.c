/* ntdll.dll at run time (see win_nt.h). */
#include "win_nt.h"

#include <windows.h>

enum { PROCESS_BASICS = 0, THREAD_BASICS = 0, THREAD_START = 9 };

/* As in winternl.h, whose names differ between SDKs. */
typedef struct process_basics {
    void *reserved1;
    void *peb;
    void *reserved2[2];
    uintptr_t pid;
    void *reserved3;
} process_basics;

typedef struct thread_basics {
    int32_t exit_status;
    void *teb;
    uintptr_t pid;
    uintptr_t tid;
    uintptr_t affinity;
    int32_t priority;
    int32_t base_priority;
} thread_basics;

mdc_win_function mdc_win_function_of(const char *library, const char *name) {
    HMODULE module = GetModuleHandleA(library);
    return module == NULL ? NULL : (mdc_win_function)GetProcAddress(module, name);
}

mdc_win_nt mdc_win_nt_load(void) {
    return (mdc_win_nt){(mdc_nt_query)mdc_win_function_of("ntdll.dll", "NtQueryInformationProcess"),
                        (mdc_nt_query)mdc_win_function_of("ntdll.dll", "NtQueryInformationThread"),
                        (mdc_nt_version)mdc_win_function_of("ntdll.dll", "RtlGetVersion")};
}

uint64_t mdc_win_peb_address(const mdc_win_nt *nt, void *process) {
    process_basics basics = {0};
    if (nt->query_process == NULL || nt->query_process(process, PROCESS_BASICS, &basics, sizeof basics, NULL) < 0)
        return 0;
    return (uint64_t)(uintptr_t)basics.peb;
}

bool mdc_win_thread_basics_of(const mdc_win_nt *nt, void *thread, mdc_win_thread_basics *basics) {
    thread_basics told = {0};
    *basics = (mdc_win_thread_basics){0, 0};
    if (nt->query_thread == NULL || nt->query_thread(thread, THREAD_BASICS, &told, sizeof told, NULL) < 0) return false;
    *basics = (mdc_win_thread_basics){(uint64_t)(uintptr_t)told.teb, told.affinity};
    return true;
}

uint64_t mdc_win_thread_start(const mdc_win_nt *nt, void *thread) {
    void *start = NULL;
    if (nt->query_thread == NULL || nt->query_thread(thread, THREAD_START, &start, sizeof start, NULL) < 0) return 0;
    return (uint64_t)(uintptr_t)start;
}
