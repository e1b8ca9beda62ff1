/* Processes to be dumped by the benchmarks, and a warm-up.
 *
 *   targets heap BYTES            BYTES of random private memory
 *   targets sparse SIZE TOUCHED   one mapping of SIZE, its first TOUCHED bytes random
 *   targets spots SIZE STEP       one mapping of SIZE, one random page every STEP bytes
 *   targets mappings N            N one-page mappings with alternating protection, so that none are merged
 *   targets threads N             N threads that wait, and 16 MiB of random memory
 *   targets forked BYTES          a parent touches BYTES and forks a worker; the worker is the target
 *   targets warm BYTES            touches BYTES and ends: a virtual machine hands freed pages back to its host, and
 *                                 the next user pays for them; this pays before the clock runs
 *
 * A target prints the pid to dump and the address of its memory, and lives until its standard input ends. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    fprintf(stderr, "targets: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Huge pages would make every copy of one run differ from the next: they depend on what memory was free. */
static char *map(size_t size) {
    char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) die("mmap");
    madvise(base, size, MADV_NOHUGEPAGE);
    return base;
}

static void randomise(char *base, size_t size) {
    uint64_t x = UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(base + i, &x, 8);
    }
}

static void *rest(void *unused) {
    (void)unused;
    for (;;) pause();
    return NULL;
}

static void wait_for_end(pid_t pid, const char *memory) {
    char byte;
    printf("%d %p\n", (int)pid, (const void *)memory);
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {
    }
}

static const char *make_mappings(size_t count) {
    char *base = map(count * 4096);
    for (size_t i = 0; i < count; i++) randomise(base + i * 4096, 4096);
    for (size_t i = 1; i < count; i += 2)
        if (mprotect(base + i * 4096, 4096, PROT_READ) != 0) die("mprotect");
    return base;
}

static const char *make_threads(size_t count) {
    for (size_t i = 1; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, rest, NULL) != 0) die("pthread_create");
    }
    char *base = map(16 << 20);
    randomise(base, 16 << 20);
    return base;
}

static void run_forked(size_t size) {
    char *base = map(size);
    randomise(base, size);
    int ready[2];
    char byte = 0;
    if (pipe(ready) != 0) die("pipe");
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || write(ready[1], &byte, 1) != 1) _exit(1);
        rest(NULL);
    }
    if (read(ready[0], &byte, 1) != 1) die("read"); /* it has run: what it has of its files does not grow any more */
    wait_for_end(child, base);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    size_t a = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    size_t b = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
    const char *memory = NULL;
    if (strcmp(kind, "forked") == 0) {
        run_forked(a);
        return 0;
    }
    if (strcmp(kind, "heap") == 0 || strcmp(kind, "warm") == 0) {
        char *base = map(a);
        if (kind[0] == 'h')
            randomise(base, a);
        else
            for (size_t i = 0; i < a; i += 4096) base[i] = 1;
        if (kind[0] == 'w') return 0;
        memory = base;
    } else if (strcmp(kind, "sparse") == 0) {
        char *base = map(a);
        randomise(base, b);
        memory = base;
    } else if (strcmp(kind, "spots") == 0 && b >= 4096) {
        char *base = map(a);
        for (size_t i = 0; i < a; i += b) randomise(base + i, 4096);
        memory = base;
    } else if (strcmp(kind, "mappings") == 0) {
        memory = make_mappings(a);
    } else if (strcmp(kind, "threads") == 0) {
        memory = make_threads(a);
    } else {
        fprintf(stderr, "targets: no such kind of target\n");
        return 2;
    }
    wait_for_end(getpid(), memory);
    return 0;
}
