/* System calls made by a stopped thread of another process, so that the thread is as before whatever happens to us.
 *
 * The kernel detaches a tracee when its tracer dies, and it runs on with the registers it has at that moment. So before
 * the registers are changed, a chain is written below the thread's red zone that leads back: the address of code that
 * calls rt_sigreturn, and a signal frame with the original registers (vector state too) and signal mask. The call is
 * made at a `syscall; ret` of the target, with the stack pointer at the chain: without us the call returns, `ret` finds
 * the way back, and the interrupted system call begins again. With us the thread never gets there: its registers are
 * put back in a stop inside the kernel, where an interrupted call is restarted as after any other stop. No
 * instruction of the target's memory is changed.
 *
 * A second frame is for a child of clone that loses its tracer: exit_group, with all signals blocked.
 *
 * Order: registers before signal mask on the way there, mask before registers on the way back, so that the chain always
 * restores what is not the original. Signals that the thread itself causes stay unblocked: the kernel would reset the
 * handler of one that it has to force. Signals that come stay pending, and are delivered after.
 *
 * For the tracer: no lock, no allocation (ptrace_threads.h); nothing rests on wait events. One file per processor
 * implements this (inject_x86_64.c). */
#ifndef MDC_LINUX_INJECT_H
#define MDC_LINUX_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MDC_RESTORER_BYTES = 16, MDC_INJECT_BYTES = 20 * 1024 };

/* Code of the target, by address. */
typedef struct mdc_gadgets {
    uint64_t call;     /* `syscall; ret`, 0: none */
    uint64_t restorer; /* calls rt_sigreturn, 0: none */
    uint8_t restorer_bytes[MDC_RESTORER_BYTES];
    uint32_t restorer_size;
    uint32_t reserved;
} mdc_gadgets;

/* The first of each kind in `size` bytes of code at `address`, if it is not known yet. */
void mdc_gadgets_find(mdc_gadgets *gadgets, const uint8_t *code, size_t size, uint64_t address);

/* What became of a step. */
typedef enum mdc_injected {
    MDC_INJECTED = 0,
    MDC_INJECT_UNFIT = 1, /* nothing was done: the thread is not one that can make a call now */
    MDC_INJECT_GONE = 2,  /* it, or its process, was killed */
    MDC_INJECT_FAILED = 3 /* os_errno */
} mdc_injected;

/* A thread while calls are made in it. */
typedef struct mdc_injection {
    int32_t tid;
    int32_t os_errno;
    uint64_t thread_pointer;
    uint64_t stack;       /* the chain: the thread's stack pointer during a call */
    uint64_t child_stack; /* the same for a child */
    uint64_t limit_ns;    /* how long one step may take */
    bool signalled;       /* it is unfit only for a signal that is being delivered to it */
    bool discard;         /* it was stopped by a signal that a call of ours caused */
    /* Private. */
    mdc_gadgets gadgets;
    uint64_t registers[27]; /* user_regs_struct */
    uint64_t mask;
    uint64_t at;                                               /* where the bytes below were */
    size_t size;                                               /* bytes */
    uint8_t frame[MDC_INJECT_BYTES], before[MDC_INJECT_BYTES]; /* what is written, and what was there */
} mdc_injection;

/* Which part of its own stack a thread would write to: [*first, *end), for the caller to check that it may.
 * MDC_INJECT_UNFIT: it is stopped in a way that allows no call: by a signal, in 32-bit code, in a critical section of
 * rseq(2), where system calls are dispatched to the program. *by_signal: by one that stops processes; a call can be
 * made all the same, and the thread stays stopped after it. */
mdc_injected mdc_inject_look(mdc_injection *self, int32_t tid, const mdc_gadgets *gadgets, uint64_t *first,
                             uint64_t *end, bool *by_signal);
/* Writes the chain. */
mdc_injected mdc_inject_begin(mdc_injection *self);
/* clone(2) with these flags: *child is its number here, *inner in the target. The child is traced, has stopped, and is
 * killed with us. */
mdc_injected mdc_inject_clone(mdc_injection *self, uint64_t flags, int32_t *child, int64_t *inner);
/* Another call; *result as the kernel returns it. */
mdc_injected mdc_inject_call(mdc_injection *self, long number, const uint64_t *arguments, size_t count,
                             int64_t *result);
/* Everything is as before; the thread is stopped. The bytes of the chain are put back last. */
mdc_injected mdc_inject_end(mdc_injection *self);

/* A child that mdc_inject_clone has made calls; it stays as it is after that, for good. */
mdc_injected mdc_inject_child_call(mdc_injection *self, int32_t child, long number, const uint64_t *arguments,
                                   size_t count, int64_t *result);
/* In the child's memory the bytes of the chain are what they were, too. */
bool mdc_inject_child_clean(const mdc_injection *self, int32_t child);

#endif
