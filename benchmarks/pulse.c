/* A service that notices when it is stopped, for test_stop_policies.py.
 *
 *   pulse BYTES PAGES   BYTES of private memory, PAGES: small, huge or none (not touched)
 *
 * Prints its pid. A thread looks at the clock all the time and keeps the largest gap. Each line of standard input is
 * answered by one number, in nanoseconds: "gap": the largest since the last such line; "fork": the same of a fork of
 * its own, whose child ends at once. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t largest;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void *beat(void *unused) {
    uint64_t last = now();
    (void)unused;
    for (;;) {
        uint64_t at = now(), gap = at - last;
        if (gap > atomic_load(&largest)) atomic_store(&largest, gap);
        last = at;
        usleep(100);
    }
}

int main(int argc, char **argv) {
    size_t size = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    const char *pages = argc > 2 ? argv[2] : "small";
    char line[16], *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pthread_t thread;
    if (area == MAP_FAILED) return 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    madvise(area, size, strcmp(pages, "huge") == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (size_t i = 0; strcmp(pages, "none") != 0 && i < size; i += 4096) area[i] = 1;
    if (pthread_create(&thread, NULL, beat, NULL) != 0) return 1;
    printf("%d\n", (int)getpid());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t found;
        if (strcmp(line, "fork\n") == 0) {
            uint64_t begun = now();
            pid_t child = fork();
            if (child == 0) _exit(0);
            found = now() - begun;
            if (child < 0 || waitpid(child, NULL, 0) != child) return 1;
        } else {
            usleep(2000); /* the other thread has seen the end of a stop, too */
            found = atomic_exchange(&largest, 0);
        }
        printf("%llu\n", (unsigned long long)found);
        fflush(stdout);
    }
    return 0;
}
