/* The stacks that signal handlers interrupted. A handler on an alternate stack (sigaltstack(2)) runs there, and what
 * its thread was doing is on another stack, which only the frame that the kernel left for sigreturn names. */
#ifndef MDC_LINUX_SIGFRAME_H
#define MDC_LINUX_SIGFRAME_H

#include "memory.h"
#include "residency.h"

/* What is searched; what it may still cost is counted down over all threads. */
typedef struct mdc_sigframes {
    mdc_memory *memory;
    const mdc_mappings *mappings;
    const mdc_residency *residency;
    uint32_t reads_left;           /* of threads away from their own stack */
    uint32_t alternate_reads_left; /* of threads on it, where few handlers run on an alternate one */
    uint8_t *buffer;
} mdc_sigframes;

mdc_status mdc_sigframes_init(mdc_sigframes *frames, mdc_memory *memory, const mdc_mappings *mappings,
                              const mdc_residency *residency, mdc_error *err);
void mdc_sigframes_fini(mdc_sigframes *frames);

/* Fills thread->interrupted from the signal frames on the stack of thread->stack_pointer, and on those stacks again.
 * own_stack: an address in the stack that the thread was started with, 0 if not known. Pages that were never touched
 * are not read; whatever a target has written there, the search ends. Fails only if the target is gone. */
mdc_status mdc_sigframes_find(mdc_sigframes *frames, uint64_t own_stack, mdc_thread *thread, mdc_error *err);

#endif
