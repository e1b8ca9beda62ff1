/* A library of ways to crash, each at a known instruction. crash(NAME) does it; crash_at(NAME) is where. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT(name) "at_" name ":\n\t"

static char *known(void) { /* its end is beyond the end of its file */
    char path[] = "/tmp/crashers-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

__attribute__((noinline)) static void null(void) {
    __asm__ volatile("movabs $0x1212121212121212, %%r12\n\t" AT("null") "movl $1, (%0)" ::"r"(8L) : "r12", "memory");
}
__attribute__((noinline)) static void noncanonical(void) {
    __asm__ volatile(AT("noncanonical") "movl $1, (%0)" ::"r"(0x8000000000000000UL) : "memory");
}
__attribute__((noinline)) static void bus(void) {
    __asm__ volatile(AT("bus") "movl $1, (%0)" ::"r"(known()) : "memory");
}
__attribute__((noinline)) static void fpe(void) {
    __asm__ volatile("xor %%edx, %%edx\n\txor %%ecx, %%ecx\n\tmov $1, %%eax\n\t" AT("fpe") "div %%ecx" ::
                         : "rax", "rcx", "rdx");
}
__attribute__((noinline)) static void ill(void) { __asm__ volatile(AT("ill") "ud2"); }
__attribute__((noinline)) static void trap(void) { __asm__ volatile("int3\n\t" AT("trap") "nop"); }
__attribute__((noinline)) static void sys(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    __asm__ volatile("syscall\n\t" AT("sys") "nop" ::"a"((long)SYS_getpgid), "D"(0L) : "rcx", "r11", "memory");
}
__attribute__((noinline)) static int overflow(int depth) {
    volatile char pad[4096];
    pad[0] = (char)depth;
    return overflow(depth + 1) + pad[0];
}
static void overflows(void) { overflow(0); }
static void corrupted(void) { /* glibc finds it, and aborts with the lock of the arena held */
    char *volatile block = malloc(5000);
    volatile char *guard = malloc(16);
    free(block);
    free(block);
    guard[0] = 1;
}
static void in_malloc(void) { /* a list of free chunks that leads nowhere: malloc itself faults */
    void *blocks[8];
    for (int i = 0; i < 8; i++) blocks[i] = malloc(40);
    for (int i = 0; i < 8; i++) free(blocks[i]);
    *(volatile size_t *)blocks[6] = ((size_t)blocks[6] >> 12) ^ 0x4141414141414140UL; /* the head of the tcache */
    for (int i = 0; i < 8; i++) blocks[i] = malloc(40);
    *(volatile char *)blocks[7] = 1;
}

static void *body(void *run) {
    ((void (*)(void))run)();
    return NULL;
}
static void in_thread(void (*run)(void)) {
    pthread_t thread;
    pthread_create(&thread, NULL, body, (void *)run);
    pthread_join(thread, NULL);
}
static void overflow_in_thread(void) { in_thread(overflows); }
static void null_in_thread(void) { in_thread(null); }

static pthread_barrier_t barrier;
static void together(void) {
    pthread_barrier_wait(&barrier);
    null();
}
static void at_once(void) {
    pthread_t threads[8];
    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, body, (void *)together);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}

static sigjmp_buf there;
static void back(int number) { siglongjmp(there, number); }
/* A handler that does not end the process, as a virtual machine has one. */
void recover_from_segv(void) {
    struct sigaction action = {.sa_handler = back};
    sigaction(SIGSEGV, &action, NULL);
}
static volatile int counted;
static void count(int signo) {
    (void)signo;
    __atomic_fetch_add(&counted, 1, __ATOMIC_SEQ_CST);
}
void count_signal(int signo) {
    struct sigaction action = {.sa_handler = count};
    sigaction(signo, &action, NULL);
}
int signals_counted(void) { return counted; }
static void aborts(int signo) {
    (void)signo;
    abort();
}
void abort_at_segv(void) {
    struct sigaction action = {.sa_handler = aborts};
    sigaction(SIGSEGV, &action, NULL);
}
static void recovers(void) {
    if (sigsetjmp(there, 1) == 0) null();
}

/* A crash in which any system call that a handler has no need of ends the process by SIGSYS: none that starts, opens or
 * maps anything. */
static void confined(void) {
    static const unsigned allowed[] = {
        SYS_sendto,       SYS_recvfrom,      SYS_poll,           SYS_fstat,        SYS_newfstatat,
        SYS_prctl,        SYS_getpid,        SYS_gettid,         SYS_rt_sigaction, SYS_rt_tgsigqueueinfo,
        SYS_rt_sigreturn, SYS_clock_gettime, SYS_restart_syscall};
    enum { COUNT = sizeof allowed / sizeof allowed[0] };
    struct sock_filter filter[2 * COUNT + 2] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short size = 1;
    for (int i = 0; i < COUNT; i++) {
        filter[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        filter[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {size, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    null();
}

static void raises(void) { raise(SIGSEGV); }

#define PLACES(place) place(null) place(noncanonical) place(bus) place(fpe) place(ill) place(trap) place(sys)
#define DECLARE(name) extern char at_##name[];
PLACES(DECLARE)
#define ROW(name) {#name, name, at_##name},

static const struct {
    const char *name;
    void (*run)(void);
    const char *at;
} ways[] = {
    PLACES(ROW){"overflow", overflows, NULL},
    {"corrupted", corrupted, NULL},
    {"in_malloc", in_malloc, NULL},
    {"overflow_in_thread", overflow_in_thread, NULL},
    {"null_in_thread", null_in_thread, at_null},
    {"at_once", at_once, at_null},
    {"abort", abort, NULL},
    {"raise", raises, NULL},
    {"confined", confined, at_null},
    {"recovers", recovers, at_null},
};

static size_t find(const char *name) {
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(ways[i].name, name) == 0) return i;
    _exit(99);
}
void crash(const char *name) { ways[find(name)].run(); }
unsigned long crash_at(const char *name) { return (unsigned long)ways[find(name)].at; }
void crash_null(void) { null(); }
/* A fork that Python does not see. */
int plain_fork(void) { return fork(); }
/* One whose child has the pid that its parent has in another namespace, if that is 1. */
int fork_in_namespace(void) { return unshare(CLONE_NEWPID) == 0 ? fork() : -1; }
