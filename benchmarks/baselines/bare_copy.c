/* The bound: what copying a process costs with nothing round it.
 *
 *   bare_copy PID FILE all    stop it, read /proc/PID/maps, process_vm_readv and write 1 MiB at a time
 *   bare_copy PID FILE scan   the same, but of private anonymous memory only what PAGEMAP_SCAN says is there
 *   bare_copy PID FILE keep   as all, but into memory that was touched before the stop; FILE is not used
 *
 * No headers, no registers, no module list, no permission to leave anything out: raw bytes, one after the other.
 * Prints "seconds bytes" of the work itself, without the start of this program; of keep, of the stop. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((uint64_t)1 << 20)
#define PAGE ((uint64_t)4096)

/* linux/fs.h, kernel 6.7 and later; declared here because the headers of a distribution may be older. */
struct page_region {
    uint64_t start, end, categories;
};
struct scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define IS_PRESENT ((uint64_t)1 << 3)
#define IS_SWAPPED ((uint64_t)1 << 4)

struct job {
    pid_t pid;
    int out;
    int pagemap; /* -1: copy everything */
    uint64_t bytes;
    char *buffer;
    uint64_t room; /* keep: bytes of the buffer; else 0 */
};

static void die(const char *what) {
    fprintf(stderr, "bare_copy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void store(struct job *job, size_t size) {
    for (size_t at = 0; at < size && job->room == 0;) {
        ssize_t n = write(job->out, job->buffer + at, size - at);
        if (n < 0) die("write");
        at += (size_t)n;
    }
    job->bytes += size;
}

static void copy(struct job *job, uint64_t first, uint64_t end) {
    while (first < end) {
        uint64_t size = end - first < CHUNK ? end - first : CHUNK;
        if (job->room != 0 && job->bytes + size > job->room) errno = ENOMEM, die("keep");
        struct iovec local = {job->buffer + (job->room != 0 ? job->bytes : 0), size},
                     remote = {(void *)(uintptr_t)first, size};
        ssize_t n = process_vm_readv(job->pid, &local, 1, &remote, 1, 0);
        if (n > 0) store(job, (size_t)n);
        first += n > 0 ? (uint64_t)n : PAGE; /* a page that cannot be read costs that page */
    }
}

static void copy_present(struct job *job, uint64_t first, uint64_t end) {
    struct page_region found[512];
    while (first < end) {
        struct scan_arg arg = {.size = sizeof arg,
                               .start = first,
                               .end = end,
                               .vec = (uint64_t)(uintptr_t)found,
                               .vec_len = 512,
                               .category_anyof_mask = IS_PRESENT | IS_SWAPPED,
                               .return_mask = IS_PRESENT | IS_SWAPPED};
        int n = ioctl(job->pagemap, PAGEMAP_SCAN_IOCTL, &arg);
        if (n < 0) die("PAGEMAP_SCAN");
        for (int i = 0; i < n; i++) copy(job, found[i].start, found[i].end);
        if (n < 512) break;
        first = arg.walk_end > found[n - 1].end ? arg.walk_end : found[n - 1].end;
    }
}

static void copy_all(struct job *job) {
    char path[64], line[8192];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)job->pid);
    FILE *maps = fopen(path, "re");
    if (maps == NULL) die(path);
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t first, end, offset, inode;
        unsigned major, minor;
        char perms[5];
        int name = 0;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &first, &end, perms, &offset,
                   &major, &minor, &inode, &name) != 7)
            continue;
        if (perms[0] != 'r' || strncmp(line + name, "[v", 2) == 0) continue;
        if (job->pagemap >= 0 && inode == 0 && perms[3] == 'p')
            copy_present(job, first, end);
        else
            copy(job, first, end);
    }
    fclose(maps);
}

/* Memory for all that is resident, and for what mapped files add. */
static void reserve(struct job *job) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)job->pid);
    FILE *statm = fopen(path, "re");
    unsigned long size, resident;
    if (statm == NULL || fgets(text, sizeof text, statm) == NULL || sscanf(text, "%lu %lu", &size, &resident) != 2)
        die(path);
    fclose(statm);
    job->room = resident * PAGE + ((uint64_t)64 << 20);
    job->buffer = mmap(NULL, job->room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (job->buffer == MAP_FAILED) die("mmap");
    madvise(job->buffer, job->room, MADV_HUGEPAGE);
    memset(job->buffer, 1, job->room);
}

static void wait_until_stopped(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    for (;;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) die(path);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0) die(path);
        text[n] = 0;
        const char *state = strrchr(text, ')');
        if (state != NULL && state[1] == ' ' && state[2] == 'T') return;
        usleep(20);
    }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    struct job job = {.pid = (pid_t)atoi(argv[1]), .pagemap = -1};
    job.buffer = aligned_alloc(PAGE, CHUNK);
    if (job.buffer == NULL) die("aligned_alloc");
    memset(job.buffer, 1, CHUNK);
    bool keep = strcmp(argv[3], "keep") == 0;
    if (keep) reserve(&job);
    double start = now();
    job.out = keep ? -1 : open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (job.out < 0 && !keep) die(argv[2]);
    if (strcmp(argv[3], "scan") == 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/pagemap", (int)job.pid);
        job.pagemap = open(path, O_RDONLY | O_CLOEXEC);
        if (job.pagemap < 0) die(path);
    }
    if (kill(job.pid, SIGSTOP) != 0) die("kill");
    wait_until_stopped(job.pid);
    copy_all(&job);
    kill(job.pid, SIGCONT);
    if (!keep && close(job.out) != 0) die("close");
    printf("%.9f %" PRIu64 "\n", now() - start, job.bytes);
    return 0;
}
