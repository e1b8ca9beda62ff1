/* CONTEXT of x86 (winnt.h, 716 bytes), the registers of a 32-bit process. */
#ifndef MDC_FORMAT_X86_CONTEXT_H
#define MDC_FORMAT_X86_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

enum {
    MDC_X86_CONTEXT_SIZE = 716,
    MDC_X86_FSAVE_SIZE = 108, /* as FSAVE stores it: 7 words, 8 registers of 10 bytes */
    MDC_X86_FXSAVE_SIZE = 512,
    MDC_X86_GENERAL_AT = 156, /* bytes from the start of the context: Edi, Esi, Ebx, Edx, Ecx, Eax, Ebp, Eip */
    MDC_X86_GENERAL = 8
};

typedef struct mdc_x86_registers {
    uint32_t eax, ebx, ecx, edx, esi, edi, ebp, esp, eip, eflags;
    uint32_t cs, ds, es, fs, gs, ss;
} mdc_x86_registers;

/* All zero, and says that it holds nothing. */
void mdc_x86_context_clear(uint8_t *context);
/* Each puts registers into the context, and the flag of what it then holds. */
void mdc_x86_put_general(uint8_t *context, const mdc_x86_registers *registers);
void mdc_x86_put_float(uint8_t *context, const uint8_t *fsave);
/* The same out of what FXSAVE stores: as convert_from_fxsr of Linux (arch/x86/kernel/fpu/regset.c). */
void mdc_x86_put_float_of_fxsave(uint8_t *context, const uint8_t *fxsave);
void mdc_x86_put_extended(uint8_t *context, const uint8_t *fxsave);

#endif
