/* x86-64: calls made by a stopped thread (see inject.h). */
#if defined(__x86_64__)

#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/failpoint.h"
#include "../format/amd64_context.h"
#include "ptrace_threads.h"
#include "registers.h"

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* include/uapi/linux/ptrace.h; the headers a build finds may be older. */
enum {
    GETSIGMASK = 0x420A,
    SETSIGMASK = 0x420B,
    GET_SYSCALL_INFO = 0x420E,
    GET_RSEQ = 0x420F,
    GET_DISPATCH = 0x4211,
    STOP_ENTRY = 1, /* mdc_call_info.op */
    STOP_EXIT = 2,
    EVENT_CLONE = 3,
    EVENT_STOP = 128,
    OPTION_SYSGOOD = 0x1,
    OPTION_CLONE = 0x8,
    OPTION_EXITKILL = 0x100000
};

/* Errors inside the kernel: the interrupted call begins again (include/linux/errno.h). */
enum { RESTART_SYS = -512, RESTART_NOINTR = -513, RESTART_NOHAND = -514, RESTART_BLOCK = -516 };

enum {
    CODE_64 = 0x33,
    RED_ZONE = 128,
    CALL_BYTES = 2, /* `syscall` */
    LOAD_BYTES = 5, /* `mov $number, %eax` */
    TRAP_FLAG = 0x100,
    ATTEMPTS = 16,
    EAGER_POLLS = 200, /* looks before the first sleep */
    EXIT_GROUP = 231,
    PAUSE_MIN_NS = 10000,
    PAUSE_MAX_NS = 200000
};

/* struct rt_sigframe as rt_sigreturn reads it (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h). */
typedef struct signal_frame {
    uint64_t restorer;
    uint64_t flags;
    uint64_t link;
    uint64_t alternate[3]; /* ss_sp, ss_flags, ss_size */
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, cr2, float_state, reserved[8];
    uint64_t mask;
    uint8_t info[128];
} signal_frame;

_Static_assert(sizeof(signal_frame) == 8 + 304 + 128, "the kernel's rt_sigframe");

enum {
    FRAME_XSTATE = 1,     /* UC_FP_XSTATE */
    FRAME_SS = 2 | 4,     /* UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
    NO_SUCH_STACK = 4,    /* ss_flags that sigaltstack refuses: rt_sigreturn ignores that, and changes nothing */
    SOFTWARE_BYTES = 464, /* where struct _fpx_sw_bytes is */
    FEATURES_USED = 512   /* XSTATE_BV */
};
#define MAGIC1 UINT32_C(0x46505853)
#define MAGIC2 UINT32_C(0x46505845)
#define TILES                                                                                                          \
    (UINT64_C(3) << 17) /* AMX: a process has to ask for it, and only then the kernel takes a frame with it            \
                         */

typedef struct mdc_call_info {
    uint8_t op;
    uint8_t rest[95];
} mdc_call_info;

void mdc_gadgets_find(mdc_gadgets *gadgets, const uint8_t *code, size_t size, uint64_t address) {
    static const uint8_t call[] = {0x0F, 0x05, 0xC3};
    static const uint8_t restorers[2][9] = {{0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05},
                                            {0xB8, 0x0F, 0, 0, 0, 0x0F, 0x05}};
    static const uint8_t sizes[2] = {9, 7};
    const uint8_t *at = code, *end = code + size;
    /* Each of them has `syscall` in it. */
    while ((gadgets->call == 0 || gadgets->restorer == 0) && end - at >= CALL_BYTES) {
        at = memchr(at, 0x0F, (size_t)(end - at) - 1);
        if (at == NULL) break;
        if (at[1] == 0x05) {
            if (gadgets->call == 0 && end - at >= 3 && memcmp(at, call, sizeof call) == 0)
                gadgets->call = address + (uint64_t)(at - code);
            for (size_t i = 0; i < 2 && gadgets->restorer == 0; i++) {
                const size_t before = sizes[i] - (size_t)CALL_BYTES;
                if ((size_t)(at - code) < before || memcmp(at - before, restorers[i], sizes[i]) != 0) continue;
                gadgets->restorer = address + (uint64_t)(at - code) - before;
                gadgets->restorer_size = sizes[i];
                memcpy(gadgets->restorer_bytes, restorers[i], sizes[i]);
            }
        }
        at++;
    }
}

