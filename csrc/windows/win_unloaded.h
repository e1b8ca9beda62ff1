/* The modules that a process has unloaded, of which ntdll.dll remembers the last ones. */
#ifndef MDC_WINDOWS_WIN_UNLOADED_H
#define MDC_WINDOWS_WIN_UNLOADED_H

#include "win_names.h"

/* Appends mdc_unloaded, the last one first. False if the system does not tell; err is filled for want of memory only.
 */
bool mdc_win_unloaded_list(mdc_vec *unloaded, void *process, mdc_win_names *names, mdc_error *err);

#endif
