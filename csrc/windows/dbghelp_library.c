/* Loads dbghelp (see dbghelp_library.h). */
#include "dbghelp_library.h"

#include <string.h>
#include <wchar.h>

#include "../base/fail.h"
#include "../base/protocol_asserts.h"

_Static_assert(sizeof(wchar_t) == sizeof(uint16_t), "UTF-16 is wchar_t here");

mdc_win_routine mdc_win_find_routine(HMODULE dll, const char *name) {
    return (mdc_win_routine)(void (*)(void))GetProcAddress(dll, name);
}

HMODULE mdc_win_load_system_dll(const wchar_t *name) {
    HMODULE dll = LoadLibraryExW(name, NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (dll != NULL || GetLastError() != ERROR_INVALID_PARAMETER) return dll;
    /* Windows 7 without KB2533623 does not know the flag. */
    wchar_t path[MAX_PATH + 32];
    UINT size = GetSystemDirectoryW(path, MAX_PATH);
    if (size == 0 || size >= MAX_PATH || size + 1 + wcslen(name) >= MAX_PATH + 32) return NULL;
    path[size] = L'\\';
    wcscpy(path + size + 1, name);
    return LoadLibraryExW(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
}

/* "C:\..." or "\\...": what names one file, whatever the current directory and PATH are. */
static bool is_full_path(const wchar_t *path) {
    if ((path[0] == L'\\' || path[0] == L'/') && (path[1] == L'\\' || path[1] == L'/')) return true;
    return path[0] != 0 && path[1] == L':' && (path[2] == L'\\' || path[2] == L'/');
}

HMODULE mdc_win_load_dll(const uint16_t *path) {
    const wchar_t *name = (const wchar_t *)path;
    if (!is_full_path(name)) {
        SetLastError(ERROR_BAD_PATHNAME);
        return NULL;
    }
    HMODULE dll = LoadLibraryExW(name, NULL, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (dll != NULL || GetLastError() != ERROR_INVALID_PARAMETER) return dll;
    return LoadLibraryExW(name, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
}

mdc_status mdc_dbghelp_library_load(mdc_dbghelp_library *library, const uint16_t *path, mdc_error *err) {
    memset(library, 0, sizeof *library);
    if (path != NULL) {
        library->dll = mdc_win_load_dll(path);
    } else {
        library->dll = mdc_win_load_system_dll(L"dbghelp.dll");
        if (library->dll == NULL) library->dll = mdc_win_load_system_dll(L"dbgcore.dll");
    }
    if (library->dll == NULL)
        return mdc_fail(err, path != NULL ? MDC_ERR_INVALID : MDC_ERR_TARGET, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                        path != NULL ? "cannot load the given dbghelp library; it has to be named by its full path, "
                                       "and be built for this processor"
                                     : "cannot load dbghelp.dll or dbgcore.dll from the system's directory");
    library->write_dump = (mdc_write_dump_routine)mdc_win_find_routine(library->dll, "MiniDumpWriteDump");
    if (library->write_dump == NULL) {
        int32_t error = (int32_t)GetLastError();
        mdc_dbghelp_library_unload(library);
        return mdc_fail(err, path != NULL ? MDC_ERR_INVALID : MDC_ERR_TARGET, MDC_PHASE_OPEN, error,
                        "the %s has no MiniDumpWriteDump", path != NULL ? "given library" : "system's dbghelp");
    }
    library->psapi = mdc_win_load_system_dll(L"psapi.dll");
    return MDC_OK;
}

void mdc_dbghelp_library_unload(mdc_dbghelp_library *library) {
    if (library->psapi != NULL) FreeLibrary(library->psapi);
    if (library->dll != NULL) FreeLibrary(library->dll);
    memset(library, 0, sizeof *library);
}
