/* Registers of a stopped thread -> CONTEXT of the file format. One file per processor implements this
 * (registers_x86_64.c): another processor is another file, and nothing outside of it may know a register's name.
 * With the extended state a context is longer than the CONTEXT (format/amd64_context.h). */
#ifndef MDC_LINUX_REGISTERS_H
#define MDC_LINUX_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../source/source.h"

typedef struct mdc_registers_summary {
    uint64_t stack_pointer;
    uint64_t instruction_pointer;
    uint64_t thread_pointer;
} mdc_registers_summary;

typedef struct mdc_registers_layout {
    uint32_t context_size; /* bytes per thread: the CONTEXT alone, or followed by the extended state */
    uint32_t xstate_size;  /* bytes of the processor's XSAVE area in standard format, 0 without the extended state */
    uint64_t xstate_mask;  /* components that can be in it (XCR0), 0 without */
} mdc_registers_layout;

/* What contexts will look like on this machine. */
mdc_registers_layout mdc_registers_describe(bool with_xstate);
/* The position of each of 64 components in the XSAVE area, for MiscInfo's XStateData. */
void mdc_registers_xstate(const mdc_registers_layout *layout, mdc_xstate_feature *features);
enum { MDC_REGISTERS_32_BIT = -1 };
/* Reads them by PTRACE_GETREGSET; for the tracer only. 0, or an error number (ESRCH: the thread is not stopped), or
 * MDC_REGISTERS_32_BIT: it runs 32-bit code. */
int mdc_registers_read(int32_t tid, const mdc_registers_layout *layout, uint8_t *context,
                       mdc_registers_summary *summary);
/* Whether the thread is stopped and its registers can be read. Cheap: one system call, 8 bytes. Only the tracer may
 * ask. */
bool mdc_registers_readable(int32_t tid);
/* A context that says it holds nothing: for threads that did not stop. */
void mdc_registers_none(const mdc_registers_layout *layout, uint8_t *context);
/* The registers that /proc shows of such a thread, put into that context: enough to unwind from. */
void mdc_registers_where(uint8_t *context, const mdc_registers_summary *summary);

#endif
