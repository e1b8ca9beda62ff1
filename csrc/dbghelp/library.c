/* Loads dbghelp (see library.h). */
#include "library.h"

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

/* The dbghelp.dll of an SDK only forwards to "dbgcore", which is beside it and would be looked for elsewhere. */
static HMODULE load_core_beside(const wchar_t *path) {
    static const wchar_t name[] = L"dbgcore.dll";
    wchar_t core[MAX_PATH * 4];
    size_t size = wcslen(path);
    while (size > 0 && path[size - 1] != L'\\' && path[size - 1] != L'/') size--;
    if (size + sizeof name / sizeof name[0] > sizeof core / sizeof core[0]) return NULL;
    memcpy(core, path, size * sizeof core[0]);
    memcpy(core + size, name, sizeof name);
    return mdc_win_load_dll((const uint16_t *)core);
}

/* VS_FIXEDFILEINFO comes after its signature in the version resource. */
static void read_version(const void *routine, uint16_t version[4]) {
    static const uint32_t signature = 0xFEEF04BD;
    HMODULE owner;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            (const wchar_t *)routine, &owner))
        return;
    HRSRC place = FindResourceW(owner, MAKEINTRESOURCEW(1), MAKEINTRESOURCEW(16)); /* RT_VERSION */
    HGLOBAL loaded = place != NULL ? LoadResource(owner, place) : NULL;
    const uint8_t *bytes = loaded != NULL ? LockResource(loaded) : NULL;
    size_t size = bytes != NULL ? SizeofResource(owner, place) : 0;
    for (size_t at = 0; at + 16 <= size; at += 4) {
        if (memcmp(bytes + at, &signature, sizeof signature) != 0) continue;
        for (size_t i = 0; i < 4; i++) /* dwFileVersionMS and LS, the high word first */
            memcpy(&version[i], bytes + at + 8 + (i / 2) * 4 + (i % 2 == 0 ? 2 : 0), sizeof version[i]);
        return;
    }
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
                        path != NULL ? "cannot load the given dbghelp library; give its full path; it must "
                                       "be built for this processor"
                                     : "cannot load dbghelp.dll or dbgcore.dll from the system's directory");
    library->write_dump = (mdc_write_dump_routine)mdc_win_find_routine(library->dll, "MiniDumpWriteDump");
    if (library->write_dump == NULL && path != NULL) {
        library->core = load_core_beside((const wchar_t *)path);
        if (library->core != NULL)
            library->write_dump = (mdc_write_dump_routine)mdc_win_find_routine(library->core, "MiniDumpWriteDump");
    }
    if (library->write_dump == NULL) {
        int32_t error = (int32_t)GetLastError();
        mdc_dbghelp_library_unload(library);
        return mdc_fail(err, path != NULL ? MDC_ERR_INVALID : MDC_ERR_TARGET, MDC_PHASE_OPEN, error,
                        path != NULL
                            ? "the given library has no MiniDumpWriteDump, and there is no dbgcore.dll with one beside "
                              "it"
                            : "the system's dbghelp has no MiniDumpWriteDump");
    }
    read_version((const void *)(uintptr_t)library->write_dump, library->version);
    library->psapi = mdc_win_load_system_dll(L"psapi.dll");
    return MDC_OK;
}

void mdc_dbghelp_library_unload(mdc_dbghelp_library *library) {
    if (library->psapi != NULL) FreeLibrary(library->psapi);
    if (library->core != NULL) FreeLibrary(library->core);
    if (library->dll != NULL) FreeLibrary(library->dll);
    memset(library, 0, sizeof *library);
}
