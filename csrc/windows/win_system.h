/* What the system streams of a dump say: processor, Windows version, times of the process. */
#ifndef MDC_WINDOWS_WIN_SYSTEM_H
#define MDC_WINDOWS_WIN_SYSTEM_H

#include "../source/source.h"
#include "win_nt.h"

/* Never fails: what is not told stays 0. Of a process whose pointers are of our size. */
void mdc_win_system_read(mdc_system *system, void *process, const mdc_win_nt *nt);

#endif
