/* What Linux leaves on a stack for a signal handler, on x86-64: struct rt_sigframe (arch/x86/include/asm/sigframe.h)
 * with a struct ucontext in it, and siginfo_t (include/uapi/asm-generic/siginfo.h). The bytes come from a target. */
#ifndef MDC_FORMAT_LINUX_SIGNAL_H
#define MDC_FORMAT_LINUX_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amd64_context.h"

/* Numbers of signals, the same on all processors but a few. */
enum {
    MDC_SIGILL = 4,
    MDC_SIGTRAP = 5,
    MDC_SIGABRT = 6,
    MDC_SIGBUS = 7,
    MDC_SIGFPE = 8,
    MDC_SIGSEGV = 11,
    MDC_SIGSYS = 31
};

/* si_code */
enum {
    MDC_SI_TKILL = -6,
    MDC_SI_KERNEL = 128,
    MDC_ILL_ILLOPN = 2,
    MDC_FPE_INTDIV = 1,
    MDC_SEGV_MAPERR = 1,
    MDC_SEGV_ACCERR = 2,
    MDC_BUS_ADRALN = 1,
    MDC_BUS_ADRERR = 2
};

/* The frame: the return address, the ucontext, the siginfo. The bytes of ucontext that the kernel fills in; glibc's
 * ucontext_t is longer. */
enum {
    MDC_SIGFRAME_UCONTEXT = 8,
    MDC_UCONTEXT_BYTES = 304,
    MDC_SIGFRAME_SIGINFO = MDC_SIGFRAME_UCONTEXT + MDC_UCONTEXT_BYTES,
    MDC_SIGINFO_BYTES = 128,
    MDC_SIGFRAME_BYTES = MDC_SIGFRAME_SIGINFO + MDC_SIGINFO_BYTES
};

typedef struct mdc_ucontext {
    mdc_amd64_registers registers; /* without Ds and Es, which are not in it */
    uint64_t fpstate;              /* address of the XSAVE area, 0: none */
    uint64_t stack;                /* the alternate stack that was set, and its size in bytes */
    uint64_t stack_size;
    uint32_t trap; /* the processor's number of the exception, of this signal or of one before it */
    uint32_t trap_error;
    uint64_t trap_address; /* CR2 */
} mdc_ucontext;

/* false: these MDC_UCONTEXT_BYTES are not a ucontext. */
bool mdc_ucontext_parse(const uint8_t *bytes, mdc_ucontext *found);

/* A frame is 8 above a multiple of 16 (align_sigframe in arch/x86/kernel/signal.c). */
static inline uint64_t mdc_sigframe_align(uint64_t address) { return address + (8 - (address & 15) + 16) % 16; }
/* Whether these MDC_SIGFRAME_BYTES can be a frame at this address. The caller looks whether *return_address can be
 * run. */
bool mdc_sigframe_plausible(const uint8_t *bytes, uint64_t address, uint64_t *return_address, mdc_ucontext *found);

/* Bytes of the XSAVE area at fpstate, of which these MDC_AMD64_FXSAVE_SIZE are the head; at least that, and never above
 * MDC_AMD64_XSAVE_MAX (struct _fpx_sw_bytes, arch/x86/include/uapi/asm/sigcontext.h). */
uint32_t mdc_fpstate_size(const uint8_t *head);

typedef struct mdc_siginfo {
    int32_t signal;
    int32_t code;
    uint64_t address; /* si_addr, 0 if there is none */
    int32_t sender;   /* si_pid, 0 if no process sent it */
    /* What Crashpad stores (exception_snapshot_linux.cc): si_pid, si_uid, si_value of a signal that was sent;
     * si_syscall and si_arch of SIGSYS; nothing else. */
    uint32_t parameter_count;
    uint64_t parameters[3];
} mdc_siginfo;

void mdc_siginfo_parse(const uint8_t bytes[MDC_SIGINFO_BYTES], mdc_siginfo *found);
/* The siginfo of a 32-bit process. */
void mdc_siginfo_parse_narrow(const uint8_t bytes[MDC_SIGINFO_BYTES], mdc_siginfo *found);

/* The siginfo of a fault, by the processor's exception: for a frame without one, of a handler that has no SA_SIGINFO.
 * false: it was not interrupted by a fault that gives this signal. */
bool mdc_siginfo_of_trap(const mdc_ucontext *saved, int32_t signal, mdc_siginfo *found);

/* Whether its handlers are of crashes: the signals of faults, and abort(). */
bool mdc_signal_is_fault(int32_t signal);

#endif
