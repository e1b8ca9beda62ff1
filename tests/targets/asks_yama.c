/* Preloaded: notes in the file that $ASKED names whom a process lets trace it, and does it where Yama is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int prctl(int option, ...) {
    unsigned long words[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++) words[i] = va_arg(list, unsigned long);
    va_end(list);
    const char *file = getenv("ASKED");
    if (option == PR_SET_PTRACER && file != NULL) {
        char line[64];
        int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        int size = snprintf(line, sizeof line, "%d %lu\n", getpid(), words[0]);
        if (fd < 0 || write(fd, line, (size_t)size) != size) _exit(98);
        close(fd);
    }
    return (int)syscall(SYS_prctl, option, words[0], words[1], words[2], words[3]);
}
