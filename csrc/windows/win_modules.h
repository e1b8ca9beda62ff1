/* The modules of a Windows process: the loader's list, and what the PE headers in the target's memory say. */
#ifndef MDC_WINDOWS_WIN_MODULES_H
#define MDC_WINDOWS_WIN_MODULES_H

#include "../source/source.h"
#include "win_names.h"

/* Appends mdc_module, and their mdc_section where `sections` is not NULL, in the loader's order, in which the main
 * executable is the first. regions: mdc_region of the process, with names. Where the loader's list is not whole (a
 * process that has just begun, or has overwritten it), every other image that is mapped follows. */
mdc_status mdc_win_modules_list(mdc_vec *modules, mdc_vec *sections, void *process, uint64_t peb,
                                const mdc_vec *regions, mdc_win_names *names, mdc_error *err);

#endif
