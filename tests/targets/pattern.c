/* A process to dump: known bytes at known addresses, threads with known names and registers, and the odd states that
 * a dumper meets. What it is made of comes on the command line; when it is ready it prints one JSON line with the
 * addresses. Then it answers lines on its standard input ("ping" -> "pong N") and ends at the end of the input.
 *
 * Each 8-byte word of a pattern at address a holds (a + seed) * 0x9E3779B97F4A7C15. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/* A file's first page may be read for its ELF header, and the kernel then maps 16 pages round it: FILE_PAGES is more.
 */
enum { PAGE = 4096, FILE_PAGES = 192, MAX_THREADS = 4000 };

#define FIXED_BASE 0x100000000000ull /* far from anything the kernel hands out by itself */
#define MAPS_BASE 0x110000000000ull
#define SPARSE_BASE 0x120000000000ull
#define HEAP_BASE 0x130000000000ull
#define ZEROS_BASE 0x140000000000ull
#define PATTERN_FACTOR 0x9E3779B97F4A7C15ull

struct worker {
    int index;
    pid_t tid;
    uint64_t marker; /* address of a pattern word on the thread's stack */
    uint64_t stack_pointer;
};

static struct worker workers[MAX_THREADS];
static pthread_barrier_t started;
static volatile sig_atomic_t signals_seen;
static int queued_seen;
static const char *folder = ".";
static char json[1 << 16];
static size_t json_used;

static void die(const char *what) {
    perror(what);
    exit(111);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list list;
    va_start(list, format);
    int used = vsnprintf(json + json_used, sizeof json - json_used, format, list);
    va_end(list);
    if (used < 0 || (size_t)used >= sizeof json - json_used) {
        fprintf(stderr, "the JSON line is too long\n");
        exit(111);
    }
    json_used += (size_t)used;
}

static void flush_json(void) {
    say("}\n");
    size_t done = 0;
    while (done < json_used) {
        ssize_t wrote = write(1, json + done, json_used - done);
        if (wrote < 0 && errno != EINTR) die("write");
        if (wrote > 0) done += (size_t)wrote;
    }
    json_used = 0;
}

static void fill(uint64_t base, uint64_t size, uint64_t seed) {
    for (uint64_t at = base; at < base + size; at += 8) {
        *(volatile uint64_t *)(uintptr_t)at = (at + seed) * PATTERN_FACTOR;
    }
}

static uint64_t map_at(uint64_t base, uint64_t size, int protect, int flags, int fd) {
    void *got = mmap((void *)(uintptr_t)base, size, protect, flags | MAP_FIXED_NOREPLACE, fd, 0);
    if (got == MAP_FAILED) die("mmap");
    return (uint64_t)(uintptr_t)got;
}

static void announce(const char *name, uint64_t base, uint64_t size, uint64_t seed) {
    say(",\"%s\":{\"base\":%llu,\"size\":%llu,\"seed\":%llu}", name, (unsigned long long)base, (unsigned long long)size,
        (unsigned long long)seed);
}

static void write_pattern(int fd, uint64_t base, uint64_t size, uint64_t seed) {
    uint64_t words[PAGE / 8];
    for (uint64_t at = base; at < base + size; at += PAGE) {
        for (uint64_t word = 0; word < PAGE / 8; word++) words[word] = (at + 8 * word + seed) * PATTERN_FACTOR;
        if (write(fd, words, sizeof words) != sizeof words) die("write pattern");
    }
    explicit_bzero(words, sizeof words); /* no copy of what a test excludes may stay on the stack */
}

/* A file of `size` bytes of pattern as it will appear when mapped at `base`. */
static int pattern_file(const char *name, uint64_t base, uint64_t size, uint64_t seed) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) die(path);
    write_pattern(fd, base, size, seed);
    return fd;
}

