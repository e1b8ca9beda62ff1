/* What the system streams of a dump say: processor, Windows version, times of the process. */
#ifndef MDC_WINDOWS_WIN_SYSTEM_H
#define MDC_WINDOWS_WIN_SYSTEM_H

#include "../source/source.h"
#include "win_names.h"
#include "win_nt.h"

/* Never fails: unknown values stay 0. Of a process whose pointers are of our size. */
void mdc_win_system_read(mdc_system *system, void *process, const mdc_win_nt *nt);

/* What MiscInfo says of the process and its system, except the build string. Never fails: flags has the members that
 * the system reported. */
void mdc_win_misc_read(mdc_misc *misc, void *process, const mdc_win_nt *nt);
/* The version of the system: that of kernel32.dll, which all processes have at one address. */
mdc_status mdc_win_misc_build(mdc_misc *misc, const mdc_vec *modules, mdc_win_names *names, mdc_error *err);

#endif
