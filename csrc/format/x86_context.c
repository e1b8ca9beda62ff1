#include "x86_context.h"

#include <string.h>

enum {
    CONTEXT_FLAGS = 0,
    CONTEXT_FLOAT_SAVE = 28, /* FLOATING_SAVE_AREA: what FSAVE stores, then Cr0NpxState */
    CONTEXT_SEG_GS = 140,    /* SegGs, SegFs, SegEs, SegDs, Edi, Esi, Ebx, Edx, Ecx, Eax, Ebp, Eip, SegCs, EFlags, Esp,
                                SegSs */
    CONTEXT_EXTENDED = 204,

    FLAGS_X86 = 0x10000,
    FLAGS_CONTROL_INTEGER_SEGMENTS = 0x07,
    FLAGS_FLOATING_POINT = 0x08,
    FLAGS_EXTENDED = 0x20
};

static void add_flags(uint8_t *context, uint32_t more) {
    uint32_t flags;
    memcpy(&flags, context + CONTEXT_FLAGS, sizeof flags);
    flags |= FLAGS_X86 | more;
    memcpy(context + CONTEXT_FLAGS, &flags, sizeof flags);
}

void mdc_x86_context_clear(uint8_t *context) {
    memset(context, 0, MDC_X86_CONTEXT_SIZE);
    add_flags(context, 0);
}

void mdc_x86_put_general(uint8_t *context, const mdc_x86_registers *r) {
    /* The processor pushes selectors with 16 bits; what is above them is not theirs. */
    const uint32_t in_order[] = {r->gs & 0xFFFF, r->fs & 0xFFFF, r->es & 0xFFFF, r->ds & 0xFFFF, r->edi, r->esi,
                                 r->ebx,         r->edx,         r->ecx,         r->eax,         r->ebp, r->eip,
                                 r->cs & 0xFFFF, r->eflags,      r->esp,         r->ss & 0xFFFF};
    memcpy(context + CONTEXT_SEG_GS, in_order, sizeof in_order);
    add_flags(context, FLAGS_CONTROL_INTEGER_SEGMENTS);
}

void mdc_x86_put_float(uint8_t *context, const uint8_t *fsave) {
    memcpy(context + CONTEXT_FLOAT_SAVE, fsave, MDC_X86_FSAVE_SIZE);
    add_flags(context, FLAGS_FLOATING_POINT);
}

void mdc_x86_put_extended(uint8_t *context, const uint8_t *fxsave) {
    memcpy(context + CONTEXT_EXTENDED, fxsave, MDC_X86_FXSAVE_SIZE);
    add_flags(context, FLAGS_EXTENDED);
}
