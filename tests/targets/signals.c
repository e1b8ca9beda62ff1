/* signals CAUSE STACK THREAD: ends by a signal of this cause. STACK: alt (the handler runs on an alternate stack),
 * plain, again (as plain, and the handler raises the signal again, as faulthandler does). THREAD: main, thread.
 *
 * The handler says in one line what the kernel gave it, and waits for the end of standard input; then the process dies
 * of the signal as if there had been no handler. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { SIZE = 256 * 1024, MARK = 64, FORBIDDEN = 321 };

static const char *cause, *stack, *thread;
static unsigned long mark;
static int raised;
static const double floats[2] = {1.5, -2.25};

static void wait_and_die(int number, siginfo_t *info) {
    char byte;
    while (read(0, &byte, 1) > 0) continue;
    signal(number, SIG_DFL);
    /* A fault happens again; these do not. A thread may send itself any siginfo. */
    if (info->si_code <= 0 || number == SIGTRAP || number == SIGSYS)
        syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), number, info);
}

static void say(int number, siginfo_t *info, void *context) {
    const ucontext_t *saved = context;
    static const struct {
        const char *name;
        int index;
    } registers[] = {{"rax", REG_RAX}, {"rcx", REG_RCX}, {"rdx", REG_RDX},   {"rbx", REG_RBX}, {"rsp", REG_RSP},
                     {"rbp", REG_RBP}, {"rsi", REG_RSI}, {"rdi", REG_RDI},   {"r8", REG_R8},   {"r9", REG_R9},
                     {"r10", REG_R10}, {"r11", REG_R11}, {"r12", REG_R12},   {"r13", REG_R13}, {"r14", REG_R14},
                     {"r15", REG_R15}, {"rip", REG_RIP}, {"eflags", REG_EFL}};
    if (strcmp(stack, "again") == 0 && !raised++) { /* SA_NODEFER: at once */
        raise(number);
        return;
    }
    char line[2048];
    size_t at = (size_t)snprintf(line, sizeof line,
                                 "{\"pid\":%d,\"tid\":%d,\"signal\":%d,\"code\":%d,\"address\":%lu,\"ucontext\":%lu,"
                                 "\"siginfo\":%lu,\"mark\":%lu,\"registers\":{",
                                 (int)getpid(), (int)gettid(), number, info->si_code, (unsigned long)info->si_addr,
                                 (unsigned long)context, (unsigned long)info, mark);
    for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, "%s\"%s\":%lu", i > 0 ? "," : "", registers[i].name,
                               (unsigned long)saved->uc_mcontext.gregs[registers[i].index]);
    at += (size_t)snprintf(line + at, sizeof line - at, "}}\n");
    if (write(1, line, at) != (ssize_t)at) _exit(2);
    wait_and_die(number, info);
}

/* Known registers, then a write to the address. */
__attribute__((noinline)) static void write_to(unsigned long address) {
    __asm__ volatile("movupd %1, %%xmm5\n\t"
                     "movabs $0x1212121212121212, %%r12\n\t"
                     "movabs $0x1313131313131313, %%r13\n\t"
                     "movl $1, (%0)" ::"a"(address),
                     "m"(*(const double(*)[2])floats)
                     : "r12", "r13", "xmm5", "memory");
}

__attribute__((noinline)) static int overflow(int depth) {
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + frame[0];
}

static void *map(int protection) {
    void *at = mmap(NULL, SIZE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) _exit(2);
    return at;
}

__attribute__((noinline)) static void beyond_file(void) {
    int fd = memfd_create("short", 0);
    if (fd < 0 || ftruncate(fd, 100) != 0) _exit(2);
    char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) _exit(2);
    write_to((unsigned long)at + 4096);
}

static void forbidden_call(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FORBIDDEN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(2);
    syscall(FORBIDDEN);
}

static bool is(const char *name) { return strcmp(cause, name) == 0; }

__attribute__((noinline)) static void die(void) {
    volatile char local[MARK];
    for (int i = 0; i < MARK; i++) local[i] = (char)(i * 3 + 1);
    mark = (unsigned long)local;
    if (is("write")) write_to(0x10);
    if (is("noncanonical")) write_to(0x8000000000000000);
    if (is("jump")) ((void (*)(void))map(PROT_READ | PROT_WRITE))();
    if (is("overflow")) overflow(0);
    if (is("trap")) __asm__ volatile("ud2");
    if (is("breakpoint")) __asm__ volatile("int3");
    if (is("divide"))
        __asm__ volatile("xorl %%ecx, %%ecx\n\tmovl $1, %%eax\n\tcltd\n\tidivl %%ecx" ::: "eax", "ecx", "edx", "cc");
    if (is("beyond-file")) beyond_file();
    if (is("forbidden-call")) forbidden_call();
    if (is("abort")) abort();
    if (is("raise")) raise(SIGSEGV);
    if (is("kill")) kill(getpid(), SIGQUIT);
    if (is("queue")) sigqueue(getpid(), SIGSEGV, (union sigval){.sival_ptr = (void *)0x123456789ABC});
    for (;;) pause();
}

static void *run(void *unused) {
    (void)unused;
    stack_t alternate = {.ss_sp = map(PROT_READ | PROT_WRITE), .ss_size = SIZE};
    if (strcmp(stack, "alt") == 0 && sigaltstack(&alternate, NULL) != 0) _exit(2);
    die();
    return NULL;
}

int main(int count, char **words) {
    const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGQUIT};
    struct sigaction action = {.sa_sigaction = say, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    pthread_t other;
    if (count != 4) return 2;
    cause = words[1];
    stack = words[2];
    thread = words[3];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) sigaction(numbers[i], &action, NULL);
    if (strcmp(thread, "main") == 0) run(NULL);
    sigset_t quit;
    sigemptyset(&quit);
    sigaddset(&quit, SIGQUIT); /* what is sent to the process is for the other thread */
    sigaddset(&quit, SIGSEGV);
    if (pthread_create(&other, NULL, run, NULL) != 0) return 2;
    pthread_sigmask(SIG_BLOCK, &quit, NULL);
    pthread_join(other, NULL);
    return 0;
}