/* The small regions every run has. */
static void make_regions(void) {
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS;
    uint64_t at = FIXED_BASE;
    map_at(at, 16 * PAGE, PROT_READ | PROT_WRITE, anon, -1);
    fill(at, 16 * PAGE, 1);
    announce("plain", at, 16 * PAGE, 1);

    at += 1 << 20; /* touched, then made unreadable */
    map_at(at, 4 * PAGE, PROT_READ | PROT_WRITE, anon, -1);
    fill(at, 4 * PAGE, 2);
    if (mprotect((void *)(uintptr_t)at, 4 * PAGE, PROT_NONE)) die("mprotect");
    announce("unreadable", at, 4 * PAGE, 2);

    at += 1 << 20; /* a reservation: nothing in it */
    map_at(at, 16 * PAGE, PROT_NONE, anon | MAP_NORESERVE, -1);
    announce("reserved", at, 16 * PAGE, 0);

    at += 1 << 20;
    map_at(at, 16 * PAGE, PROT_READ | PROT_WRITE, anon, -1);
    fill(at, 16 * PAGE, 3);
    if (madvise((void *)(uintptr_t)at, 16 * PAGE, MADV_DONTDUMP)) die("madvise");
    announce("dontdump", at, 16 * PAGE, 3);

    at += 1 << 20; /* a file with an odd name, mapped and never touched through the mapping */
    int fd = pattern_file("odd name \xff\t(deleted) x.bin", at, FILE_PAGES * PAGE, 4);
    map_at(at, FILE_PAGES * PAGE, PROT_READ, MAP_PRIVATE, fd);
    announce("odd_name", at, FILE_PAGES * PAGE, 4);
    close(fd);

    at += 1 << 20;
    fd = pattern_file("gone.bin", at, FILE_PAGES * PAGE, 5);
    map_at(at, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    char path[4096];
    snprintf(path, sizeof path, "%s/gone.bin", folder);
    unlink(path);
    announce("deleted", at, FILE_PAGES * PAGE, 5);
    close(fd);

    at += 1 << 20; /* 16 pages mapped, one page left of the file */
    fd = pattern_file("shrunk.bin", at, 16 * PAGE, 6);
    map_at(at, 16 * PAGE, PROT_READ, MAP_SHARED, fd);
    if (ftruncate(fd, PAGE)) die("ftruncate");
    announce("shrunk", at, 16 * PAGE, 6);
    close(fd);

    at += 1 << 20; /* content in a memfd, no page table entry here */
    fd = memfd_create("pattern", MFD_CLOEXEC);
    if (fd < 0) die("memfd_create");
    write_pattern(fd, at, FILE_PAGES * PAGE, 7);
    map_at(at, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    announce("memfd", at, FILE_PAGES * PAGE, 7);
    close(fd);

    at += 1 << 20; /* a page with a guard between pages with content */
    map_at(at, 8 * PAGE, PROT_READ | PROT_WRITE, anon, -1);
    fill(at, 8 * PAGE, 8);
    int guarded = madvise((void *)(uintptr_t)(at + 2 * PAGE), PAGE, MADV_GUARD_INSTALL) == 0;
    announce(guarded ? "guarded" : "unguarded", at, 8 * PAGE, 8);

    at += 1 << 20;
    map_at(at, 8 * PAGE, PROT_READ | PROT_WRITE, anon, -1);
    fill(at, 8 * PAGE, 9);
    int named = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, 8 * PAGE, "key store") == 0;
    announce(named ? "named" : "unnamed", at, 8 * PAGE, 9);

    at += 1 << 20; /* 16 MiB of which two pages are touched, one of them with zeros */
    map_at(at, 16 << 20, PROT_READ | PROT_WRITE, anon | MAP_NORESERVE, -1);
    if (madvise((void *)(uintptr_t)at, 16 << 20, MADV_NOHUGEPAGE)) die("madvise");
    fill(at + (5 << 20), PAGE, 10);
    memset((void *)(uintptr_t)(at + (9 << 20)), 0, PAGE);
    announce("mostly_untouched", at, 16 << 20, 10);
}

static void make_maps(long count) {
    map_at(MAPS_BASE, (uint64_t)count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise((void *)MAPS_BASE, (size_t)count * PAGE, MADV_NOHUGEPAGE);
    for (long index = 0; index < count; index++) {
        uint64_t at = MAPS_BASE + (uint64_t)index * PAGE;
        *(volatile uint64_t *)(uintptr_t)at = (at + 11) * PATTERN_FACTOR;
        if (index % 2 && mprotect((void *)(uintptr_t)at, PAGE, PROT_READ)) die("mprotect");
    }
    announce("maps", MAPS_BASE, (uint64_t)count * PAGE, 11);
}

/* `touch` bytes of `size`, in 64 equal runs. */
static void make_sparse(uint64_t size, uint64_t touch) {
    map_at(SPARSE_BASE, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise((void *)SPARSE_BASE, size, MADV_NOHUGEPAGE);
    for (uint64_t run = 0; run < 64 && touch; run++) fill(SPARSE_BASE + run * (size / 64), touch / 64, 12);
    announce("sparse", SPARSE_BASE, size, 12);
}

static void make_heap(uint64_t size) {
    map_at(HEAP_BASE, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise((void *)HEAP_BASE, size, MADV_NOHUGEPAGE);
    fill(HEAP_BASE, size, 13);
    announce("heap", HEAP_BASE, size, 13);
}

/* The first quarter written, every second page of it with zeros; the rest only read, which maps the zero page. */
static void make_zeros(uint64_t size) {
    map_at(ZEROS_BASE, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise((void *)ZEROS_BASE, size, MADV_NOHUGEPAGE);
    for (uint64_t at = ZEROS_BASE; at < ZEROS_BASE + size / 4; at += 2 * PAGE) {
        fill(at, PAGE, 15);
        memset((void *)(at + PAGE), 0, PAGE);
    }
    for (uint64_t at = ZEROS_BASE + size / 4; at < ZEROS_BASE + size; at += PAGE)
        if (*(volatile char *)at != 0) die("zeros");
    announce("zeros", ZEROS_BASE, size, 15);
}

#if defined(__x86_64__)
static int has_avx(void) { return __builtin_cpu_supports("avx") != 0; }

/* Loads every register the system call keeps with what its thread's number says, and sleeps for good. */
__attribute__((noinline)) static void park(uint64_t seed, int avx) {
    uint8_t vectors[16][32] __attribute__((aligned(32)));
    for (int number = 0; number < 16; number++) {
        for (int byte = 0; byte < 32; byte++) vectors[number][byte] = (uint8_t)(number * 16 + byte + (int)seed);
    }
    if (avx) {
        __asm__ volatile("vmovdqa 0(%0), %%ymm0\n vmovdqa 32(%0), %%ymm1\n vmovdqa 64(%0), %%ymm2\n"
                         "vmovdqa 96(%0), %%ymm3\n vmovdqa 128(%0), %%ymm4\n vmovdqa 160(%0), %%ymm5\n"
                         "vmovdqa 192(%0), %%ymm6\n vmovdqa 224(%0), %%ymm7\n vmovdqa 256(%0), %%ymm8\n"
                         "vmovdqa 288(%0), %%ymm9\n vmovdqa 320(%0), %%ymm10\n vmovdqa 352(%0), %%ymm11\n"
                         "vmovdqa 384(%0), %%ymm12\n vmovdqa 416(%0), %%ymm13\n vmovdqa 448(%0), %%ymm14\n"
                         "vmovdqa 480(%0), %%ymm15\n"
                         :
                         : "r"(vectors)
                         : "memory");
    } else {
        __asm__ volatile("movdqa 0(%0), %%xmm0\n movdqa 32(%0), %%xmm1\n movdqa 64(%0), %%xmm2\n"
                         "movdqa 96(%0), %%xmm3\n movdqa 128(%0), %%xmm4\n movdqa 160(%0), %%xmm5\n"
                         "movdqa 192(%0), %%xmm6\n movdqa 224(%0), %%xmm7\n movdqa 256(%0), %%xmm8\n"
                         "movdqa 288(%0), %%xmm9\n movdqa 320(%0), %%xmm10\n movdqa 352(%0), %%xmm11\n"
                         "movdqa 384(%0), %%xmm12\n movdqa 416(%0), %%xmm13\n movdqa 448(%0), %%xmm14\n"
                         "movdqa 480(%0), %%xmm15\n"
                         :
                         : "r"(vectors)
                         : "memory");
    }
    /* pause() again and again; a system call changes rax, rcx and r11 alone. */
    __asm__ volatile("mov %0, %%rdi\n"
                     "lea 0x11(%%rdi), %%rsi\n lea 0x22(%%rdi), %%rdx\n lea 0x33(%%rdi), %%r8\n"
                     "lea 0x44(%%rdi), %%r9\n lea 0x55(%%rdi), %%r10\n lea 0x66(%%rdi), %%rbx\n"
                     "lea 0x77(%%rdi), %%r12\n lea 0x88(%%rdi), %%r13\n lea 0x99(%%rdi), %%r14\n"
                     "lea 0xaa(%%rdi), %%r15\n"
                     "1: mov $34, %%eax\n syscall\n jmp 1b\n"
                     :
                     : "r"(seed * 0x0101010101010100ull)
                     : "rdi", "rsi", "rdx", "r8", "r9", "r10", "rbx", "r12", "r13", "r14", "r15", "memory");
}
#else
static int has_avx(void) { return 0; }
__attribute__((noinline)) static void park(uint64_t seed, int avx) {
    (void)seed, (void)avx;
    for (;;) pause();
}
#endif

static void *worker_main(void *argument) {
    struct worker *worker = argument;
    volatile uint64_t marker[8];
    char name[16];
    snprintf(name, sizeof name, "worker-%d", worker->index);
    prctl(PR_SET_NAME, name);
    for (int index = 0; index < 8; index++) marker[index] = ((uint64_t)(uintptr_t)&marker[index] + 14) * PATTERN_FACTOR;
    worker->tid = (pid_t)syscall(SYS_gettid);
    worker->marker = (uint64_t)(uintptr_t)marker;
    pthread_barrier_wait(&started);
    park((uint64_t)worker->index + 1, has_avx());
    return NULL;
}

/* Until a worker has loaded its registers and sleeps in pause(): /proc shows the number of the system call. */
static void wait_until_parked(pid_t tid) {
#ifdef SYS_pause
    char path[64], wanted[16];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
    int length = snprintf(wanted, sizeof wanted, "%d ", (int)SYS_pause);
    for (int tries = 0; tries < 60000; tries++) {
        char text[16] = {0};
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return; /* a kernel that does not tell */
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        if (got > length && memcmp(text, wanted, (size_t)length) == 0) return;
        usleep(1000);
    }
    die("a worker did not come to rest");
#else
    (void)tid;
#endif
}

static void make_threads(long count) {
    pthread_attr_t attributes;
    if (count > MAX_THREADS) count = MAX_THREADS;
    pthread_barrier_init(&started, NULL, (unsigned)count + 1);
    pthread_attr_init(&attributes);
    for (long index = 0; index < count; index++) {
        pthread_t thread;
        workers[index].index = (int)index;
        if (pthread_create(&thread, &attributes, worker_main, &workers[index])) die("pthread_create");
    }
    pthread_barrier_wait(&started);
    for (long index = 0; index < count; index++) wait_until_parked(workers[index].tid);
    say(",\"avx\":%d,\"threads\":[", has_avx());
    for (long index = 0; index < count && index < 600; index++) {
        say("%s[%d,%llu]", index ? "," : "", (int)workers[index].tid, (unsigned long long)workers[index].marker);
    }
    say("]");
}

static void *live_shortly(void *argument) {
    (void)argument;
    usleep(150);
    return NULL;
}

static void *churn_threads(void *argument) {
    (void)argument;
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, live_shortly, NULL) == 0) pthread_detach(thread);
        usleep(100);
    }
    return NULL;
}

static void *churn_maps(void *argument) {
    (void)argument;
    for (;;) {
        char *area = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) continue;
        memset(area, 0x5A, 64 * PAGE);
        munmap(area + 16 * PAGE, 16 * PAGE);
        usleep(100);
        munmap(area, 64 * PAGE);
    }
    return NULL;
}

static void *fork_loop(void *argument) {
    (void)argument;
    for (;;) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        if (child > 0) waitpid(child, NULL, 0);
        usleep(200);
    }
    return NULL;
}

