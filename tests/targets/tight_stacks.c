/* Threads whose stacks have no guard and touch other memory on both sides, in one mapping: [stack][1 MiB][stack]...
 * `tight_stacks COUNT` prints one JSON line and answers lines of its standard input. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK = 256 << 10, HEAP = 1 << 20, DEEP = 20000 };

static pthread_barrier_t started;

static void *work(void *argument) {
    volatile char frames[DEEP]; /* so that a stack is more than its first page */
    memset((char *)frames, 0x77, sizeof frames);
    pthread_barrier_wait(&started);
    for (;;) pause();
    return argument;
}

int main(int count, char **words) {
    long threads = count > 1 ? strtol(words[1], NULL, 10) : 1;
    size_t size = (size_t)threads * (STACK + HEAP);
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 0x55, size);
    pthread_barrier_init(&started, NULL, (unsigned)threads + 1);
    for (long i = 0; i < threads; i++) {
        pthread_attr_t attributes;
        pthread_t thread;
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, memory + i * (STACK + HEAP), STACK);
        if (pthread_create(&thread, &attributes, work, NULL) != 0) return 1;
    }
    pthread_barrier_wait(&started);
    printf("{\"pid\": %d, \"base\": %lu, \"stack\": %d, \"heap\": %d}\n", (int)getpid(),
           (unsigned long)(uintptr_t)memory, STACK, HEAP);
    fflush(stdout);
    for (int c, n = 0; (c = getchar()) != EOF;)
        if (c == '\n') {
            printf("pong %d 0 0\n", ++n);
            fflush(stdout);
        }
    return 0;
}
