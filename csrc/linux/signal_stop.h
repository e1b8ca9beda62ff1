/* The signal a thread is stopped with, as its tracer sees it. */
#ifndef MDC_LINUX_SIGNAL_STOP_H
#define MDC_LINUX_SIGNAL_STOP_H

#include "../api/engine.h"

/* cdef: begin */
/* Fills signal, code, address and parameters of a thread in signal-delivery-stop (ptrace(2)). 0: the calling thread
 * does not trace it, or it is not in such a stop. */
int32_t mdc_signal_of_tracee(int32_t tid, mdc_signal_info *info);
/* cdef: end */

#endif
