#include "linux_signal.h"

#include <string.h>

/* Offsets in struct ucontext; its struct sigcontext_64 begins at 40. */
enum {
    UC_FLAGS = 0,
    UC_LINK = 8,
    UC_STACK = 16, /* stack_t */
    UC_STACK_FLAGS = 24,
    UC_STACK_SIZE = 32,
    SC_R8 = 40,
    SC_RDI = 104,
    SC_RSI = 112,
    SC_RBP = 120,
    SC_RBX = 128,
    SC_RDX = 136,
    SC_RAX = 144,
    SC_RCX = 152,
    SC_RSP = 160,
    SC_RIP = 168,
    SC_EFLAGS = 176,
    SC_CS = 184, /* then Gs, Fs, Ss */
    SC_ERROR = 192,
    SC_TRAP = 200,
    SC_CR2 = 216,
    SC_FPSTATE = 224,

    UC_FLAGS_KNOWN = 7, /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
    UC_SIGCONTEXT_SS = 2,
    USER_CS = 0x33,
    USER_SS = 0x2B,
    TRAP_MAX = 32,
    FPSTATE_DISTANCE = 256 * 1024, /* from a frame to its XSAVE area, at most */

    /* The bytes that the processor leaves to software, in the FXSAVE image: struct _fpx_sw_bytes. */
    SW_MAGIC = 464,
    SW_XSTATE_SIZE = 480,

    SI_SIGNO = 0,
    SI_CODE = 8,
    SI_ADDR = 16, /* or si_pid, si_uid, si_value */
    SI_UID = 20,
    SI_VALUE = 24,
    SI_SYSCALL = 24,
    SI_ARCH = 28
};
#define FP_XSTATE_MAGIC1 0x46505853U
#define ADDRESS_MAX (UINT64_C(1) << 56) /* of user space with five levels of page tables */