/* -- ptrace -------------------------------------------------------------------------------------------------------- */

/* A tracer that is killed right here. */
static void step(const char *name) {
    (void)name;
    if (MDC_FAILPOINT(name) != 0) kill((pid_t)syscall(SYS_getpid), SIGKILL);
}

static mdc_injected failed(mdc_injection *self, int os_errno) {
    self->os_errno = os_errno;
    return os_errno == ESRCH ? MDC_INJECT_GONE : MDC_INJECT_FAILED;
}

/* glibc's prototype takes an enum, musl's an int. */
static long trace(int request, int32_t tid, uintptr_t address, uintptr_t data) {
    return syscall(SYS_ptrace, (long)request, (long)tid, address, data);
}

static bool get_registers(int32_t tid, struct user_regs_struct *registers) {
    return trace(PTRACE_GETREGS, tid, 0, (uintptr_t)registers) == 0;
}

static bool set_registers(int32_t tid, const struct user_regs_struct *registers) {
    return trace(PTRACE_SETREGS, tid, 0, (uintptr_t)registers) == 0;
}

static bool set_mask(int32_t tid, uint64_t mask) { return trace(SETSIGMASK, tid, sizeof mask, (uintptr_t)&mask) == 0; }

/* Bytes of its memory; what it may write itself can be written. */
static bool copy(int32_t tid, uint64_t address, void *bytes, size_t size, bool write) {
    struct iovec local = {bytes, size}, remote = {(void *)(uintptr_t)address, size};
    ssize_t done =
        write ? process_vm_writev(tid, &local, 1, &remote, 1, 0) : process_vm_readv(tid, &local, 1, &remote, 1, 0);
    if (done == (ssize_t)size) return true;
    uint8_t *at = bytes; /* by words: where those calls are forbidden; all addresses are multiples of 8 */
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, 8);
        if (write ? trace(PTRACE_POKEDATA, tid, address + i, word) != 0
                  : trace(PTRACE_PEEKDATA, tid, address + i, (uintptr_t)&word) != 0)
            return false;
        if (!write) memcpy(at + i, &word, 8);
    }
    return size % 8 == 0;
}

/* How it is stopped: STOP_ENTRY or STOP_EXIT of a call, else 0; *code, *number: si_code and si_signo. */
static int stopped_how(int32_t tid, int *code, int *number) {
    mdc_call_info info = {.op = 0};
    siginfo_t signal;
    memset(&signal, 0, sizeof signal);
    *code = *number = 0;
    if (trace(PTRACE_GETSIGINFO, tid, 0, (uintptr_t)&signal) == 0) {
        *code = signal.si_code;
        *number = signal.si_signo;
    }
    if (trace(GET_SYSCALL_INFO, tid, sizeof info, (uintptr_t)&info) < 0) return 0;
    return info.op == STOP_ENTRY || info.op == STOP_EXIT ? info.op : 0;
}

static bool by_event(int code, int event) { return code == (SIGTRAP | event << 8); }

/* In a stop that PTRACE_INTERRUPT or session control makes: inside the kernel, where signals are looked for. */
static bool at_rest(int code, int number) { return code == (number | EVENT_STOP << 8); }

static mdc_injected wait_stopped(mdc_injection *self, int32_t tid) {
    uint64_t until = mdc_clock_ns() + self->limit_ns;
    long pause = PAUSE_MIN_NS;
    for (unsigned polls = 0; !mdc_registers_readable(tid); polls++) {
        if (polls < EAGER_POLLS) {
            sched_yield();
            continue;
        }
        if (mdc_tracee_has_exited(tid)) return failed(self, ESRCH);
        if (mdc_clock_ns() > until) return failed(self, ETIMEDOUT);
        nanosleep(&(struct timespec){0, pause}, NULL);
        if (pause < PAUSE_MAX_NS) pause += pause / 2;
    }
    return MDC_INJECTED;
}

/* -- whether it can be --------------------------------------------------------------------------------------------- */

/* Is it between the instructions of a critical section? The kernel would no longer abort that after a detour. */
static bool in_critical_section(int32_t tid, const struct user_regs_struct *registers) {
    struct {
        uint64_t address;
        uint32_t size, signature, flags, pad;
    } setting;
    uint64_t section = 0;
    if ((int64_t)registers->orig_rax >= 0) return false; /* a call in one would have been fatal */
    memset(&setting, 0, sizeof setting);
    if (trace(GET_RSEQ, tid, sizeof setting, (uintptr_t)&setting) < 0) return errno != ENOSYS;
    if (setting.address == 0) return false;
    return !copy(tid, setting.address + 8, &section, sizeof section, false) || section != 0;
}

