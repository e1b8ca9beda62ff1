/* The open handles of a process, with the types and names of their objects. */
#ifndef MDC_WINDOWS_WIN_HANDLES_H
#define MDC_WINDOWS_WIN_HANDLES_H

#include "win_names.h"

/* Appends mdc_handle. Types and names need PROCESS_DUP_HANDLE; files have no name here: asking for that of a pipe can
 * take for ever. False if the system does not list them; err is filled for want of memory only. */
bool mdc_win_handles_list(mdc_vec *handles, void *process, int32_t pid, mdc_win_names *names, mdc_error *err);

#endif
