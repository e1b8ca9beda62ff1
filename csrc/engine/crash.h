/* The signal a dump of a Linux process is taken for: read before the stacks are located, since the interrupted one is
 * stored, and needed until the exception stream is written. */
#ifndef MDC_ENGINE_CRASH_H
#define MDC_ENGINE_CRASH_H

#include <stdbool.h>

#include "../api/engine.h"

enum { MDC_CRASH_PARAMETERS = 3 };

typedef struct mdc_crash {
    bool known;
    uint32_t signal; /* MDC_DUMP_REQUESTED: there was none */
    uint32_t code;   /* si_code */
    uint32_t parameter_count;
    uint64_t address;
    uint64_t parameters[MDC_CRASH_PARAMETERS];
    size_t thread; /* index into the threads */
    /* The registers at the signal: those that the kernel saved for a handler, NULL: the thread's own. Owned. */
    uint8_t *context;
    size_t context_size;    /* bytes */
    uint64_t stack_pointer; /* 0 without context */
    uint64_t instruction_pointer;
} mdc_crash;

#endif
