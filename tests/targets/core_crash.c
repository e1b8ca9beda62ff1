/* core_crash WAY THREADS: with so many more threads, ends in one of the ways of crashers.c, or waits ("wait"). Memory
 * with a pattern, and some that no core holds, are at fixed addresses. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void crash(const char *name);
unsigned long crash_at(const char *name);

enum { MIB = 1 << 20 };
#define PATTERN 0x5A0000000000UL
#define UNTOUCHED 0x5A0010000000UL /* the second page is written */
#define HIDDEN 0x5A0020000000UL    /* MADV_DONTDUMP */
#define NO_ACCESS 0x5A0030000000UL

static char *map(unsigned long at, int protection) {
    void *found = mmap((void *)at, MIB, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (found != (void *)at) _exit(98);
    return found;
}

static pthread_barrier_t all;
static void *idle(void *argument) {
    /* Each thread has a number in registers of all kinds. */
    uint64_t number = (uint64_t)(uintptr_t)argument;
    pthread_barrier_wait(&all);
    __asm__ volatile(
        "movq %0, %%r12\n\tmovq %0, %%xmm7\n\tmovq %0, %%xmm15\n\t1: movl $34, %%eax\n\tsyscall\n\tjmp 1b" ::"r"(
            number + 0xABCD0000)
        : "r12", "rax", "rcx", "r11", "xmm7", "xmm15", "memory");
    return NULL;
}

static void on_signal(int number) {
    (void)number;
    abort();
}
/* The handler of a fault runs on a stack of its own, and ends the program there. */
static void handle(void) {
    static char stack[64 << 10];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

int main(int argc, char **argv) {
    volatile uint64_t marker = 0x5EEDFACE5EEDFACEUL;
    if (argc < 3) return marker == 0;
    if (argc > 3 && strcmp(argv[3], "handler") == 0) handle();
    char *pattern = map(PATTERN, PROT_READ | PROT_WRITE), *untouched = map(UNTOUCHED, PROT_READ | PROT_WRITE),
         *hidden = map(HIDDEN, PROT_READ | PROT_WRITE);
    map(NO_ACCESS, PROT_NONE);
    for (unsigned long at = 0; at < MIB; at += 8) {
        uint64_t word = (PATTERN + at) * 0x9E3779B97F4A7C15UL;
        memcpy(pattern + at, &word, sizeof word);
    }
    untouched[4096] = 1;
    strcpy(hidden, "not to be dumped");
    madvise(hidden, MIB, MADV_DONTDUMP);
    int threads = atoi(argv[2]);
    pthread_barrier_init(&all, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, idle, (void *)(uintptr_t)i) != 0) return 2;
    }
    pthread_barrier_wait(&all);
    usleep(50000);
    int wait = strcmp(argv[1], "wait") == 0;
    printf("{\"pid\":%d,\"at\":%lu}\n", (int)getpid(), wait ? 0 : crash_at(argv[1]));
    fflush(stdout);
    if (!wait) crash(argv[1]);
    for (;;) pause();
}
