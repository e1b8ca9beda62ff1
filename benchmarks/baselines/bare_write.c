/* The bound: what an output takes with nothing round it.
 *
 *   bare_write FILE direct BYTES   write that many bytes to the disk with O_DIRECT, 4 MiB at a time, into room that
 *                                  was reserved, and fsync; prints the seconds
 *   bare_write FIFO drain          read until the end, 1 MiB at a time, and throw it away; prints the bytes
 *
 * Without the start of this program. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)4 << 20)
#define READ_BYTES ((size_t)1 << 20)

static void die(const char *what) {
    fprintf(stderr, "bare_write: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void direct(const char *path, uint64_t bytes) {
    char *buffer = aligned_alloc(4096, WRITE_BYTES);
    if (buffer == NULL) die("aligned_alloc");
    memset(buffer, 1, WRITE_BYTES);
    double start = now();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0) die(path);
    if (fallocate(fd, 0, 0, (off_t)bytes) != 0) die("fallocate");
    for (uint64_t at = 0; at < bytes;) {
        size_t part = bytes - at < WRITE_BYTES ? (size_t)(bytes - at + 4095) & ~(size_t)4095 : WRITE_BYTES;
        ssize_t n = pwrite(fd, buffer, part, (off_t)at);
        if (n <= 0) die("pwrite");
        at += (uint64_t)n;
    }
    if (fsync(fd) != 0) die("fsync");
    close(fd);
    printf("%.9f\n", now() - start);
}

static void drain(const char *path) {
    char *buffer = malloc(READ_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (buffer == NULL || fd < 0) die(path);
    uint64_t bytes = 0;
    for (;;) {
        ssize_t n = read(fd, buffer, READ_BYTES);
        if (n < 0) die("read");
        if (n == 0) break;
        bytes += (uint64_t)n;
    }
    printf("%" PRIu64 "\n", bytes);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[2], "direct") == 0)
        direct(argv[1], strtoull(argv[3], NULL, 10));
    else if (argc == 3 && strcmp(argv[2], "drain") == 0)
        drain(argv[1]);
    else
        return 2;
    return 0;
}