/* Are its system calls signals to it (Wine)? Before Linux 6.4 that cannot be asked: then SIGSYS stops it at the call,
 * and is discarded. */
static bool dispatched(int32_t tid) {
    uint64_t setting[4] = {0};
    return trace(GET_DISPATCH, tid, sizeof setting, (uintptr_t)setting) == 0 && setting[0] != 0;
}

/* XSAVE area as PTRACE_GETREGSET shows it, made one that rt_sigreturn takes. Returns its size. */
static size_t float_state(int32_t tid, uint8_t *area) {
    struct iovec iov = {area, MDC_AMD64_XSAVE_MAX};
    uint64_t used, features, size = MDC_AMD64_XSAVE_MIN;
    if (trace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, (uintptr_t)&iov) != 0 || iov.iov_len < MDC_AMD64_XSAVE_MIN)
        return 0;
    memcpy(&features, area + SOFTWARE_BYTES, sizeof features);
    memcpy(&used, area + FEATURES_USED, sizeof used);
    if ((used & TILES) == 0) features &= ~TILES;
    const mdc_registers_layout layout = mdc_registers_describe(true);
    mdc_xstate_feature places[64];
    mdc_registers_xstate(&layout, places);
    for (size_t i = 2; i < 63; i++)
        if ((features >> i & 1) != 0) size = mdc_max_u64(size, (uint64_t)places[i].offset + places[i].size);
    if (size > iov.iov_len) return 0;
    const uint32_t software[] = {MAGIC1, (uint32_t)size + 4, (uint32_t)features, (uint32_t)(features >> 32),
                                 (uint32_t)size};
    memset(area + SOFTWARE_BYTES, 0, 48);
    memcpy(area + SOFTWARE_BYTES, software, sizeof software);
    const uint32_t magic2 = MAGIC2;
    memcpy(area + size, &magic2, sizeof magic2);
    return (size_t)size;
}

static void fill_frame(signal_frame *frame, const struct user_regs_struct *registers, uint64_t restorer,
                       uint64_t mask) {
    *frame = (signal_frame){.restorer = restorer,
                            .flags = FRAME_SS,
                            .alternate = {0, NO_SUCH_STACK, 0},
                            .r8 = registers->r8,
                            .r9 = registers->r9,
                            .r10 = registers->r10,
                            .r11 = registers->r11,
                            .r12 = registers->r12,
                            .r13 = registers->r13,
                            .r14 = registers->r14,
                            .r15 = registers->r15,
                            .rdi = registers->rdi,
                            .rsi = registers->rsi,
                            .rbp = registers->rbp,
                            .rbx = registers->rbx,
                            .rdx = registers->rdx,
                            .rax = registers->rax,
                            .rcx = registers->rcx,
                            .rsp = registers->rsp,
                            .rip = registers->rip,
                            .eflags = registers->eflags,
                            .cs = (uint16_t)registers->cs,
                            .gs = (uint16_t)registers->gs,
                            .fs = (uint16_t)registers->fs,
                            .ss = (uint16_t)registers->ss,
                            .mask = mask};
}

/* The call that restart_syscall goes on with, from the code before it: rt_sigreturn makes the kernel forget which it
 * is, and restart_syscall would end with EINTR. */
static uint64_t restarted_call(int32_t tid, const struct user_regs_struct *registers) {
    static const uint64_t calls[] = {SYS_poll, SYS_nanosleep, SYS_clock_nanosleep, SYS_futex};
    const uint64_t from = (registers->rip - LOAD_BYTES - CALL_BYTES) & ~UINT64_C(7); /* whole words */
    uint8_t words[24];
    uint32_t number;
    if (!copy(tid, from, words, sizeof words, false)) return SYS_restart_syscall;
    const uint8_t *code = words + (registers->rip - LOAD_BYTES - CALL_BYTES - from); /* mov $number, %eax; syscall */
    memcpy(&number, code + 1, sizeof number);
    if (code[0] != 0xB8 || code[5] != 0x0F || code[6] != 0x05) return SYS_restart_syscall;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (calls[i] == number) return number;
    return SYS_restart_syscall;
}

