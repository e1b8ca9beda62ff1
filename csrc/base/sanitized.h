/* What is written over words of stacks and registers that are hidden, as in Breakpad's and Crashpad's sanitized stacks.
 */
#ifndef MDC_BASE_SANITIZED_H
#define MDC_BASE_SANITIZED_H

#include <stdint.h>

#define MDC_SANITIZED_WORD UINT64_C(0x0defaced0defaced)
/* Words of at most this amount, positive or negative, stay: counts, indices, errors. */
#define MDC_SMALL_WORD 4096

#endif
