/* Where a child would do harm, or would lack something, there is none, for the right reason; and what becomes of one
 * when it, the target or the dumper ends. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <ucontext.h>

#include "linux_snapshot.h"

enum { LIMIT_S = 100, KILLS = 12, PAGE = 4096 };

static void beat(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (;;) {
        usleep(500);
        atomic_fetch_add(&shared->beat, 1);
    }
}

static void filtered(target_shared *shared, uint32_t number, uint32_t action) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, action),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    beat(shared);
}

static void no_clone(target_shared *shared) { filtered(shared, SYS_clone, SECCOMP_RET_ERRNO | EPERM); }
static void no_wait(target_shared *shared) { filtered(shared, SYS_wait4, SECCOMP_RET_KILL_PROCESS); }
static void no_close(target_shared *shared) { filtered(shared, 436, SECCOMP_RET_TRAP); }
static void no_reboot(target_shared *shared) { filtered(shared, SYS_reboot, SECCOMP_RET_KILL_PROCESS); }

static void faulting(target_shared *shared) {
    int file = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API};
    void *area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {.range = {(uintptr_t)area, 4 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (file < 0 || ioctl(file, UFFDIO_API, &api) != 0 || ioctl(file, UFFDIO_REGISTER, &range) != 0)
        shared->words[0] = 1;
    beat(shared);
}

static void limited(target_shared *shared) {
    const struct rlimit limit = {1, 1};
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    REQUIRE(setgid(64321) == 0 && setuid(64321) == 0);
    prctl(PR_SET_DUMPABLE, 1);
    beat(shared);
}

static void in_new_namespace(target_shared *shared) {
    if (unshare(CLONE_NEWPID) != 0) shared->words[0] = 1;
    beat(shared);
}

static void with_much(target_shared *shared) {
    const size_t size = (size_t)80 << 20;
    uint8_t *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, size);
    REQUIRE(madvise(area, size, MADV_DONTFORK) == 0);
    beat(shared);
}

static void in_vfork(target_shared *shared) {
    atomic_store(&shared->ready, 1);
    for (;;) {
        pid_t child = vfork();
        if (child == 0) {
            struct timespec time = {3, 0};
            syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
            syscall(SYS_nanosleep, &time, NULL);
            syscall(SYS_exit, 0);
        }
        atomic_fetch_add(&shared->beat, 1);
    }
}

static target_shared *of_coroutine;
static void run_coroutine(void) { beat(of_coroutine); }
static void in_coroutine(target_shared *shared) {
    static ucontext_t here, there;
    static char stack[256 * 1024];
    of_coroutine = shared;
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof stack;
    makecontext(&there, run_coroutine, 0);
    swapcontext(&here, &there);
}

static const struct {
    const char *name;
    void (*run)(target_shared *shared);
    uint32_t reason;
    int32_t os_errno;
    bool by_root; /* otherwise it cannot be set up */
} cases[] = {{"clone is forbidden", no_clone, MDC_STOP_REASON_SECCOMP, 0, true},
             {"wait4 is forbidden", no_wait, MDC_STOP_REASON_SECCOMP, 0, true},
             {"close_range is forbidden", no_close, MDC_STOP_REASON_SECCOMP, 0, true},
             {"reboot is forbidden", no_reboot, MDC_STOP_REASON_NONE, 0, true},
             {"userfaultfd", faulting, MDC_STOP_REASON_USERFAULT, 0, true},
             {"limit of processes", limited, MDC_STOP_REASON_CLONE, EAGAIN, true},
             {"new pid namespace", in_new_namespace, MDC_STOP_REASON_THREAD, 0, true},
             {"much that is not copied", with_much, MDC_STOP_REASON_UNCOPIED, 0, false},
             {"vfork", in_vfork, MDC_STOP_REASON_THREAD, 0, false},
             {"coroutine", in_coroutine, MDC_STOP_REASON_THREAD, 0, false}};

static void test_reasons(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].by_root && geteuid() != 0) continue;
        target_shared *shared = target_share();
        pid_t pid = target_start(cases[i].run, shared);
        WAIT_FOR(atomic_load(&shared->ready) == 1);
        sleep_us(2000);
        if (shared->words[0] == 0) {
            taken got = take(pid, NULL);
            REQUIRE_OK(got.status, got.err);
            if (got.reason != cases[i].reason || got.os_errno != cases[i].os_errno)
                fprintf(stderr, "%s: reason %u, %d\n", cases[i].name, got.reason, (int)got.os_errno);
            REQUIRE(got.reason == cases[i].reason && got.os_errno == cases[i].os_errno);
            REQUIRE(got.frozen == (got.reason == MDC_STOP_REASON_NONE));
            int living;
            REQUIRE(children_of(pid, &living) == (cases[i].run == in_vfork));
            uint64_t before = atomic_load(&shared->beat);
            WAIT_FOR(atomic_load(&shared->beat) > before);
        } else {
            printf("%s: not possible here\n", cases[i].name);
        }
        target_end(pid);
    }
}

