/* Heaps and stacks of a 32-bit program on 64-bit Windows, as a 64-bit one sees it: the program has a PEB and TEBs of
 * its own width besides those of the 64-bit layer below it, whose heaps and stacks are not the ones it works with. */
#ifndef MDC_WINDOWS_WIN_WOW64_H
#define MDC_WINDOWS_WIN_WOW64_H

#include "../base/vec.h"
#include "win_nt.h"

/* The address of the 32-bit PEB; 0 if the process is of our own width. */
uint64_t mdc_win_wow64_peb(const mdc_win_nt *nt, void *process);
/* Appends the addresses (uint64_t) of the program's heaps; what cannot be read is left out. */
mdc_status mdc_win_wow64_heaps(mdc_vec *heaps, void *process, uint64_t peb, mdc_error *err);
/* The high end of the 32-bit stack of a thread with this (64-bit) TEB; 0 if it has none. */
uint64_t mdc_win_wow64_stack_base(void *process, uint64_t teb);

#endif
