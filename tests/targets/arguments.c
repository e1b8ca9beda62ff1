/* A process that does to its command line and environment what real ones do. `arguments HOW` prints one JSON line when
 * it is ready and answers each line of its standard input.
 *
 *   plain       nothing
 *   title       writes a title over arguments and environment, as setproctitle does in its oldest form
 *   short       writes a short title over the arguments
 *   moved       has the kernel show another command line and environment (prctl), as init systems do
 *   unset       clears the environment, whose strings stay where they were */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

/* Vector instructions leave copies of a string in registers, which a dump has. */
static char *after(char *text) {
    while (*text != 0) text++;
    return text + 1;
}

static void *work(void *argument) {
    for (;;) pause();
    return argument;
}

/* What is written here is not in the program's own text. */
static void write_marker(char *to, const char *shifted) {
    while (*shifted != 0) *to++ = (char)(*shifted++ - 1);
}

static const char title[] = "ujumf.nbslfs", variable[] = "NPWFE>npwfe.nbslfs"; /* title-marker, MOVED=moved-marker */

/* Number `index` of /proc/self/stat, counted from 1 (proc_pid_stat(5)). */
static unsigned long field_of(const char *stat, int index) {
    const char *at = strrchr(stat, ')') + 1;
    for (int i = 3; i < index; i++) at = strchr(at + 1, ' ');
    return strtoul(at, NULL, 10);
}

/* PR_SET_MM_MAP needs no capability; the others do. */
static int move(void) {
    char stat[4096] = "";
    FILE *file = fopen("/proc/self/stat", "r");
    if (file == NULL || fread(stat, 1, sizeof stat - 1, file) == 0) return -1;
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    write_marker(memory, title);
    write_marker(memory + 4096, variable);
    struct prctl_mm_map map = {.start_code = field_of(stat, 26),
                               .end_code = field_of(stat, 27),
                               .start_stack = field_of(stat, 28),
                               .start_data = field_of(stat, 45),
                               .end_data = field_of(stat, 46),
                               .start_brk = field_of(stat, 47),
                               .brk = (unsigned long)sbrk(0),
                               .arg_start = (unsigned long)memory,
                               .arg_end = (unsigned long)memory + sizeof title,
                               .env_start = (unsigned long)memory + 4096,
                               .env_end = (unsigned long)memory + 4096 + sizeof variable,
                               .exe_fd = (unsigned)-1};
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

int main(int count, char **words) {
    const char *how = words[1];
    char *last = after(words[count - 1]);
    char *end = last;
    pthread_t thread;
    if (strcmp(how, "title") == 0 || strcmp(how, "short") == 0) {
        for (char **at = environ; *at != NULL; at++) end = after(*at);
        int is_short = how[0] == 's';
        size_t room = (size_t)((is_short ? last : end) - words[0]);
        memset(words[0], 0, (size_t)(last - words[0]));
        if (!is_short) {
            environ[0] = NULL;
            memset(words[0], 0, room);
            memset(words[0], 't', room - 2);
        }
        write_marker(words[0], title);
        if (is_short) last[-1] = 'x'; /* what marks a title */
    } else if (strcmp(how, "moved") == 0) {
        if (move() != 0) {
            printf("{\"errno\": %d}\n", errno);
            fflush(stdout);
            return 0;
        }
    } else if (strcmp(how, "unset") == 0) {
        clearenv();
    }
    pthread_create(&thread, NULL, work, NULL);
    printf("{\"pid\": %d}\n", (int)getpid());
    fflush(stdout);
    for (int c, n = 0; (c = getchar()) != EOF;)
        if (c == '\n') {
            printf("pong %d 0 0\n", ++n);
            fflush(stdout);
        }
    return 0;
}