/* As the kernel would do it: without a stop, and so without what a restart block remembers (how long to sleep). */
static void restart(int32_t tid, struct user_regs_struct *registers) {
    const int64_t result = (int64_t)registers->rax;
    if ((int64_t)registers->orig_rax < 0) return;
    if (result != RESTART_SYS && result != RESTART_NOINTR && result != RESTART_NOHAND && result != RESTART_BLOCK)
        return;
    registers->rax = registers->orig_rax == SYS_restart_syscall ? restarted_call(tid, registers) : registers->orig_rax;
    registers->rip -= CALL_BYTES;
}

mdc_injected mdc_inject_look(mdc_injection *self, int32_t tid, const mdc_gadgets *gadgets, uint64_t *first,
                             uint64_t *end, bool *by_signal) {
    struct user_regs_struct registers;
    int code, number;
    self->tid = tid;
    self->gadgets = *gadgets;
    self->discard = self->signalled = false;
    self->os_errno = 0;
    *by_signal = false;
    if (!mdc_registers_readable(tid)) return MDC_INJECT_UNFIT;
    stopped_how(tid, &code, &number);
    *by_signal = at_rest(code, number) && number != SIGTRAP;
    self->signalled = !at_rest(code, number);
    if (self->signalled) return MDC_INJECT_UNFIT;
    if (!get_registers(tid, &registers) || trace(GETSIGMASK, tid, sizeof self->mask, (uintptr_t)&self->mask) != 0)
        return failed(self, errno);
    if (registers.cs != CODE_64 || registers.rsp < 2 * MDC_INJECT_BYTES || registers.rsp > (uint64_t)INT64_MAX)
        return MDC_INJECT_UNFIT;
    if (in_critical_section(tid, &registers) || dispatched(tid)) return MDC_INJECT_UNFIT;
    memcpy(self->registers, &registers, sizeof registers);
    self->thread_pointer = registers.fs_base;

    /* From the top: the child's frame, the vector state, the frame that leads back, which the `ret` begins with. Signal
     * handlers that run in between use what lies below it. */
    const uint64_t top = (registers.rsp - RED_ZONE) & ~UINT64_C(63);
    uint8_t *area = self->before; /* not used yet */
    size_t area_size = float_state(tid, area);
    if (area_size == 0) return MDC_INJECT_UNFIT;
    self->child_stack = (top - sizeof(signal_frame)) & ~UINT64_C(15);
    uint64_t area_at = (self->child_stack - area_size - 4) & ~UINT64_C(63);
    self->stack = (area_at - sizeof(signal_frame)) & ~UINT64_C(15);
    self->at = self->stack;
    self->size = (size_t)(top - self->at);
    if (self->size > MDC_INJECT_BYTES) return MDC_INJECT_UNFIT;
    *first = self->at - 4096; /* room for what runs in a kernel that puts a signal on top */
    *end = registers.rsp;

    signal_frame frame;
    memset(self->frame, 0, self->size);
    struct user_regs_struct way_back = registers;
    restart(tid, &way_back);
    fill_frame(&frame, &way_back, gadgets->restorer, self->mask);
    frame.flags |= FRAME_XSTATE;
    frame.float_state = area_at;
    memcpy(self->frame, &frame, sizeof frame);
    memcpy(self->frame + (area_at - self->at), area, area_size + 4);
    const struct user_regs_struct none = {.rip = gadgets->call,
                                          .rsp = self->child_stack,
                                          .rax = EXIT_GROUP,
                                          .eflags = 0x202,
                                          .cs = registers.cs,
                                          .ss = registers.ss};
    fill_frame(&frame, &none, gadgets->restorer, UINT64_MAX);
    memcpy(self->frame + (self->child_stack - self->at), &frame, sizeof frame);
    return MDC_INJECTED;
}

/* -- the calls ----------------------------------------------------------------------------------------------------- */

