/* Monotonic time in nanoseconds. */
#ifndef MDC_BASE_CLOCK_H
#define MDC_BASE_CLOCK_H

#include <stdint.h>

uint64_t mdc_clock_ns(void);

#endif
