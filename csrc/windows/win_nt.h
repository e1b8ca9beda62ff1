/* What is asked of ntdll.dll: the parts of winternl.h that Microsoft documents for lookup at run time. No
 * windows.h here, so that every file can include this: handles are void pointers. */
#ifndef MDC_WINDOWS_WIN_NT_H
#define MDC_WINDOWS_WIN_NT_H

#include <stdbool.h>
#include <stdint.h>

#include "../api/minidump_protocol.h"

typedef int32_t(MDC_CALL *mdc_nt_query)(void *handle, uint32_t what, void *out, uint32_t size, uint32_t *size_out);
typedef int32_t(MDC_CALL *mdc_nt_version)(void *info);

typedef struct mdc_win_nt {
    mdc_nt_query query_process; /* NtQueryInformationProcess */
    mdc_nt_query query_thread;  /* NtQueryInformationThread */
    mdc_nt_version get_version; /* RtlGetVersion */
} mdc_win_nt;

/* Members are NULL if the function does not exist. */
mdc_win_nt mdc_win_nt_load(void);

/* Any function of a library that is loaded already, or NULL. Cast to its type by the caller. */
typedef void (*mdc_win_function)(void);
mdc_win_function mdc_win_function_of(const char *library, const char *name);

/* PROCESS_BASIC_INFORMATION.PebBaseAddress, 0 if unknown. Rights: PROCESS_QUERY_INFORMATION. */
uint64_t mdc_win_peb_address(const mdc_win_nt *nt, void *process);

/* THREAD_BASIC_INFORMATION, as far as it is of use. */
typedef struct mdc_win_thread_basics {
    uint64_t teb;
    uint64_t affinity;
} mdc_win_thread_basics;
bool mdc_win_thread_basics_of(const mdc_win_nt *nt, void *thread, mdc_win_thread_basics *basics);
/* The address the thread began at (ThreadQuerySetWin32StartAddress), 0 if unknown. */
uint64_t mdc_win_thread_start(const mdc_win_nt *nt, void *thread);

#endif
