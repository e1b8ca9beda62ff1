/* handlers KIND: threads in signal handlers that run on an alternate stack, each kind with the stack in another place.
 * Says where the interrupted functions have left their marks. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { SIZE = 256 * 1024, MARK = 64 };

static char in_bss[SIZE];
static unsigned long marks[4];
static int mark_count, nested;

static void say(void) {
    printf("{\"pid\":%d,\"marks\":[", (int)getpid());
    for (int i = 0; i < mark_count; i++) printf("%s%lu", i > 0 ? "," : "", marks[i]);
    puts("]}");
    fflush(stdout);
    for (;;) pause();
}

static void *map(void) {
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void set(void *at, int flags) {
    stack_t stack = {.ss_sp = at, .ss_size = SIZE, .ss_flags = flags};
    if (at == NULL || sigaltstack(&stack, NULL) != 0) _exit(2);
}

/* The functions that handlers interrupt; `number` is what their marks are made of. */
__attribute__((noinline)) static void interrupted(int number, int signal_number) {
    volatile char mark[MARK];
    for (int i = 0; i < MARK; i++) mark[i] = (char)(number + i);
    marks[mark_count++] = (unsigned long)mark;
    raise(signal_number);
    mark[0] = 0;
}

static void on_inner(int number) {
    (void)number;
    say();
}

static void on_outer(int number) {
    (void)number;
    if (nested) {
        set(map(), (int)SS_AUTODISARM);
        interrupted(2, SIGUSR2);
    }
    say();
}

static void handle(void) {
    struct sigaction action = {.sa_handler = on_outer, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    action.sa_handler = on_inner;
    sigaction(SIGUSR2, &action, NULL);
}

static void *in_thread(void *argument) {
    set(map(), 0);
    interrupted(1, SIGUSR1);
    return argument;
}

__attribute__((noinline)) static int overflow(int depth) {
    volatile char room[4096];
    room[depth % 4096] = (char)depth;
    return overflow(depth + 1) + room[depth % 4096];
}

/* Frames as the kernel makes them, of which each names the next as what it interrupted, in a ring; `here` is where. */
__attribute__((noinline)) static void forge(char *other) {
    volatile unsigned long here[4096];
    for (size_t stack = 0; stack < 2; stack++) {
        unsigned long *words = stack == 0 ? (unsigned long *)here : (unsigned long *)(void *)other;
        memset(words, 0, sizeof here);
        for (size_t at = 0; at + 64 < 4096; at++) {
            words[at] = (unsigned long)&forge; /* executable, in every place that may be that of a frame */
        }
        for (size_t at = ((unsigned long)words & 15) == 0; at + 64 < 4096; at += 64) {
            unsigned long *frame = words + at;
            memset(frame, 0, 64 * sizeof *frame);
            frame[0] = (unsigned long)&forge;
            frame[48 / 8 + 15] = stack == 0 ? (unsigned long)other : (unsigned long)here; /* rsp */
            frame[48 / 8 + 17] = 2;
            frame[48 / 8 + 18] = 0x33;
        }
    }
    say();
    (void)here[0];
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "mapping";
    pthread_t thread;
    char local[SIZE];
    handle();
    nested = strcmp(kind, "nested") == 0;
    if (strcmp(kind, "thread") == 0) {
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, NULL);
    } else if (strcmp(kind, "overflow") == 0) {
        volatile char mark[MARK];
        for (int i = 0; i < MARK; i++) mark[i] = (char)(1 + i);
        marks[mark_count++] = (unsigned long)mark;
        set(map(), 0);
        return overflow(mark[0]);
    } else if (strcmp(kind, "forged") == 0) {
        forge(map());
    } else {
        memset(local, 0, sizeof local);
        set(strcmp(kind, "static") == 0  ? in_bss
            : strcmp(kind, "local") == 0 ? local
                                         : map(),
            nested ? (int)SS_AUTODISARM : 0);
        interrupted(1, SIGUSR1);
    }
    return local[0];
}
