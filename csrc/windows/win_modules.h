/* The modules of a Windows process: the loader's list, and what the PE headers in the target's memory say. */
#ifndef MDC_WINDOWS_WIN_MODULES_H
#define MDC_WINDOWS_WIN_MODULES_H

#include "../source/source.h"
#include "win_names.h"

/* Appends mdc_module, the main executable first. regions: mdc_region of the process, with names: where the loader's
 * list cannot be read (a process that has just begun, or has overwritten it), every image that is mapped counts. */
mdc_status mdc_win_modules_list(mdc_vec *modules, void *process, const mdc_vec *regions, mdc_win_names *names,
                                mdc_error *err);

#endif