/* Is the code still what it was? */
static bool same_code(const mdc_injection *self) {
    uint8_t bytes[MDC_RESTORER_BYTES];
    uint8_t call[8]; /* whole words */
    struct iovec local[2] = {{bytes, self->gadgets.restorer_size}, {call, 3}};
    struct iovec remote[2] = {{(void *)(uintptr_t)self->gadgets.restorer, self->gadgets.restorer_size},
                              {(void *)(uintptr_t)self->gadgets.call, 3}};
    ssize_t got = process_vm_readv(self->tid, local, 2, remote, 2, 0);
    if (got != (ssize_t)self->gadgets.restorer_size + 3) {
        if (trace(PTRACE_PEEKDATA, self->tid, self->gadgets.call, (uintptr_t)call) != 0 ||
            trace(PTRACE_PEEKDATA, self->tid, self->gadgets.restorer, (uintptr_t)bytes) != 0 ||
            trace(PTRACE_PEEKDATA, self->tid, self->gadgets.restorer + 8, (uintptr_t)(bytes + 8)) != 0)
            return false;
    }
    return call[0] == 0x0F && call[1] == 0x05 && call[2] == 0xC3 &&
           memcmp(bytes, self->gadgets.restorer_bytes, self->gadgets.restorer_size) == 0;
}

mdc_injected mdc_inject_begin(mdc_injection *self) {
    if (!same_code(self)) return MDC_INJECT_UNFIT;
    if (!copy(self->tid, self->at, self->before, self->size, false)) return MDC_INJECT_UNFIT;
    if (!copy(self->tid, self->at, self->frame, self->size, true)) {
        (void)copy(self->tid, self->at, self->before, self->size, true);
        return MDC_INJECT_UNFIT;
    }
    step("inject:frame");
    return MDC_INJECTED;
}

static void fill_call(struct user_regs_struct *registers, const mdc_injection *self, uint64_t stack, long number,
                      const uint64_t *arguments, size_t count) {
    const uint64_t none = 0;
    registers->rip = self->gadgets.call;
    registers->rsp = stack;
    registers->rax = (uint64_t)number;
    registers->orig_rax = UINT64_MAX; /* no call to restart */
    registers->eflags &= ~(uint64_t)TRAP_FLAG;
    registers->rdi = count > 0 ? arguments[0] : none;
    registers->rsi = count > 1 ? arguments[1] : none;
    registers->rdx = count > 2 ? arguments[2] : none;
    registers->r10 = count > 3 ? arguments[3] : none;
    registers->r8 = count > 4 ? arguments[4] : none;
    registers->r9 = count > 5 ? arguments[5] : none;
}

/* What a thread that a call is made in does until the call returns. */
static mdc_injected run_call(mdc_injection *self, int32_t tid, int32_t *child, int64_t *result) {
    uintptr_t signal = 0;
    bool entered = false;
    for (int i = 0; i < ATTEMPTS; i++) {
        if (trace(PTRACE_SYSCALL, tid, 0, signal) != 0) return failed(self, errno);
        signal = 0;
        step(entered ? "inject:called" : "inject:going");
        mdc_injected state = wait_stopped(self, tid);
        if (state != MDC_INJECTED) return state;
        struct user_regs_struct registers;
        int code, number, how = stopped_how(tid, &code, &number);
        if (how == STOP_ENTRY && !entered) {
            entered = true;
            step("inject:entry");
        } else if (how == STOP_EXIT && entered) {
            step("inject:exit");
            if (!get_registers(tid, &registers)) return failed(self, errno);
            *result = (int64_t)registers.rax;
            return MDC_INJECTED;
        } else if (by_event(code, EVENT_CLONE) && child != NULL) {
            unsigned long message = 0;
            if (trace(PTRACE_GETEVENTMSG, tid, 0, (uintptr_t)&message) == 0) *child = (int32_t)message;
            step("inject:event");
            if (*child > 0 && wait_stopped(self, *child) == MDC_INJECTED)
                trace(PTRACE_SETOPTIONS, *child, 0, OPTION_EXITKILL | OPTION_SYSGOOD);
            step("inject:options");
        } else if (!at_rest(code, number)) {
            if (number == SIGSYS) self->discard = true;
            /* SIGSTOP, which cannot be blocked, goes on to where it was going: the thread stops at rest then. */
            if (number != SIGSTOP) return failed(self, EINTR);
            signal = SIGSTOP;
        }
    }
    return failed(self, EAGAIN);
}

