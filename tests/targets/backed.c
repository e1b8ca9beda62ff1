/* A process with one mapping that is backed by a file, or by memory of the kernel: most of it never touched, some
 * pages filled through the mapping, some by others, so that no page table entry of the process says that they are
 * there.
 *
 * backed KIND SIZE_MIB FOLDER. Prints one JSON line and answers lines, as pattern.c does; the pattern is that one's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, VIEWS = 3 };
#define PATTERN_FACTOR 0x9E3779B97F4A7C15ull

static char *base;
static uint64_t size, step = PAGE;
static int fd = -1;
static char pieces[1024], views[256];

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(errno == ENOMEM || errno == EPERM || errno == EACCES ? 77 : 111);
}

static void pattern(uint64_t *words, uint64_t offset, uint64_t seed) {
    for (uint64_t i = 0; i < PAGE / 8; i++)
        words[i] = ((uint64_t)(uintptr_t)base + offset + 8 * i + seed) * PATTERN_FACTOR;
}

static void tell(uint64_t offset, uint64_t seed) {
    snprintf(pieces + strlen(pieces), sizeof pieces - strlen(pieces), "%s[%llu,%llu]", pieces[0] ? "," : "",
             (unsigned long long)offset, (unsigned long long)seed);
}

/* By the process itself, through the mapping. */
static void touch(uint64_t offset, uint64_t seed) {
    pattern((uint64_t *)(base + offset), offset, seed);
    tell(offset, seed);
}

/* Through the mapping, by a child that is gone. */
static void touch_elsewhere(uint64_t offset, uint64_t seed) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        pattern((uint64_t *)(base + offset), offset, seed);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) die("child");
    tell(offset, seed);
}

/* Through the file. */
static void store(uint64_t offset, uint64_t seed, int told) {
    uint64_t words[PAGE / 8];
    pattern(words, offset, seed);
    if (pwrite(fd, words, sizeof words, (off_t)offset) != sizeof words) die("pwrite");
    if (told) tell(offset, seed);
}

static char *map(int flags) {
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

static void file(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/backed", folder);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size)) die(path);
}

static void memfd(unsigned flags) {
    fd = memfd_create("backed", MFD_CLOEXEC | flags);
    if (fd < 0 || ftruncate(fd, (off_t)size)) die("memfd");
}

/* Of a shared mapping whose file can be written to. */
static void fill_shared(void) {
    base = map(MAP_SHARED);
    touch(0, 1);
    store(size / 4, 2, 1);
    touch(size / 2, 3);
    store(size - PAGE, 4, 1);
}

static void fill_by_child(void) {
    touch(0, 1);
    touch_elsewhere(size / 4 / step * step, 2);
    touch(size / 2 / step * step, 3);
}

static void make(const char *kind, const char *folder) {
    if (strcmp(kind, "memfd") == 0) {
        memfd(0);
        fill_shared();
    } else if (strcmp(kind, "tmpfs") == 0 || strcmp(kind, "shared-file") == 0) {
        file(folder);
        fill_shared();
    } else if (strcmp(kind, "anonymous") == 0) {
        base = map(MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE);
        fill_by_child();
    } else if (strcmp(kind, "sysv") == 0) {
        int id = shmget(IPC_PRIVATE, size, IPC_CREAT | SHM_NORESERVE | 0600);
        if (id < 0) die("shmget");
        base = shmat(id, NULL, 0);
        shmctl(id, IPC_RMID, NULL);
        if (base == (void *)-1) die("shmat");
        fill_by_child();
    } else if (strcmp(kind, "hugetlb") == 0) {
        step = HUGE_PAGE;
        memfd(MFD_HUGETLB);
        base = map(MAP_SHARED | MAP_NORESERVE);
        fill_by_child();
    } else if (strcmp(kind, "huge-private") == 0) {
        step = HUGE_PAGE;
        base = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE);
        touch(step, 1);
    } else if (strcmp(kind, "private-file") == 0) {
        file(folder);
        base = map(MAP_PRIVATE);
        store(size / 4, 2, 0);
        store(size / 4 + PAGE, 3, 1);
        store(size / 2, 4, 1);
        if (fsync(fd)) die("fsync");
        touch(0, 1);        /* over a hole */
        touch(size / 4, 5); /* over what the file holds there */
        (void)*(volatile char *)(base + size / 2);
    } else if (strcmp(kind, "views") == 0) {
        memfd(0);
        fill_shared();
        for (int i = 1; i < VIEWS; i++) {
            char *view = map(MAP_SHARED);
            (void)*(volatile char *)view;
            snprintf(views + strlen(views), sizeof views - strlen(views), ",%llu", (unsigned long long)(uintptr_t)view);
        }
    } else {
        errno = EINVAL;
        die(kind);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    size = strtoull(argv[2], NULL, 10) << 20;
    make(argv[1], argv[3]);
    printf("{\"pid\":%d,\"size\":%llu,\"step\":%llu,\"fd\":%d,\"views\":[%llu%s],\"pieces\":[%s]}\n", (int)getpid(),
           (unsigned long long)size, (unsigned long long)step, fd, (unsigned long long)(uintptr_t)base, views, pieces);
    fflush(stdout);
    char byte;
    unsigned long answers = 0;
    while (read(0, &byte, 1) == 1) {
        if (byte != '\n') continue;
        printf("pong %lu 0 0\n", ++answers);
        fflush(stdout);
    }
    return 0;
}
