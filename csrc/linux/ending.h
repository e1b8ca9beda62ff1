/* How a target comes to its end. While the kernel writes a core of a process no thread of it runs or can be stopped,
 * its registers cannot be read, and PTRACE_INTERRUPT would cut the core short (seen on Linux 6.18): so it is refused.
 */
#ifndef MDC_LINUX_ENDING_H
#define MDC_LINUX_ENDING_H

#include "identity.h"

/* MDC_ERR_TARGET, with the signal, if the kernel is writing a core of the process. */
mdc_status mdc_ending_check_core(const mdc_identity *identity, int32_t phase, mdc_error *err);
/* Makes more of an error that says that the process is gone: that it is dumping core, or what killed it. */
mdc_status mdc_ending_explain(const mdc_identity *identity, mdc_status status, mdc_error *err);

#endif
