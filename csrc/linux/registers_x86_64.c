/* x86-64: user_regs_struct and the XSAVE area -> CONTEXT (AMD64, 1232 bytes).
 *
 * Offsets of CONTEXT: winnt.h. The XSAVE area as PTRACE_GETREGSET shows it is in standard format, with XCR0 at byte 464
 * (the kernel's sw_reserved bytes) and the XSAVE header at 512 (Intel SDM vol. 1, 13.4). */
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

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

enum {
    CONTEXT_SIZE = 1232,
    CONTEXT_FLAGS = 48,
    CONTEXT_MXCSR = 52,
    CONTEXT_SEG_CS = 56,
    CONTEXT_SEG_DS = 58,
    CONTEXT_SEG_ES = 60,
    CONTEXT_SEG_FS = 62,
    CONTEXT_SEG_GS = 64,
    CONTEXT_SEG_SS = 66,
    CONTEXT_EFLAGS = 68,
    CONTEXT_DR0 = 72, /* Dr0-Dr3, Dr6, Dr7 */
    CONTEXT_RAX = 120,
    CONTEXT_RSP = 152,
    CONTEXT_RIP = 248,
    CONTEXT_FLT_SAVE = 256,

    FXSAVE_SIZE = 512,
    FXSAVE_MXCSR = 24,
    XSAVE_HEADER_SIZE = 64,
    XSAVE_MIN = FXSAVE_SIZE + XSAVE_HEADER_SIZE,
    XSAVE_MAX = 16384, /* the longest known, with AMX tiles, is 11,008 */

    CONTEXT_EX_SIZE = 24,
    XSTATE_GAP = 48, /* from CONTEXT_EX to the XSAVE header, which then is at a multiple of 64 */

    FLAGS_AMD64 = 0x100000,
    FLAGS_CONTROL = 0x01,
    FLAGS_CONTROL_INTEGER_SEGMENTS = 0x07,
    FLAGS_FLOATING_POINT = 0x08,
    FLAGS_DEBUG = 0x10,
    FLAGS_XSTATE = 0x40
};

_Static_assert((CONTEXT_SIZE + XSTATE_GAP) % 64 == 0, "the XSAVE header is 64-aligned");
_Static_assert(sizeof(struct user_regs_struct) == 27 * 8, "NT_PRSTATUS of x86-64");

static void put16(uint8_t *context, uint32_t at, uint64_t value) {
    uint16_t v = (uint16_t)value;
    memcpy(context + at, &v, sizeof v);
}

static void put32(uint8_t *context, uint32_t at, uint64_t value) {
    uint32_t v = (uint32_t)value;
    memcpy(context + at, &v, sizeof v);
}

static void put64(uint8_t *context, uint32_t at, uint64_t value) { memcpy(context + at, &value, sizeof value); }

mdc_registers_layout mdc_registers_describe(bool with_xstate) {
    mdc_registers_layout layout = {.context_size = CONTEXT_SIZE};
    uint32_t a = 0, b = 0, c = 0, d = 0;

    if (!with_xstate || !__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0) return layout;
    if (!__get_cpuid_count(0xD, 0, &a, &b, &c, &d)) return layout;
    /* EAX, EDX: the components XCR0 can have; Linux enables what it knows of them. EBX: the area's size for those
     * that are enabled. XGETBV shows which, and needs no library. */
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (b <= XSAVE_MIN || b > XSAVE_MAX) return layout; /* nothing beyond SSE, or nothing we know */
    layout.xstate_size = b;
    layout.xstate_mask = (uint64_t)high << 32 | low;
    layout.context_size = CONTEXT_SIZE + XSTATE_GAP + (b - FXSAVE_SIZE);
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
        if (offset < XSAVE_MIN || offset > layout->xstate_size || size > layout->xstate_size - offset) continue;
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
    for (uint32_t i = 0; i < sizeof numbers; i++) {
        uint64_t value;
        if (!read_one_debug(tid, numbers[i], &value)) return false;
        if (i == 0 && value == 0) return true;
        put64(context, CONTEXT_DR0 + 8U * (numbers[i] < 4 ? numbers[i] : numbers[i] - 2U), value);
    }
    return true;
}

