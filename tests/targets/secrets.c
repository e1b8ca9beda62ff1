/* Puts copies of a secret where dumps have borders: across the buffer of the engine, two mappings that touch, the pages
 * of a stack that a dump stores apart, untouched memory; on a stack, in a thread's name, in the name of a file. The
 * secret is given with every byte one higher, so that no other copy of it is in this process. Prints addresses as JSON
 * and waits for the end of its input.
 *
 * secrets WRITTEN FOLDER */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096 };

static const char *written;
static size_t length;

__attribute__((noinline)) static void put(volatile char *to) {
    for (size_t i = 0; i < length; i++) to[i] = (char)(written[i] - 1);
}

/* Waits in a system call made right here: what lies below the stack pointer stays as it is. */
__attribute__((noinline)) static void wait_with_secrets(volatile char *live, const char *line, size_t size) {
    char byte;
    register uintptr_t sp __asm__("rsp");
    uintptr_t border = (sp - 128 - 64) & ~(uintptr_t)(PAGE - 1);
    put(live);
    put((volatile char *)border - length / 2);
    if (line != NULL && write(1, line, size) != (ssize_t)size) _exit(1);
    put((volatile char *)border - length / 2);
    for (long got = 1; got > 0;)
        __asm__ volatile("syscall" : "=a"(got) : "0"(SYS_read), "D"(0L), "S"(&byte), "d"(1L) : "rcx", "r11", "memory");
}

static void *sleeper(void *unused) {
    char name[16] = {0};
    (void)unused;
    put(name); /* a name has at most 15 bytes */
    name[15] = 0;
    prctl(PR_SET_NAME, name);
    memset(name, 0, sizeof name);
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    written = argv[1];
    length = strlen(written);
    char *heap = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *pair = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *sparse =
        mmap(NULL, (size_t)4096 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (heap == MAP_FAILED || pair == MAP_FAILED || sparse == MAP_FAILED) return 1;
    for (size_t i = 0; i < 8 * MIB; i += 8) *(uint64_t *)(heap + i) = i * 0x9E3779B97F4A7C15u;
    for (size_t i = 1; i < 8; i++) put(heap + i * MIB - i); /* across each MiB, at another place each */
    put(heap + 5 * PAGE - length + 1);
    memset(pair, 'p', 2 * MIB);
    put(pair + MIB - length / 2);
    if (mprotect(pair + MIB, MIB, PROT_READ) != 0) return 1; /* two mappings from here on */
    put(sparse + 2048L * MIB + PAGE - length);               /* ends where untouched memory begins */
    char path[512], name[64] = {0};
    put(name);
    snprintf(path, sizeof path, "%s/%s", argv[2], name);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, PAGE) != 0 || mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED) return 1;
    close(fd);
    memset(path, 0, sizeof path);
    memset(name, 0, sizeof name);
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleeper, NULL) != 0) return 1;
    usleep(50000);
    /* The stack pointer in the middle of a page: what is 128 and 192 bytes below it lies in one. */
    volatile char *padding = __builtin_alloca(((uintptr_t)__builtin_frame_address(0) - PAGE / 2) & (PAGE - 16));
    padding[0] = 0;
    char line[256], live[256];
    int size =
        snprintf(line, sizeof line, "{\"pid\": %d, \"heap\": %lu, \"pair\": %lu, \"sparse\": %lu, \"live\": %lu}\n",
                 (int)getpid(), (unsigned long)heap, (unsigned long)pair, (unsigned long)sparse, (unsigned long)live);
    wait_with_secrets(live, line, (size_t)size);
    return 0;
}