static void *vfork_main(void *argument) {
    int *gate = argument;
    pid_t child = vfork(); /* this thread is uninterruptible until the child ends */
    if (child == 0) {
        char byte;
        close(gate[1]);
        while (read(gate[0], &byte, 1) < 0) continue;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return NULL;
}

static void on_queued(int number) {
    (void)number;
    __atomic_fetch_add(&queued_seen, 1, __ATOMIC_RELAXED); /* any thread may get it */
}

static void on_signal(int number) {
    (void)number;
    signals_seen++;
}

static void start(void *(*routine)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, routine, argument)) die("pthread_create");
}

/* Answers its input until that ends. The thread may be one of several: a dead leader cannot read. It reads by read()
 * alone: debuggers do not find their way out of every libc's buffered input. */
__attribute__((noinline)) static void *serve(void *argument) {
    char byte, answer[64];
    unsigned long answers = 0;
    ssize_t got;
    while ((got = read(0, &byte, 1)) != 0) {
        if (got < 0 && errno != EINTR) break;
        if (got < 0 || byte != '\n') continue;
        int used = snprintf(answer, sizeof answer, "pong %lu %d %d\n", ++answers, (int)signals_seen,
                            __atomic_load_n(&queued_seen, __ATOMIC_RELAXED));
        if (write(1, answer, (size_t)used) != used) break;
    }
    exit(argument ? *(int *)argument : 0);
}

