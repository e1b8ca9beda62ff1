/* The stacks that signal handlers interrupted. A handler on an alternate stack (sigaltstack(2)) runs there, and what
 * its thread was doing is on another stack, which only the frame that the kernel left for sigreturn names. */
#ifndef MDC_SOURCE_SIGFRAME_H
#define MDC_SOURCE_SIGFRAME_H

#include "target_view.h"

/* As content of mdc_source_ops, of a region. */
typedef size_t (*mdc_region_content)(const void *context, const mdc_region *region, uint64_t first, uint64_t end,
                                     mdc_content *runs, size_t room, uint64_t *next);

/* What is searched; what it may still cost is counted down over all threads. */
typedef struct mdc_sigframes {
    const mdc_target_view *view; /* of a process of x86-64 */
    mdc_region_content content;
    const void *context;           /* for content */
    uint32_t reads_left;           /* of threads away from their own stack */
    uint32_t alternate_reads_left; /* of threads on it, where few handlers run on an alternate one */
    uint8_t *buffer;
} mdc_sigframes;

/* The view is borrowed until mdc_sigframes_fini. */
mdc_status mdc_sigframes_init(mdc_sigframes *frames, const mdc_target_view *view, mdc_region_content content,
                              const void *context, mdc_error *err);
void mdc_sigframes_fini(mdc_sigframes *frames);

/* Fills thread->interrupted from the signal frames on the stack of thread->stack_pointer, and on those stacks again.
 * own_stack: an address in the stack that the thread was started with, 0 if not known. Pages that were never touched
 * are not read; whatever a target has written there, the search ends. Fails only if the target is gone. */
mdc_status mdc_sigframes_find(mdc_sigframes *frames, uint64_t own_stack, mdc_thread *thread, mdc_error *err);

#endif
