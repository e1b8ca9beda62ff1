/* x86-64: user_regs_struct and the XSAVE area -> CONTEXT (AMD64). The XSAVE area as PTRACE_GETREGSET shows it is in
 * standard format, with XCR0 at byte 464 (the kernel's sw_reserved bytes). */
#if defined(__x86_64__)

#include "registers.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "../base/failpoint.h"
#include "../format/amd64_context.h"

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

_Static_assert(sizeof(struct user_regs_struct) == 27 * 8, "NT_PRSTATUS of x86-64");

mdc_registers_layout mdc_registers_describe(bool with_xstate) {
    mdc_registers_layout layout = {.context_size = mdc_amd64_context_size(0)};
    uint32_t a = 0, b = 0, c = 0, d = 0;

    if (!with_xstate || !__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0) return layout;
    if (!__get_cpuid_count(0xD, 0, &a, &b, &c, &d)) return layout;
    /* EAX, EDX: the components XCR0 can have; Linux enables what it knows of them. EBX: the area's size for those
     * that are enabled. XGETBV shows which, and needs no library. */
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (b <= MDC_AMD64_XSAVE_MIN || b > MDC_AMD64_XSAVE_MAX) return layout; /* nothing beyond SSE, or nothing we know */
    layout.xstate_size = b;
    layout.xstate_mask = (uint64_t)high << 32 | low;
    layout.context_size = mdc_amd64_context_size(b);
    return layout;
}

void mdc_registers_xstate(const mdc_registers_layout *layout, mdc_xstate_feature *features) {
    memset(features, 0, 64 * sizeof *features);
    if (layout->xstate_mask == 0) return;
    /* x87 and SSE are in the FXSAVE image (Intel SDM vol. 1, 13.4.1), which CPUID does not describe. */
    features[0] = (mdc_xstate_feature){0, 160};
    features[1] = (mdc_xstate_feature){160, 256};
    for (uint32_t i = 2; i < 63; i++) {
        uint32_t size = 0, offset = 0, c = 0, d = 0;
        if ((layout->xstate_mask >> i & 1) == 0 || !__get_cpuid_count(0xD, i, &size, &offset, &c, &d)) continue;
        if (offset < MDC_AMD64_XSAVE_MIN || offset > layout->xstate_size || size > layout->xstate_size - offset)
            continue;
        features[i] = (mdc_xstate_feature){offset, size};
    }
}

/* glibc's prototype takes an enum, musl's an int. */
static long regset(int32_t tid, uintptr_t type, void *base, size_t *size) {
    struct iovec iov = {base, *size};
    long rc = ptrace(PTRACE_GETREGSET, tid, (void *)type, &iov);
    *size = rc == 0 ? iov.iov_len : 0;
    return rc;
}

bool mdc_registers_readable(int32_t tid) {
    uint64_t first = 0;
    size_t size = sizeof first;
    return regset(tid, NT_PRSTATUS, &first, &size) == 0;
}

static bool read_one_debug(int32_t tid, uint32_t number, uint64_t *value) {
    errno = 0;
    long read =
        ptrace(PTRACE_PEEKUSER, tid, (void *)(uintptr_t)(offsetof(struct user, u_debugreg) + 8U * number), NULL);
    *value = (uint64_t)read;
    return read != -1 || errno == 0;
}

/* Dr0-Dr3, 6 and 7. A kernel without hardware breakpoints refuses: then they are just not there. Where Dr7 enables none
 * the others mean nothing, and stay 0: five system calls less per thread. */
static bool read_debug(int32_t tid, uint8_t *context) {
    static const uint8_t numbers[] = {7, 0, 1, 2, 3, 6};
    uint64_t values[6] = {0};
    for (uint32_t i = 0; i < sizeof numbers; i++) {
        uint64_t value;
        if (!read_one_debug(tid, numbers[i], &value)) return false;
        values[numbers[i] < 4 ? numbers[i] : numbers[i] - 2U] = value;
        if (i == 0 && value == 0) break;
    }
    mdc_amd64_put_debug(context, values);
    return true;
}

static mdc_amd64_registers general_of(const struct user_regs_struct *regs) {
    return (mdc_amd64_registers){.general = {regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
                                             regs->rsi, regs->rdi, regs->r8, regs->r9, regs->r10, regs->r11, regs->r12,
                                             regs->r13, regs->r14, regs->r15, regs->rip},
                                 .eflags = (uint32_t)regs->eflags,
                                 .cs = (uint16_t)regs->cs,
                                 .ds = (uint16_t)regs->ds,
                                 .es = (uint16_t)regs->es,
                                 .fs = (uint16_t)regs->fs,
                                 .gs = (uint16_t)regs->gs,
                                 .ss = (uint16_t)regs->ss};
}

int mdc_registers_read(int32_t tid, const mdc_registers_layout *layout, uint8_t *context,
                       mdc_registers_summary *summary) {
    struct user_regs_struct regs;
    uint64_t area[MDC_AMD64_XSAVE_MAX / 8];
    size_t size = sizeof regs;

    int failpoint = MDC_FAILPOINT("regs:thread");
    if (failpoint != 0) return failpoint;
    mdc_amd64_context_clear(context, layout->context_size);
    memset(&regs, 0, sizeof regs);
    if (regset(tid, NT_PRSTATUS, &regs, &size) != 0) return errno;
    /* The kernel shows a thread in 32-bit mode as i386: 68 bytes. */
    if (size != sizeof regs) return MDC_REGISTERS_32_BIT;
    const mdc_amd64_registers general = general_of(&regs);
    mdc_amd64_put_general(context, &general);

    /* Without the extended state the short read is enough: the same 512 bytes. */
    bool extended = layout->xstate_size != 0;
    size = extended ? layout->xstate_size : MDC_AMD64_FXSAVE_SIZE;
    if (regset(tid, extended ? NT_X86_XSTATE : NT_PRFPREG, area, &size) != 0 && errno == ESRCH) return ESRCH;
    if (size >= MDC_AMD64_FXSAVE_SIZE) mdc_amd64_put_float(context, (const uint8_t *)area);
    if (extended && size >= MDC_AMD64_XSAVE_MIN)
        mdc_amd64_put_extended(context, layout->xstate_size, layout->xstate_mask, (const uint8_t *)area, size);
    (void)read_debug(tid, context);

    summary->stack_pointer = regs.rsp;
    summary->instruction_pointer = regs.rip;
    summary->thread_pointer = regs.fs_base;
    return 0;
}

void mdc_registers_none(const mdc_registers_layout *layout, uint8_t *context) {
    mdc_amd64_context_clear(context, layout->context_size);
}

void mdc_registers_where(uint8_t *context, const mdc_registers_summary *summary) {
    mdc_amd64_put_control(context, summary->stack_pointer, summary->instruction_pointer);
}

#else
/* ISO C wants a declaration in every file; other processors have a file of their own. */
typedef int mdc_registers_x86_64_is_not_built;
#endif