/* Byte by byte: a vector register would keep the words that were compared, and a dump has the registers. */
static int same(const volatile char *left, const volatile char *right) {
    while (*left != 0 && *left == *right) left++, right++;
    return *left == *right;
}

static const char *value_of(int count, char **words, const char *name) {
    for (int index = 1; index < count; index++) {
        if (same(words[index], name)) return index + 1 < count ? words[index + 1] : "";
    }
    return NULL;
}

static uint64_t number_of(const char *text) {
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end == 'G') value <<= 30;
    if (*end == 'M') value <<= 20;
    if (*end == 'K') value <<= 10;
    return value;
}

/* No thread lives longer than about a millisecond, and the leader is dead. */
static void *run_relay(void *unused) {
    pthread_t next;
    usleep(1000);
    if (pthread_create(&next, NULL, run_relay, unused) != 0) die("pthread_create");
    pthread_detach(next);
    return NULL;
}

static void relay(void) {
    say("{\"pid\":%d", (int)getpid());
    flush_json();
    run_relay(NULL);
    pthread_exit(NULL);
}

/* The thread takes the number of the leader. */
static void *exec_again(void *count) {
    execl("/proc/self/exe", "pattern", "--exec-by-threads", (char *)count, (char *)NULL);
    die("execl");
    return NULL;
}

