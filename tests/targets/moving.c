/* A process whose memory changes all the time, for dumps that begin at any moment of it. Prints a line of JSON.
 *
 *   moving marks         memory is put in the place of other memory of the same shape, marked MADV_DONTDUMP, and filled
 *                        with a secret
 *   moving grows PATH    a file grows page by page under a mapping that is longer than it; the first word of the
 *                        mapping says how many pages there are, the first of every other page which it is */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 1 << 18 };

static void wait_us(long us) {
    struct timespec time = {0, us * 1000};
    nanosleep(&time, NULL);
}

static void ready(const volatile void *base, size_t size) {
    printf("{\"pid\": %d, \"memory\": [%llu, %zu]}\n", (int)getpid(), (unsigned long long)(uintptr_t)base, size);
    fflush(stdout);
}

static char *map_at(void *at, size_t size) {
    const int fixed = at != NULL ? MAP_FIXED : 0;
    char *memory = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (memory == MAP_FAILED) _exit(2);
    return memory;
}

static void marks(void) {
    const size_t size = 16 * PAGE;
    /* A fence on both sides: neighbours would be merged with it. */
    char *fence = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fence == MAP_FAILED) _exit(2);
    static const char text[] = "sEcReT-kEy-0042";
    char *at = map_at(fence + PAGE, size);
    ready(at, size);
    for (;;) {
        memset(at, 'A', size);
        wait_us(300);
        map_at(at, size);
        if (madvise(at, size, MADV_DONTDUMP) != 0) _exit(3);
        /* Changed on the way: the file of the program holds it otherwise. */
        for (size_t i = 0; i < size; i += 16) {
            for (size_t k = 0; k < 15; k++) at[i + k] = (char)(text[k] ^ 0x20);
            at[i + 15] = 0;
        }
        wait_us(300);
        memset(at, 0, size);
        map_at(at, size);
    }
}

static void grows(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, PAGE) != 0) _exit(2);
    volatile uint64_t *words = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (words == MAP_FAILED) _exit(2);
    words[0] = 1;
    ready(words, (size_t)PAGES * PAGE);
    for (uint64_t page = 1; page < PAGES; page++) {
        if (ftruncate(fd, (off_t)((page + 1) * PAGE)) != 0) _exit(3);
        words[page * (PAGE / 8)] = page;
        words[0] = page + 1;
        wait_us(200);
    }
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "marks") == 0) marks();
    if (argc == 3 && strcmp(argv[1], "grows") == 0) grows(argv[2]);
    return 1;
}