/* Of those that the kernel forces on a thread none is blocked that was not. */
static uint64_t blocking(uint64_t mask) {
    static const int forced[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    uint64_t all = UINT64_MAX;
    for (size_t i = 0; i < sizeof forced / sizeof forced[0]; i++) all &= ~(UINT64_C(1) << (forced[i] - 1));
    return all | mask;
}

static mdc_injected make_call(mdc_injection *self, long number, const uint64_t *arguments, size_t count, int32_t *child,
                              int64_t *result) {
    struct user_regs_struct registers;
    for (int i = 0; i < ATTEMPTS; i++) {
        memcpy(&registers, self->registers, sizeof registers);
        fill_call(&registers, self, self->stack, number, arguments, count);
        if (!set_registers(self->tid, &registers)) return failed(self, errno);
        step("inject:registers");
        if (!set_mask(self->tid, blocking(self->mask))) return failed(self, errno);
        step("inject:mask");
        mdc_injected state = run_call(self, self->tid, child, result);
        /* A signal, or session control, wanted the thread's attention. */
        if (state != MDC_INJECTED || *result != RESTART_NOINTR) return state;
    }
    return failed(self, EAGAIN);
}

mdc_injected mdc_inject_clone(mdc_injection *self, uint64_t flags, int32_t *child, int64_t *inner) {
    const uint64_t arguments[] = {flags, self->child_stack};
    *child = 0;
    if (trace(PTRACE_SETOPTIONS, self->tid, 0, OPTION_SYSGOOD | OPTION_CLONE) != 0) return failed(self, errno);
    mdc_injected state = make_call(self, SYS_clone, arguments, 2, child, inner);
    if (state == MDC_INJECTED && *inner < 0) {
        self->os_errno = (int)-*inner;
        return MDC_INJECT_FAILED;
    }
    return state == MDC_INJECTED && *child <= 0 ? failed(self, ECHILD) : state;
}

mdc_injected mdc_inject_call(mdc_injection *self, long number, const uint64_t *arguments, size_t count,
                             int64_t *result) {
    if (trace(PTRACE_SETOPTIONS, self->tid, 0, OPTION_SYSGOOD) != 0) return failed(self, errno);
    return make_call(self, number, arguments, count, NULL, result);
}

mdc_injected mdc_inject_end(mdc_injection *self) {
    uintptr_t signal = 0;
    int code, number;
    struct user_regs_struct registers;
    stopped_how(self->tid, &code, &number);
    for (int i = 0; !at_rest(code, number); i++) {
        /* By a signal that it caused: it is in the same place of the kernel. */
        if (self->discard && number == SIGSYS) break;
        if (i == ATTEMPTS) return failed(self, EAGAIN);
        if (trace(PTRACE_INTERRUPT, self->tid, 0, 0) != 0 || trace(PTRACE_CONT, self->tid, 0, signal) != 0)
            return failed(self, errno);
        step("inject:leaving");
        mdc_injected state = wait_stopped(self, self->tid);
        if (state != MDC_INJECTED) return state;
        stopped_how(self->tid, &code, &number);
        signal = at_rest(code, number) || number != SIGSTOP ? 0 : SIGSTOP;
    }
    step("inject:left");
    memcpy(&registers, self->registers, sizeof registers);
    if (!set_mask(self->tid, self->mask)) return failed(self, errno);
    step("inject:unmasked");
    if (!set_registers(self->tid, &registers)) return failed(self, errno);
    step("inject:restored");
    trace(PTRACE_SETOPTIONS, self->tid, 0, 0);
    return copy(self->tid, self->at, self->before, self->size, true) ? MDC_INJECTED : failed(self, EFAULT);
}

/* -- the child ----------------------------------------------------------------------------------------------------- */

mdc_injected mdc_inject_child_call(mdc_injection *self, int32_t child, long number, const uint64_t *arguments,
                                   size_t count, int64_t *result) {
    struct user_regs_struct registers;
    if (!get_registers(child, &registers)) return failed(self, errno);
    fill_call(&registers, self, self->child_stack, number, arguments, count);
    if (!set_registers(child, &registers)) return failed(self, errno);
    step("child:registers");
    return run_call(self, child, NULL, result);
}

bool mdc_inject_child_clean(const mdc_injection *self, int32_t child) {
    uint8_t bytes[MDC_INJECT_BYTES];
    memcpy(bytes, self->before, self->size);
    return copy(child, self->at, bytes, self->size, true);
}

#else
/* ISO C wants a declaration in every file; other processors have a file of their own. */
typedef int mdc_inject_x86_64_is_not_built;
#endif
