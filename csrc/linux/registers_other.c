/* Processors whose registers this build cannot read: no live process is opened on them (mdc_access_no_engine), so that
 * nothing of this is ever asked. */
#if !defined(__x86_64__)

#include "registers.h"

#include <errno.h>
#include <string.h>

#include "inject.h"

mdc_registers_layout mdc_registers_describe(bool with_xstate) {
    (void)with_xstate;
    return (mdc_registers_layout){0};
}

void mdc_registers_xstate(const mdc_registers_layout *layout, mdc_xstate_feature *features) {
    (void)layout, (void)features;
}

int mdc_registers_read(int32_t tid, const mdc_registers_layout *layout, uint8_t *context,
                       mdc_registers_summary *summary) {
    (void)tid, (void)layout, (void)context;
    memset(summary, 0, sizeof *summary);
    return ENOSYS;
}

bool mdc_registers_readable(int32_t tid) {
    (void)tid;
    return false;
}

void mdc_registers_none(const mdc_registers_layout *layout, uint8_t *context) { (void)layout, (void)context; }

void mdc_registers_where(uint8_t *context, const mdc_registers_summary *summary) { (void)context, (void)summary; }

void mdc_gadgets_find(mdc_gadgets *gadgets, const uint8_t *code, size_t size, uint64_t address) {
    (void)gadgets, (void)code, (void)size, (void)address;
}

mdc_injected mdc_inject_look(mdc_injection *self, int32_t tid, const mdc_gadgets *gadgets, uint64_t *first,
                             uint64_t *end, bool *by_signal) {
    (void)self, (void)tid, (void)gadgets, (void)first, (void)end, (void)by_signal;
    return MDC_INJECT_UNFIT;
}

mdc_injected mdc_inject_begin(mdc_injection *self) {
    (void)self;
    return MDC_INJECT_UNFIT;
}

mdc_injected mdc_inject_clone(mdc_injection *self, uint64_t flags, int32_t *child, int64_t *inner) {
    (void)self, (void)flags, (void)child, (void)inner;
    return MDC_INJECT_UNFIT;
}

mdc_injected mdc_inject_call(mdc_injection *self, long number, const uint64_t *arguments, size_t count,
                             int64_t *result) {
    (void)self, (void)number, (void)arguments, (void)count, (void)result;
    return MDC_INJECT_UNFIT;
}

mdc_injected mdc_inject_end(mdc_injection *self) {
    (void)self;
    return MDC_INJECT_UNFIT;
}

mdc_injected mdc_inject_child_call(mdc_injection *self, int32_t child, long number, const uint64_t *arguments,
                                   size_t count, int64_t *result) {
    (void)self, (void)child, (void)number, (void)arguments, (void)count, (void)result;
    return MDC_INJECT_UNFIT;
}

bool mdc_inject_child_clean(const mdc_injection *self, int32_t child) {
    (void)self, (void)child;
    return false;
}

#else
/* ISO C wants a declaration in every file. */
typedef int mdc_registers_other_is_not_built;
#endif
