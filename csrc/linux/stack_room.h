/* Whether memory below a stack pointer is a stack's, and unused. */
#ifndef MDC_LINUX_STACK_ROOM_H
#define MDC_LINUX_STACK_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Is [first, end) of one mapping that certainly is a stack: [stack] for the main thread, for another one a mapping that
 * holds its thread pointer, too, with memory without access right below? Stacks of coroutines and of signal handlers
 * are not: below them may be other data. maps: /proc/PID/maps. For the tracer: no lock, no allocation. */
bool mdc_stack_room(int maps, bool main_thread, uint64_t thread_pointer, uint64_t first, uint64_t end);

#endif