static uint64_t get64(const uint8_t *bytes, size_t at) {
    uint64_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *bytes, size_t at) {
    uint32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

bool mdc_ucontext_parse(const uint8_t *bytes, mdc_ucontext *found) {
    uint16_t segments[4]; /* Cs, Gs, Fs, Ss */
    uint64_t flags = get64(bytes, UC_FLAGS), eflags = get64(bytes, SC_EFLAGS);
    memcpy(segments, bytes + SC_CS, sizeof segments);
    /* SS_ONSTACK, SS_DISABLE; SS_AUTODISARM is the highest bit. Bit 1 of Rflags is always set, and 22 to 63 never. */
    if (segments[0] != USER_CS || flags > UC_FLAGS_KNOWN || get64(bytes, UC_LINK) != 0 ||
        (get32(bytes, UC_STACK_FLAGS) & 0x7FFFFFFFU) > 2 || (eflags & 2) == 0 || eflags >> 22 != 0 ||
        get64(bytes, SC_TRAP) > TRAP_MAX)
        return false;
    mdc_amd64_registers *registers = &found->registers;
    *found = (mdc_ucontext){.registers = {.general = {get64(bytes, SC_RAX), get64(bytes, SC_RCX), get64(bytes, SC_RDX),
                                                      get64(bytes, SC_RBX), get64(bytes, SC_RSP), get64(bytes, SC_RBP),
                                                      get64(bytes, SC_RSI), get64(bytes, SC_RDI)},
                                          .eflags = (uint32_t)eflags,
                                          .cs = segments[0],
                                          .fs = segments[2],
                                          .gs = segments[1],
                                          .ss = (flags & UC_SIGCONTEXT_SS) != 0 ? segments[3] : USER_SS},
                            .fpstate = get64(bytes, SC_FPSTATE),
                            .stack = get64(bytes, UC_STACK),
                            .stack_size = get64(bytes, UC_STACK_SIZE),
                            .trap = (uint32_t)get64(bytes, SC_TRAP),
                            .trap_error = (uint32_t)get64(bytes, SC_ERROR),
                            .trap_address = get64(bytes, SC_CR2)};
    memcpy(&registers->general[8], bytes + SC_R8, 8 * sizeof registers->general[0]);
    registers->general[MDC_AMD64_RIP] = get64(bytes, SC_RIP);
    return true;
}

bool mdc_sigframe_plausible(const uint8_t *bytes, uint64_t address, uint64_t *return_address, mdc_ucontext *found) {
    if (!mdc_ucontext_parse(bytes + MDC_SIGFRAME_UCONTEXT, found)) return false;
    uint64_t sp = found->registers.general[MDC_AMD64_RSP];
    if (sp == 0 || sp >= ADDRESS_MAX) return false;
    if (found->fpstate != 0 && (found->fpstate < address || found->fpstate - address > FPSTATE_DISTANCE)) return false;
    *return_address = get64(bytes, 0);
    return true;
}

uint32_t mdc_fpstate_size(const uint8_t *head) {
    uint32_t size = get32(head, SW_XSTATE_SIZE);
    if (get32(head, SW_MAGIC) != FP_XSTATE_MAGIC1 || size < MDC_AMD64_XSAVE_MIN || size > MDC_AMD64_XSAVE_MAX)
        return MDC_AMD64_FXSAVE_SIZE;
    return size;
}

bool mdc_signal_is_fault(int32_t signal) {
    return signal == MDC_SIGILL || signal == MDC_SIGTRAP || signal == MDC_SIGABRT || signal == MDC_SIGBUS ||
           signal == MDC_SIGFPE || signal == MDC_SIGSEGV || signal == MDC_SIGSYS;
}

void mdc_siginfo_parse(const uint8_t bytes[MDC_SIGINFO_BYTES], mdc_siginfo *found) {
    *found = (mdc_siginfo){.signal = (int32_t)get32(bytes, SI_SIGNO), .code = (int32_t)get32(bytes, SI_CODE)};
    if (found->code <= 0) { /* kill(2), tgkill(2), sigqueue(3) */
        found->sender = (int32_t)get32(bytes, SI_ADDR);
        found->parameter_count = 3;
        found->parameters[0] = get32(bytes, SI_ADDR);
        found->parameters[1] = get32(bytes, SI_UID);
        found->parameters[2] = get64(bytes, SI_VALUE);
    } else if (mdc_signal_is_fault(found->signal) && found->signal != MDC_SIGABRT) {
        found->address = get64(bytes, SI_ADDR);
        if (found->signal != MDC_SIGSYS) return;
        found->parameter_count = 2;
        found->parameters[0] = get32(bytes, SI_SYSCALL);
        found->parameters[1] = get32(bytes, SI_ARCH);
    }
}

void mdc_siginfo_parse_narrow(const uint8_t bytes[MDC_SIGINFO_BYTES], mdc_siginfo *found) {
    enum { NARROW_FIELDS = 12, NARROW_VALUE = 20, NARROW_SYSCALL = 16, NARROW_ARCH = 20 };
    uint8_t wide[MDC_SIGINFO_BYTES] = {0};
    memcpy(wide, bytes, NARROW_FIELDS);
    const int32_t code = (int32_t)get32(bytes, SI_CODE);
    if (code <= 0) {
        memcpy(wide + SI_ADDR, bytes + NARROW_FIELDS, 8); /* si_pid, si_uid */
        memcpy(wide + SI_VALUE, bytes + NARROW_VALUE, 4);
    } else {
        memcpy(wide + SI_ADDR, bytes + NARROW_FIELDS, 4);
        memcpy(wide + SI_SYSCALL, bytes + NARROW_SYSCALL, 4);
        memcpy(wide + SI_ARCH, bytes + NARROW_ARCH, 4);
    }
    mdc_siginfo_parse(wide, found);
}

bool mdc_siginfo_of_trap(const mdc_ucontext *saved, int32_t signal, mdc_siginfo *found) {
    enum { DIVIDE_ERROR = 0, INVALID_OPCODE = 6, GENERAL_PROTECTION = 13, PAGE_FAULT = 14, ALIGNMENT = 17 };
    const uint64_t *general = saved->registers.general, rip = general[MDC_AMD64_RIP];
    /* SYSCALL leaves Rip in Rcx: such a signal was sent, and the number is that of an exception before it. */
    if (general[MDC_AMD64_RCX] == rip) return false;
    *found = (mdc_siginfo){.signal = signal};
    if (saved->trap == PAGE_FAULT && (signal == MDC_SIGSEGV || signal == MDC_SIGBUS)) {
        /* Bit 0 of the error: the page was there. */
        const int32_t refused = (saved->trap_error & 1) != 0 ? MDC_SEGV_ACCERR : MDC_SEGV_MAPERR;
        found->code = signal == MDC_SIGBUS ? MDC_BUS_ADRERR : refused;
        found->address = saved->trap_address;
    } else if (saved->trap == GENERAL_PROTECTION && signal == MDC_SIGSEGV) {
        found->code = MDC_SI_KERNEL;
    } else if (saved->trap == ALIGNMENT && signal == MDC_SIGBUS) {
        found->code = MDC_BUS_ADRALN;
    } else if (saved->trap == INVALID_OPCODE && signal == MDC_SIGILL) {
        found->code = MDC_ILL_ILLOPN;
        found->address = rip;
    } else if (saved->trap == DIVIDE_ERROR && signal == MDC_SIGFPE) {
        found->code = MDC_FPE_INTDIV;
        found->address = rip;
    } else {
        return false;
    }
    return true;
}
