/* A process with one of each: globals, a relocated table, small and large blocks, a private mapping of a file (argv[1],
 * four pages, of which it writes the third), text on the stack and in registers, pointers on the stack and in a
 * register. Prints where they are, and answers lines. x86-64. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 1 << 20 };

static const char constant[] = "CONSTANT-CONSTANT";
const char *const relocated[] = {constant, constant + 1};
static char written[64] = "GLOBAL";
static char quiet[32 * PAGE] = {1}; /* not written at run time, but for the pages it shares with others */
static char zero[2 * PAGE];
double (*volatile unused)(double) = NULL;
static char *small, *large, *hidden, *pointed, *in_register;

static char *block(size_t size) {
    char *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) exit(2);
    for (size_t i = 0; i < size; i++) made[i] = (char)(i / 7);
    return made;
}

static void *wait_for_ever(void *ready) {
    pthread_barrier_wait(ready);
    for (;;) pause();
}

/* read(2), with a pointer in r12, and text in r13 and xmm7. */
static long wait_for_line(char *line, size_t size) {
    static const char text[16] = "XMMTEXT-XMMTEXT";
    long result;
    __asm__ volatile("movdqu (%[text]), %%xmm7\n\tmov %[pointer], %%r12\n\tmov %[word], %%r13\n\tsyscall"
                     : "=a"(result)
                     : "0"((long)SYS_read), "D"(0L), "S"(line),
                       "d"(size), [text] "r"(text), [pointer] "r"(in_register + 6000), [word] "r"(0x54584554474F5250L)
                     : "rcx", "r11", "r12", "r13", "xmm7", "memory");
    return result;
}

static void serve(const char *mapped) {
    volatile char text[64];
    char *volatile pointer = pointed + 5000;
    char line[64];
    snprintf((char *)text, sizeof text, "%s-%s", "ONSTACK", "ONSTACK");
    printf("{\"pid\": %d, \"constant\": %lu, \"relocated\": %lu, \"written\": %lu, \"quiet\": %lu, \"zero\": %lu, "
           "\"small\": %lu, \"large\": %lu, \"hidden\": %lu, \"pointed\": %lu, \"in_register\": %lu, \"mapped\": %lu, "
           "\"text\": %lu}\n",
           getpid(), (unsigned long)constant, (unsigned long)relocated, (unsigned long)written, (unsigned long)quiet,
           (unsigned long)zero, (unsigned long)small, (unsigned long)large, (unsigned long)hidden,
           (unsigned long)pointed, (unsigned long)in_register, (unsigned long)mapped, (unsigned long)text);
    fflush(stdout);
    while (wait_for_line(line, sizeof line) > 0) {
        printf("pong 0 %d\n", pointer == NULL);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    pthread_barrier_t ready;
    pthread_t thread;
    int fd = argc > 1 ? open(argv[1], O_RDONLY) : -1;
    char *mapped = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) return 2;
    if (argc > 2) unused = cos; /* so that libm is linked */
    mapped[2 * PAGE + 100] = 'W';
    (void)*(volatile char *)mapped;
    snprintf(written, sizeof written, "WRITTEN-GLOBAL");
    memset(zero, 'Z', sizeof zero);
    small = malloc(100);
    large = malloc(LARGE);
    if (small == NULL || large == NULL) return 2;
    memset(small, 's', 100);
    memset(large, 'L', LARGE);
    hidden = block(4 * PAGE);
    if (madvise(hidden, 4 * PAGE, MADV_DONTDUMP) != 0) return 2;
    pointed = block(4 * PAGE);
    in_register = block(4 * PAGE);
    pthread_barrier_init(&ready, NULL, 2);
    if (pthread_create(&thread, NULL, wait_for_ever, &ready) != 0) return 2;
    pthread_barrier_wait(&ready);
    serve(mapped);
    return 0;
}