static void test_stopped_by_a_signal(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beat, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    kill(pid, SIGSTOP);
    sleep_us(20000);
    taken got = take(pid, NULL);
    REQUIRE_OK(got.status, got.err);
    REQUIRE(got.frozen == 0 && got.reason == MDC_STOP_REASON_STOPPED);
    kill(pid, SIGCONT);
    uint64_t before = atomic_load(&shared->beat);
    WAIT_FOR(atomic_load(&shared->beat) > before);
    target_end(pid);
}

/* -- what a child does not get --------------------------------------------------------------------------------------
 */

enum { AREA = 16 * PAGE };

static void with_areas(target_shared *shared) {
    static const int advices[] = {MADV_DONTFORK, MADV_WIPEONFORK, MADV_NORMAL};
    for (size_t i = 0; i < 3; i++) {
        uint8_t *area = mmap(NULL, AREA + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        area += PAGE;
        REQUIRE(mprotect(area, AREA, PROT_READ | PROT_WRITE) == 0 && madvise(area, AREA, advices[i]) == 0);
        memset(area + 3 * PAGE, 'A' + (int)i, 2 * PAGE);
        memset(area + 9 * PAGE, 'a' + (int)i, PAGE);
        shared->words[i] = (uintptr_t)area;
    }
    beat(shared);
}

static target_shared *of_areas;

static void read_areas(mdc_source *source, pid_t pid) {
    const mdc_snapshot *lists = source->ops->snapshot(source);
    (void)pid;
    for (size_t i = 0; i < 3; i++) {
        const mdc_region *region = NULL;
        size_t number = 0, count = 0;
        for (size_t k = 0; k < lists->region_count; k++)
            if (lists->regions[k].base == of_areas->words[i]) region = &lists->regions[number = k];
        REQUIRE(region != NULL && region->size == AREA && region->state == MDC_MEM_COMMIT);
        uint64_t data = 0;
        for (uint64_t at = region->base; at < region->base + AREA; count++) {
            mdc_content run;
            REQUIRE(source->ops->content(source, number, at, region->base + AREA, &run, 1, &at) == 1);
            REQUIRE(run.what == MDC_CONTENT_DATA || run.what == MDC_CONTENT_UNTOUCHED);
            if (run.what == MDC_CONTENT_DATA) data += run.end - run.first;
        }
        REQUIRE(data == 3 * PAGE && count == 5);
        static uint8_t bytes[AREA];
        const mdc_span span = {region->base, AREA};
        size_t done;
        int32_t os_errno;
        mdc_error err;
        mdc_error_clear(&err);
        REQUIRE_OK(source->ops->read(source, &span, 1, bytes, &done, &os_errno, &err), err);
        REQUIRE(done == AREA && os_errno == 0);
        for (size_t k = 0; k < AREA; k++) {
            int wanted = k / PAGE == 3 || k / PAGE == 4 ? 'A' + (int)i : k / PAGE == 9 ? 'a' + (int)i : 0;
            REQUIRE(bytes[k] == wanted);
        }
    }
}

static void test_what_a_child_does_not_get(void) {
    of_areas = target_share();
    pid_t pid = target_start(with_areas, of_areas);
    WAIT_FOR(atomic_load(&of_areas->ready) == 1);
    taken got = take(pid, read_areas);
    REQUIRE_OK(got.status, got.err);
    REQUIRE(got.frozen == 1);
    target_end(pid);
}

/* -- ends -----------------------------------------------------------------------------------------------------------
 */

static void kill_child(mdc_source *source, pid_t pid) {
    char path[64];
    int child = 0;
    (void)source;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL && fscanf(file, "%d", &child) == 1 && kill(child, SIGKILL) == 0);
    fclose(file);
    sleep_us(50000);
}

