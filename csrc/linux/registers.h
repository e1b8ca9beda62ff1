/* Registers of a stopped thread -> CONTEXT of the file format. One file per processor implements this
 * (registers_x86_64.c): another processor is another file. */
#ifndef MDC_LINUX_REGISTERS_H
#define MDC_LINUX_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_registers_summary {
    uint64_t stack_pointer;
    uint64_t instruction_pointer;
    uint64_t thread_pointer;
} mdc_registers_summary;

typedef struct mdc_registers_layout {
    uint32_t context_size; /* of the CONTEXT alone, or with the extended state behind it */
    uint32_t xstate_size;  /* bytes of the extended area, 0 without */
    uint64_t xstate_mask;  /* components in it (XCR0), 0 without */
} mdc_registers_layout;

/* What contexts will look like on this machine. */
mdc_registers_layout mdc_registers_describe(bool with_xstate);
/* Reads them by PTRACE_GETREGSET; called on the holder's thread. ESRCH in err->os_errno: the thread is not stopped.
 * MDC_ERR_TARGET if it is a 32-bit thread. */
mdc_status mdc_registers_read(int32_t tid, const mdc_registers_layout *layout, uint8_t *context,
                              mdc_registers_summary *summary, mdc_error *err);
/* A context that says it holds nothing: for threads that did not stop. */
void mdc_registers_none(const mdc_registers_layout *layout, uint8_t *context);

#endif
