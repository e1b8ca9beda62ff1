/* Maps shared libraries out of an archive, as Android's loader does, without linking them:
 * `archive FILE OFFSET...`. Prints one JSON line with their addresses and answers lines of its standard input. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, HEADERS = 32 };

static char *load(int fd, unsigned long offset) {
    Elf64_Ehdr header;
    Elf64_Phdr loads[HEADERS];
    unsigned long end = 0;
    if (pread(fd, &header, sizeof header, (off_t)offset) != sizeof header || header.e_phnum > HEADERS) exit(1);
    size_t size = header.e_phnum * sizeof loads[0];
    if (pread(fd, loads, size, (off_t)(offset + header.e_phoff)) != (ssize_t)size) exit(1);
    for (int i = 0; i < header.e_phnum; i++)
        if (loads[i].p_type == PT_LOAD && loads[i].p_vaddr + loads[i].p_memsz > end)
            end = loads[i].p_vaddr + loads[i].p_memsz;
    char *base = mmap(NULL, end + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < header.e_phnum; i++) {
        if (loads[i].p_type != PT_LOAD) continue;
        unsigned long at = loads[i].p_vaddr & ~(PAGE - 1ul), skew = loads[i].p_vaddr - at;
        int protect = (loads[i].p_flags & PF_R ? PROT_READ : 0) | (loads[i].p_flags & PF_W ? PROT_WRITE : 0) |
                      (loads[i].p_flags & PF_X ? PROT_EXEC : 0);
        if (mmap(base + at, loads[i].p_filesz + skew, protect, MAP_PRIVATE | MAP_FIXED, fd,
                 (off_t)(offset + loads[i].p_offset - skew)) == MAP_FAILED)
            exit(1);
        unsigned long file_end = (at + skew + loads[i].p_filesz + PAGE - 1) & ~(PAGE - 1ul);
        unsigned long memory_end = at + skew + loads[i].p_memsz;
        if (memory_end > file_end && mmap(base + file_end, memory_end - file_end, protect,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            exit(1);
    }
    return base;
}

int main(int count, char **words) {
    int fd = open(words[1], O_RDONLY);
    printf("{\"pid\": %d, \"bases\": [", (int)getpid());
    for (int i = 2; i < count; i++)
        printf("%s%lu", i > 2 ? ", " : "", (unsigned long)load(fd, strtoul(words[i], 0, 0)));
    printf("]}\n");
    fflush(stdout);
    for (int c, n = 0; (c = getchar()) != EOF;)
        if (c == '\n') {
            printf("pong %d 0 0\n", ++n);
            fflush(stdout);
        }
    return 0;
}