static void write_general(const struct user_regs_struct *regs, uint8_t *context) {
    /* Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8-R15, Rip: the processor's own numbering. */
    const uint64_t in_order[] = {regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
                                 regs->rsi, regs->rdi, regs->r8,  regs->r9,  regs->r10, regs->r11,
                                 regs->r12, regs->r13, regs->r14, regs->r15, regs->rip};
    memcpy(context + CONTEXT_RAX, in_order, sizeof in_order);
    put16(context, CONTEXT_SEG_CS, regs->cs);
    put16(context, CONTEXT_SEG_DS, regs->ds);
    put16(context, CONTEXT_SEG_ES, regs->es);
    put16(context, CONTEXT_SEG_FS, regs->fs);
    put16(context, CONTEXT_SEG_GS, regs->gs);
    put16(context, CONTEXT_SEG_SS, regs->ss);
    put32(context, CONTEXT_EFLAGS, regs->eflags);
}

static void write_float(const uint8_t *fxsave, uint8_t *context) {
    memcpy(context + CONTEXT_FLT_SAVE, fxsave, FXSAVE_SIZE);
    memcpy(context + CONTEXT_MXCSR, fxsave + FXSAVE_MXCSR, 4);
}

/* size: bytes of the XSAVE area the kernel gave, at least XSAVE_MIN. */
static void write_extended(const mdc_registers_layout *layout, const uint8_t *area, size_t size, uint8_t *context) {
    uint32_t length = layout->xstate_size - FXSAVE_SIZE;
    size_t there = size - FXSAVE_SIZE;
    uint8_t *header = context + CONTEXT_SIZE + XSTATE_GAP;
    uint64_t mask = 0;

    memcpy(header, area + FXSAVE_SIZE, there < length ? there : length);
    memcpy(&mask, header, sizeof mask);
    mask &= layout->xstate_mask & ~UINT64_C(3);
    memset(header, 0, XSAVE_HEADER_SIZE);
    memcpy(header, &mask, sizeof mask);

    put32(context, CONTEXT_SIZE + 0, (uint32_t)-CONTEXT_SIZE); /* All */
    put32(context, CONTEXT_SIZE + 4, layout->context_size);
    put32(context, CONTEXT_SIZE + 8, (uint32_t)-CONTEXT_SIZE); /* Legacy */
    put32(context, CONTEXT_SIZE + 12, CONTEXT_SIZE);
    put32(context, CONTEXT_SIZE + 16, XSTATE_GAP); /* XState */
    put32(context, CONTEXT_SIZE + 20, length);
}

int mdc_registers_read(int32_t tid, const mdc_registers_layout *layout, uint8_t *context,
                       mdc_registers_summary *summary) {
    struct user_regs_struct regs;
    uint64_t area[XSAVE_MAX / 8];
    size_t size = sizeof regs;
    uint32_t flags = FLAGS_AMD64 | FLAGS_CONTROL_INTEGER_SEGMENTS;

    int failpoint = MDC_FAILPOINT("regs:thread");
    if (failpoint != 0) return failpoint;
    memset(context, 0, layout->context_size);
    memset(&regs, 0, sizeof regs);
    if (regset(tid, NT_PRSTATUS, &regs, &size) != 0) return errno;
    /* The kernel shows a thread in 32-bit mode as i386: 68 bytes. */
    if (size != sizeof regs) return MDC_REGISTERS_32_BIT;
    write_general(&regs, context);

    /* Without the extended state the short read is enough: the same 512 bytes. */
    bool extended = layout->xstate_size != 0;
    size = extended ? layout->xstate_size : FXSAVE_SIZE;
    if (regset(tid, extended ? NT_X86_XSTATE : NT_PRFPREG, area, &size) != 0 && errno == ESRCH) return ESRCH;
    if (size >= FXSAVE_SIZE) {
        write_float((const uint8_t *)area, context);
        flags |= FLAGS_FLOATING_POINT;
    }
    if (extended && size >= XSAVE_MIN) {
        write_extended(layout, (const uint8_t *)area, size, context);
        flags |= FLAGS_XSTATE;
    }
    if (read_debug(tid, context)) flags |= FLAGS_DEBUG;
    put32(context, CONTEXT_FLAGS, flags);

    summary->stack_pointer = regs.rsp;
    summary->instruction_pointer = regs.rip;
    summary->thread_pointer = regs.fs_base;
    return 0;
}

void mdc_registers_none(const mdc_registers_layout *layout, uint8_t *context) {
    memset(context, 0, layout->context_size);
    put32(context, CONTEXT_FLAGS, FLAGS_AMD64);
}

void mdc_registers_where(uint8_t *context, const mdc_registers_summary *summary) {
    put64(context, CONTEXT_RSP, summary->stack_pointer);
    put64(context, CONTEXT_RIP, summary->instruction_pointer);
    put32(context, CONTEXT_FLAGS, FLAGS_AMD64 | FLAGS_CONTROL);
}

#else
/* ISO C wants a declaration in every file; other processors have a file of their own. */
typedef int mdc_registers_x86_64_is_not_built;
#endif
