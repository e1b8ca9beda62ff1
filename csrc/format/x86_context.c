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

/* Bits 0 and 1 of a tag: valid 0, zero 1, special 2, empty 3 (Intel SDM vol. 1, 8.1.7). */
static uint32_t tag_of(const uint8_t *number) {
    uint64_t mantissa;
    uint16_t exponent;
    memcpy(&mantissa, number, sizeof mantissa);
    memcpy(&exponent, number + 8, sizeof exponent);
    exponent &= 0x7FFF;
    if (exponent == 0) return mantissa == 0 ? 1 : 2;
    return exponent == 0x7FFF || mantissa >> 63 == 0 ? 2 : 0;
}

void mdc_x86_put_float_of_fxsave(uint8_t *context, const uint8_t *fxsave) {
    enum { REGISTERS = 8, STATUS = 2, TAGS = 4, OPCODE = 6, IP = 8, CS = 12, DP = 16, DS = 20, FIRST = 32, EACH = 16 };
    uint8_t fsave[MDC_X86_FSAVE_SIZE];
    uint16_t control, status, opcode, cs, ds;
    uint32_t ip, dp, tags = 0;
    memcpy(&control, fxsave, sizeof control);
    memcpy(&status, fxsave + STATUS, sizeof status);
    memcpy(&opcode, fxsave + OPCODE, sizeof opcode);
    memcpy(&ip, fxsave + IP, sizeof ip);
    memcpy(&cs, fxsave + CS, sizeof cs);
    memcpy(&dp, fxsave + DP, sizeof dp);
    memcpy(&ds, fxsave + DS, sizeof ds);
    const uint32_t top = status >> 11 & 7;
    for (uint32_t i = 0; i < REGISTERS; i++) {
        /* Tags are those of the registers, numbers stand in the order of the stack. */
        const uint8_t *number = fxsave + FIRST + ((i - top) & 7) * EACH;
        tags |= ((fxsave[TAGS] >> i & 1) != 0 ? tag_of(number) : 3) << 2 * i;
        memcpy(fsave + 28 + 10 * i, fxsave + FIRST + EACH * i, 10);
    }
    const uint32_t words[] = {
        0xFFFF0000u | control, 0xFFFF0000u | status, 0xFFFF0000u | tags, ip, (uint32_t)opcode << 16 | cs, dp,
        0xFFFF0000u | ds};
    memcpy(fsave, words, sizeof words);
    mdc_x86_put_float(context, fsave);
}
