/* A target whose pages all hold markers that are a function of their address: marks SEED FILE. Prints a line for each
 * stretch (kind, first, end), then "ready". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PER_PAGE = 2 };

static uint64_t seed;
static char data[48 * PAGE] __attribute__((aligned(PAGE))) = {1};
static char bss[48 * PAGE] __attribute__((aligned(PAGE)));

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void mark(const char *kind, char *base, size_t pages) {
    for (size_t i = 0; i < pages * PER_PAGE; i++) {
        volatile uint64_t *at = (volatile uint64_t *)(void *)(base + i * (PAGE / PER_PAGE) + 8);
        at[0] = mix((uintptr_t)at ^ seed);
        at[1] = mix((uintptr_t)at + 1 + seed);
    }
    printf("%s %lx %lx\n", kind, (unsigned long)base, (unsigned long)base + pages * PAGE);
}

static char *map(size_t pages, int flags, int fd) {
    char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) exit(2);
    return at;
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    seed = strtoull(arguments[1], NULL, 16);
    int fd = open(arguments[2], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 32 * PAGE) != 0) return 2;
    char *block = malloc(64 * 1024);
    mark("data", data, 48);
    mark("bss", bss, 48);
    mark("anonymous", map(64, MAP_PRIVATE | MAP_ANONYMOUS, -1), 64);
    mark("shared", map(32, MAP_SHARED | MAP_ANONYMOUS, -1), 32);
    mark("file", map(32, MAP_SHARED, fd), 32);
    mark("private", map(32, MAP_PRIVATE, fd), 32);
    mark("heap", (char *)(((uintptr_t)block + PAGE - 1) & ~(uintptr_t)(PAGE - 1)), 14);
    printf("ready\n");
    fflush(stdout);
    for (;;) pause();
}