/* It sleeps in the kernel for good: it has used no time in user space, and has no descriptor. */
static void look_at_child(mdc_source *source, pid_t pid) {
    char path[64], line[1024] = "";
    int child = 0;
    (void)source;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL && fscanf(file, "%d", &child) == 1);
    fclose(file);
    REQUIRE(status_of(child, "FDSize:", 10) > 0 && status_of(child, "TracerPid:", 10) > 0);
    snprintf(path, sizeof path, "/proc/%d/fd/0", child);
    REQUIRE(access(path, F_OK) != 0);
    snprintf(path, sizeof path, "/proc/%d/fd/1", child);
    REQUIRE(access(path, F_OK) != 0);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", child);
    file = fopen(path, "r");
    REQUIRE(file != NULL && fgets(line, sizeof line, file) != NULL && atoi(line) == 1000);
    fclose(file);
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    file = fopen(path, "r");
    REQUIRE(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    const char *at = strrchr(line, ')');
    char state;
    unsigned long user;
    REQUIRE(at != NULL && sscanf(at + 2, "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &state, &user) == 2);
    REQUIRE(state == 't' && user == 0);
}

static void kill_target(mdc_source *source, pid_t pid) {
    static uint8_t byte;
    const mdc_snapshot *lists = source->ops->snapshot(source);
    kill(pid, SIGKILL);
    sleep_us(50000);
    for (size_t i = 0; i < lists->region_count; i++) {
        if ((lists->regions[i].kinds & MDC_KIND_STACK) == 0) continue;
        const mdc_span span = {lists->threads[0].stack_pointer, 1};
        size_t done;
        int32_t os_errno;
        mdc_error err;
        mdc_error_clear(&err);
        REQUIRE_OK(source->ops->read(source, &span, 1, &byte, &done, &os_errno, &err), err);
        REQUIRE(done == 1);
    }
}

static void stop_target(mdc_source *source, pid_t pid) {
    (void)source;
    kill(pid, SIGSTOP);
    sleep_us(3000);
}

static bool is_stopped(pid_t pid) {
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) found = found || strncmp(line, "State:\tT", 8) == 0;
    if (file != NULL) fclose(file);
    return found;
}

/* A signal stops it while there is a child: it waits for the child all the same, and stays stopped. */
static void test_stopped_meanwhile(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beat, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    for (int turn = 0; turn < 10; turn++) {
        int living, status;
        taken got = take(pid, stop_target);
        REQUIRE_OK(got.status, got.err);
        REQUIRE(got.frozen == 1 && (got.warnings & MDC_WARN_ZOMBIE) == 0 && children_of(pid, &living) == 0);
        WAIT_FOR(is_stopped(pid));
        /* Its parent was told once. */
        REQUIRE(waitpid(pid, &status, WUNTRACED | WNOHANG) == pid && WIFSTOPPED(status));
        REQUIRE(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
        uint64_t before = atomic_load(&shared->beat);
        sleep_us(5000);
        REQUIRE(atomic_load(&shared->beat) == before);
        kill(pid, SIGCONT);
        WAIT_FOR(atomic_load(&shared->beat) > before);
    }
    target_end(pid);
}

static void test_ends(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beat, shared);
    int living;
    WAIT_FOR(atomic_load(&shared->ready) == 1);
    taken got = take(pid, look_at_child);
    REQUIRE_OK(got.status, got.err);
    REQUIRE(got.frozen == 1);
    got = take(pid, kill_child);
    REQUIRE(got.status == MDC_ERR_TARGET_GONE && strstr(got.err.message, "the snapshot of process") != NULL);
    REQUIRE(children_of(pid, &living) == 0);
    uint64_t before = atomic_load(&shared->beat);
    WAIT_FOR(atomic_load(&shared->beat) > before);
    got = take(pid, kill_target); /* the snapshot is whole without it */
    REQUIRE_OK(got.status, got.err);
    REQUIRE((got.warnings & MDC_WARN_ZOMBIE) == 0);
    REQUIRE(waitpid(pid, NULL, 0) == pid);
}

/* A dumper that is killed at a moment of its own each time. */
static void test_killed_dumpers(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    unsigned seed = 7;
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    for (int i = 0; i < KILLS; i++) {
        fflush(stdout);
        pid_t dumper = fork();
        REQUIRE(dumper >= 0);
        while (dumper == 0) (void)take(pid, NULL);
        sleep_us(2000 + (long)((uint32_t)rand_r(&seed) % 30000U));
        kill(dumper, SIGKILL);
        REQUIRE(waitpid(dumper, NULL, 0) == dumper);
        int living;
        /* The tracer outlives the dumper until that is so, and traces once more to wait for the child. */
        WAIT_FOR(tracer_of(pid) == 0 && children_of(pid, &living) == 0);
        uint64_t before = atomic_load(&shared->beat);
        WAIT_FOR(atomic_load(&shared->beat) > before);
    }
    REQUIRE(hold_once(pid) == 8);
    target_end(pid);
}

int main(void) {
    alarm(LIMIT_S); /* a hang is a failure */
    test_reasons();
    test_stopped_by_a_signal();
    test_what_a_child_does_not_get();
    test_stopped_meanwhile();
    test_ends();
    test_killed_dumpers();
    return 0;
}
