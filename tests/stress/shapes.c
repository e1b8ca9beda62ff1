/* Targets of the soak: many mappings, shared memory of all kinds, many threads, mappings and children that come and go,
 * a crash. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void wait_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static char *fresh(size_t size, int flags, int fd) {
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) exit(2);
    return at;
}

static void *busy(void *unused) {
    (void)unused;
    char block[PAGE];
    for (unsigned round = 0;; round++) {
        memset(block, (int)round, sizeof block);
        wait_ms(5);
    }
    return NULL;
}

static void *ends(void *unused) { return unused; }

static void mappings(int count) {
    for (int i = 0; i < count; i++) {
        char *at = fresh(2 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        at[0] = (char)i;
        if (i % 2 != 0) mprotect(at, PAGE, PROT_READ);
    }
    pause();
}

static void shared(void) {
    int fd = memfd_create("soak", 0);
    if (fd < 0 || ftruncate(fd, 64 << 20) != 0) exit(2);
    char *memory = fresh(64 << 20, MAP_SHARED, fd), *anonymous = fresh(16 << 20, MAP_SHARED | MAP_ANONYMOUS, -1);
    for (size_t at = 0; at < 4 << 20; at += 2 * PAGE) memory[at] = anonymous[at] = 1;
    int id = shmget(IPC_PRIVATE, 1 << 20, 0600);
    char *segment = id < 0 ? NULL : shmat(id, NULL, 0);
    if (id >= 0) shmctl(id, IPC_RMID, NULL); /* gone with the process */
    for (unsigned round = 0;; round++) {
        memory[round % (4 << 20)] = (char)round;
        if (segment != NULL && segment != (char *)-1) segment[round % (1 << 20)] = (char)round;
        wait_ms(2);
    }
}

static void churn(void) {
    for (unsigned round = 0;; round++) {
        size_t size = (size_t)PAGE * (1 + round % 64);
        char *at = fresh(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        at[size - 1] = 1;
        pthread_t thread;
        if (round % 8 == 0 && pthread_create(&thread, NULL, ends, NULL) == 0) pthread_join(thread, NULL);
        wait_ms(1);
        munmap(at, size);
    }
}

static void forks(void) {
    for (;;) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child > 0) waitpid(child, NULL, 0);
        wait_ms(5);
    }
}

/* Eight threads that count in a file, whose descriptor is printed; and some megabytes. */
static volatile uint64_t *beats;

static void *beat(void *slot) {
    for (;;) {
        ++beats[(uintptr_t)slot];
        wait_ms(1);
    }
    return NULL;
}

static void beat_all(int megabytes) {
    int fd = memfd_create("beats", 0);
    if (fd < 0 || ftruncate(fd, PAGE) != 0) exit(2);
    beats = (uint64_t *)(void *)fresh(PAGE, MAP_SHARED, fd);
    for (int i = 0; i < megabytes; i++) {
        char *at = fresh(1 << 20, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        for (size_t byte = 0; byte < 1 << 20; byte += PAGE) at[byte] = 1;
    }
    pthread_t thread;
    for (uintptr_t slot = 1; slot < 8; slot++)
        if (pthread_create(&thread, NULL, beat, (void *)slot) != 0) exit(2);
    printf("%d\n", fd);
    fflush(stdout);
    beat(NULL);
}

int main(int count, char **arguments) {
    const char *shape = count > 1 ? arguments[1] : "";
    int number = count > 2 ? atoi(arguments[2]) : 0;
    if (strcmp(shape, "mappings") == 0) mappings(number);
    if (strcmp(shape, "shared") == 0) shared();
    if (strcmp(shape, "churn") == 0) churn();
    if (strcmp(shape, "forks") == 0) forks();
    if (strcmp(shape, "beats") == 0) beat_all(count > 3 ? atoi(arguments[3]) : 1);
    if (strcmp(shape, "threads") == 0) {
        pthread_t thread;
        for (int i = 1; i < number; i++)
            if (pthread_create(&thread, NULL, busy, NULL) != 0) return 2;
        busy(NULL);
    }
    if (strcmp(shape, "crash") == 0) {
        wait_ms(500 + getpid() % 3000);
        *(volatile int *)8 = 1;
    }
    return 1;
}
