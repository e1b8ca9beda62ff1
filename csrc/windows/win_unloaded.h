/* The modules that a process has unloaded; ntdll.dll remembers the last ones. */
#ifndef MDC_WINDOWS_WIN_UNLOADED_H
#define MDC_WINDOWS_WIN_UNLOADED_H

#include "win_names.h"

/* Appends mdc_unloaded, the last one first. False if the system does not report them; err is filled only for lack of
 * memory.
 */
bool mdc_win_unloaded_list(mdc_vec *unloaded, void *process, mdc_win_names *names, mdc_error *err);

#endif
