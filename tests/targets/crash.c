/* crash MIB: so much memory and two more threads; says that it is ready, and ends by SIGSEGV when it is asked to. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *idle(void *argument) {
    for (;;) pause();
    return argument;
}

__attribute__((noinline)) static int fault(volatile int *where) { return *where + 1; }

int main(int argc, char **argv) {
    size_t size = (argc > 1 ? (size_t)atol(argv[1]) : 1) << 20;
    char *memory = malloc(size);
    if (memory == NULL) return 1;
    memset(memory, 0x5A, size);
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, idle, NULL) != 0) return 1;
    }
    printf("{\"pid\":%d}\n", (int)getpid());
    fflush(stdout);
    if (getchar() == EOF) return 0;
    return fault((int *)8) + memory[size - 1];
}
