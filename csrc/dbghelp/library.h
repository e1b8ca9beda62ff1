/* The DLL that exports MiniDumpWriteDump, loaded by ourselves: dbghelp.h of mingw-w64 declares another callback output
 * than Microsoft's (see api/minidump_protocol.h), and code linked with the DLL cannot choose it.
 *
 * Loaded before the target is touched: MiniDumpWriteDump loads DLLs of its own (psapi was one), and a loader lock held
 * by a thread that is suspended by then would never be released. */
#ifndef MDC_DBGHELP_LIBRARY_H
#define MDC_DBGHELP_LIBRARY_H

#include <stdbool.h>
#include <windows.h>

#include "../api/error.h"
#include "../api/minidump_protocol.h"

typedef BOOL(WINAPI *mdc_write_dump_routine)(HANDLE process, DWORD pid, HANDLE file, uint32_t type,
                                             MINIDUMP_EXCEPTION_INFORMATION *exception,
                                             MINIDUMP_USER_STREAM_INFORMATION *user_streams,
                                             MINIDUMP_CALLBACK_INFORMATION *callback);

typedef struct mdc_dbghelp_library {
    HMODULE dll;
    HMODULE core;  /* the dbgcore.dll beside it that has the routine; NULL: it is in the DLL itself */
    HMODULE psapi; /* NULL where there is none */
    mdc_write_dump_routine write_dump;
    uint16_t version[4]; /* of the file that has the routine; all 0 if it does not say */
} mdc_dbghelp_library;

/* path: UTF-16, a full path; NULL: dbghelp.dll of the system's directory, else dbgcore.dll there. Never by a search
 * path, where other users may have put a DLL of that name. */
mdc_status mdc_dbghelp_library_load(mdc_dbghelp_library *library, const uint16_t *path, mdc_error *err);
/* Of a library that was zeroed and not loaded, too. */
void mdc_dbghelp_library_unload(mdc_dbghelp_library *library);

/* A DLL of the system's directory, or NULL with GetLastError. */
HMODULE mdc_win_load_system_dll(const wchar_t *name);
/* A DLL by its full path, with what it needs beside it or in the system's directory; NULL with GetLastError. */
HMODULE mdc_win_load_dll(const uint16_t *path);

/* GetProcAddress as a function of this type: the cast is unchecked, so it is in one place. */
typedef void (*mdc_win_routine)(void);
mdc_win_routine mdc_win_find_routine(HMODULE dll, const char *name);

#endif
