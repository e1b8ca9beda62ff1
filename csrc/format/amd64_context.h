/* CONTEXT of AMD64 (winnt.h, 1232 bytes), and what follows it where the extended state is stored too:
 *
 *     [0, context)            CONTEXT, ContextFlags with the XSTATE bit (0x40)
 *     [context, + 24)         CONTEXT_EX: All, Legacy, XState, each {i32 Offset, u32 Length}; offsets count from the
 *                             CONTEXT_EX itself, so All and Legacy have a negative one
 *     [context, + 48)         the rest is zero
 *     [context + 48, + size)  XSAVE header of 64 bytes {u64 Mask, u64 CompactionMask = 0, 6 x u64 0}, then the
 * components in the standard (not compacted) format: a component that CPUID leaf 0xD puts at offset o of the XSAVE area
 * is at o - 512 from this header. Mask never holds bits 0 and 1: the x87 and SSE state is in FltSave. A component
 * whose bit is clear is all zero. (Laid out as Windows does as far as that is known; no reader at hand decodes it.) */
#ifndef MDC_FORMAT_AMD64_CONTEXT_H
#define MDC_FORMAT_AMD64_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

enum {
    MDC_AMD64_CONTEXT_SIZE = 1232,
    MDC_AMD64_FXSAVE_SIZE = 512,
    MDC_AMD64_XSAVE_MIN = 512 + 64, /* with its header, at 512 (Intel SDM vol. 1, 13.4) */
    MDC_AMD64_XSAVE_MAX = 16384,    /* the longest known, with AMX tiles, is 11,008 */
    MDC_AMD64_XSTATE_GAP = 48       /* from CONTEXT_EX to the XSAVE header, which then is at a multiple of 64 */
};

/* In the processor's own numbering: Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8-R15, then Rip. */
enum { MDC_AMD64_RCX = 1, MDC_AMD64_RSP = 4, MDC_AMD64_RIP = 16, MDC_AMD64_GENERAL = 17 };
enum { MDC_AMD64_GENERAL_AT = 120 }; /* bytes from the start of the context */

typedef struct mdc_amd64_registers {
    uint64_t general[MDC_AMD64_GENERAL];
    uint32_t eflags;
    uint16_t cs, ds, es, fs, gs, ss;
} mdc_amd64_registers;

/* Bytes of a CONTEXT with an extended state of this XSAVE area; xstate_size 0: without. */
static inline uint32_t mdc_amd64_context_size(uint32_t xstate_size) {
    if (xstate_size == 0) return MDC_AMD64_CONTEXT_SIZE;
    return MDC_AMD64_CONTEXT_SIZE + MDC_AMD64_XSTATE_GAP + (xstate_size - MDC_AMD64_FXSAVE_SIZE);
}

/* All zero, and says that it holds nothing. size: bytes of the context. */
void mdc_amd64_context_clear(uint8_t *context, size_t size);
/* Each puts registers into the context, and the flag of what it then holds. */
void mdc_amd64_put_general(uint8_t *context, const mdc_amd64_registers *registers);
void mdc_amd64_put_control(uint8_t *context, uint64_t stack_pointer, uint64_t instruction_pointer);
void mdc_amd64_put_float(uint8_t *context, const uint8_t *fxsave);
/* values: Dr0-Dr3, Dr6, Dr7. */
void mdc_amd64_put_debug(uint8_t *context, const uint64_t values[6]);
/* xstate_size: bytes of the processor's XSAVE area, of which the context has room; xstate_mask: components that can be
 * in it. area: in standard format, `size` bytes of it are there, at least MDC_AMD64_XSAVE_MIN. */
void mdc_amd64_put_extended(uint8_t *context, uint32_t xstate_size, uint64_t xstate_mask, const uint8_t *area,
                            size_t size);

#endif
