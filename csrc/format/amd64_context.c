#include "amd64_context.h"

#include <string.h>

enum {
    CONTEXT_FLAGS = 48,
    CONTEXT_MXCSR = 52,
    CONTEXT_SEG_CS = 56, /* then Ds, Es, Fs, Gs, Ss */
    CONTEXT_EFLAGS = 68,
    CONTEXT_DR0 = 72, /* Dr0-Dr3, Dr6, Dr7 */
    CONTEXT_RAX = MDC_AMD64_GENERAL_AT,
    CONTEXT_RSP = CONTEXT_RAX + 8 * MDC_AMD64_RSP,
    CONTEXT_RIP = CONTEXT_RAX + 8 * MDC_AMD64_RIP,
    CONTEXT_FLT_SAVE = 256,
    FXSAVE_MXCSR = 24,
    XSAVE_HEADER_SIZE = 64,

    FLAGS_AMD64 = 0x100000,
    FLAGS_CONTROL = 0x01,
    FLAGS_CONTROL_INTEGER_SEGMENTS = 0x07,
    FLAGS_FLOATING_POINT = 0x08,
    FLAGS_DEBUG = 0x10,
    FLAGS_XSTATE = 0x40
};

_Static_assert((MDC_AMD64_CONTEXT_SIZE + MDC_AMD64_XSTATE_GAP) % 64 == 0, "the XSAVE header is 64-aligned");

static void put32(uint8_t *context, uint32_t at, uint32_t value) { memcpy(context + at, &value, sizeof value); }

static void put64(uint8_t *context, uint32_t at, uint64_t value) { memcpy(context + at, &value, sizeof value); }

static void add_flags(uint8_t *context, uint32_t more) {
    uint32_t flags;
    memcpy(&flags, context + CONTEXT_FLAGS, sizeof flags);
    put32(context, CONTEXT_FLAGS, flags | FLAGS_AMD64 | more);
}

void mdc_amd64_context_clear(uint8_t *context, size_t size) {
    memset(context, 0, size);
    add_flags(context, 0);
}

void mdc_amd64_put_general(uint8_t *context, const mdc_amd64_registers *registers) {
    const uint16_t segments[] = {registers->cs, registers->ds, registers->es,
                                 registers->fs, registers->gs, registers->ss};
    memcpy(context + CONTEXT_RAX, registers->general, sizeof registers->general);
    memcpy(context + CONTEXT_SEG_CS, segments, sizeof segments);
    put32(context, CONTEXT_EFLAGS, registers->eflags);
    add_flags(context, FLAGS_CONTROL_INTEGER_SEGMENTS);
}

void mdc_amd64_put_control(uint8_t *context, uint64_t stack_pointer, uint64_t instruction_pointer) {
    put64(context, CONTEXT_RSP, stack_pointer);
    put64(context, CONTEXT_RIP, instruction_pointer);
    add_flags(context, FLAGS_CONTROL);
}

void mdc_amd64_put_float(uint8_t *context, const uint8_t *fxsave) {
    memcpy(context + CONTEXT_FLT_SAVE, fxsave, MDC_AMD64_FXSAVE_SIZE);
    memcpy(context + CONTEXT_MXCSR, fxsave + FXSAVE_MXCSR, 4);
    add_flags(context, FLAGS_FLOATING_POINT);
}

void mdc_amd64_put_debug(uint8_t *context, const uint64_t values[6]) {
    memcpy(context + CONTEXT_DR0, values, 6 * sizeof values[0]);
    add_flags(context, FLAGS_DEBUG);
}

void mdc_amd64_put_extended(uint8_t *context, uint32_t xstate_size, uint64_t xstate_mask, const uint8_t *area,
                            size_t size) {
    const uint32_t at = MDC_AMD64_CONTEXT_SIZE;
    uint32_t length = xstate_size - MDC_AMD64_FXSAVE_SIZE;
    size_t there = size - MDC_AMD64_FXSAVE_SIZE;
    uint8_t *header = context + at + MDC_AMD64_XSTATE_GAP;
    uint64_t mask = 0;

    memcpy(header, area + MDC_AMD64_FXSAVE_SIZE, there < length ? there : length);
    memcpy(&mask, header, sizeof mask);
    mask &= xstate_mask & ~UINT64_C(3);
    memset(header, 0, XSAVE_HEADER_SIZE);
    memcpy(header, &mask, sizeof mask);

    put32(context, at + 0, (uint32_t)-MDC_AMD64_CONTEXT_SIZE); /* All */
    put32(context, at + 4, mdc_amd64_context_size(xstate_size));
    put32(context, at + 8, (uint32_t)-MDC_AMD64_CONTEXT_SIZE); /* Legacy */
    put32(context, at + 12, MDC_AMD64_CONTEXT_SIZE);
    put32(context, at + 16, MDC_AMD64_XSTATE_GAP); /* XState */
    put32(context, at + 20, length);
    add_flags(context, FLAGS_XSTATE);
}
