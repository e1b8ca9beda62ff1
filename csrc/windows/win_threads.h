/* The threads of a Windows process: which there are, and what is known of each. Stopping them is win_suspender.h. */
#ifndef MDC_WINDOWS_WIN_THREADS_H
#define MDC_WINDOWS_WIN_THREADS_H

#include "../source/source.h"
#include "win_names.h"
#include "win_nt.h"

/* Appends the ids (uint32_t) of the threads that exist now, by a toolhelp snapshot, which suspends nothing. */
mdc_status mdc_win_threads_ids(mdc_vec *ids, int32_t pid, mdc_error *err);

/* Opens a thread to be suspended and read, or, where that is refused, to be asked only (*limited). NULL if it has ended
 * (*os_errno 0), is of another process, or is refused altogether. */
void *mdc_win_thread_open(uint32_t tid, int32_t pid, bool *limited, uint32_t *os_errno);

/* Fills name, times, start address, priorities, affinity and TEB of an open thread; unknown values stay 0. Fails only
 * for lack of memory. */
mdc_status mdc_win_thread_describe(mdc_thread *thread, void *handle, const mdc_win_nt *nt, mdc_win_names *names,
                                   mdc_error *err);
/* NT_TIB.StackBase, the high end of the thread's stack as its TEB in the target's memory has it; 0 if unreadable. */
uint64_t mdc_win_thread_stack_base(void *process, uint64_t teb);

#endif