int main(int argc, char **argv) {
    static int exit_status;
    static int gate[2];
    const char *value;
    if ((value = value_of(argc, argv, "--folder"))) folder = value;
    if ((value = value_of(argc, argv, "--exit"))) exit_status = atoi(value);
    if (value_of(argc, argv, "--exec-loop")) {
        char count[32];
        long round = atol(value_of(argc, argv, "--exec-loop"));
        if (round == 0) {
            say("{\"pid\":%d", (int)getpid());
            flush_json();
        }
        usleep(300);
        snprintf(count, sizeof count, "%ld", round + 1);
        if (round > 20000) return 0;
        execl("/proc/self/exe", argv[0], "--exec-loop", count, (char *)NULL);
        die("execl");
    }
    if ((value = value_of(argc, argv, "--exec-by-threads"))) {
        static char count[32];
        pthread_t thread;
        snprintf(count, sizeof count, "%ld", atol(value) + 1);
        if (atol(value) > 50000) return 0;
        if (pthread_create(&thread, NULL, exec_again, count) != 0) die("pthread_create");
        for (;;) pause();
    }
    if (value_of(argc, argv, "--relay")) relay();
    if (value_of(argc, argv, "--undumpable")) prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process outlives a killed test run */
    say("{\"base\":%llu", (unsigned long long)FIXED_BASE);
    if (!value_of(argc, argv, "--no-regions")) make_regions();
    if ((value = value_of(argc, argv, "--maps"))) make_maps(atol(value));
    if ((value = value_of(argc, argv, "--sparse"))) {
        const char *touch = value_of(argc, argv, "--touch");
        make_sparse(number_of(value), touch ? number_of(touch) : 0);
    }
    if ((value = value_of(argc, argv, "--heap"))) make_heap(number_of(value) << 20);
    if ((value = value_of(argc, argv, "--zeros"))) make_zeros(number_of(value));
    if (value_of(argc, argv, "--fork-worker")) {
        pid_t child = fork();
        if (child < 0) die("fork");
        if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (child > 0) {
            int status = 0;
            while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 112;
        }
    }
    if ((value = value_of(argc, argv, "--threads"))) make_threads(atol(value));
    if (value_of(argc, argv, "--thread-churn")) start(churn_threads, &exit_status);
    if (value_of(argc, argv, "--map-churn")) start(churn_maps, NULL);
    if (value_of(argc, argv, "--fork-loop")) start(fork_loop, NULL);
    if (value_of(argc, argv, "--vfork")) {
        if (pipe(gate)) die("pipe");
        start(vfork_main, gate);
        usleep(50000);
    }
    if (value_of(argc, argv, "--signals")) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        struct itimerval every = {{0, 500}, {0, 500}};
        sigaction(SIGALRM, &action, NULL);
        action.sa_handler = on_queued;
        sigaction(SIGRTMIN, &action, NULL);
        setitimer(ITIMER_REAL, &every, NULL);
    }
    say(",\"pid\":%d,\"main\":%llu,\"serve\":%llu", (int)getpid(), (unsigned long long)(uintptr_t)&main,
        (unsigned long long)(uintptr_t)&serve);
    if (value_of(argc, argv, "--zombie-leader")) {
        start(serve, &exit_status);
        flush_json();
        pthread_exit(NULL);
    }
    flush_json();
    if (value_of(argc, argv, "--stopped")) raise(SIGSTOP);
    serve(&exit_status);
    return exit_status;
}
