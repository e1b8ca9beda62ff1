/* The process that traces may be killed at any instruction, and a system call of ours may be forbidden: a dump ends
 * with an error or well, never not at all, and the target runs on. */
#include "linux_hold.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

enum { KILLS = 60, LIMIT_S = 60, MANY_THREADS = 300 };

static void busy(target_shared *shared) {
    start_threads(shared, MANY_THREADS - 1, sleep_forever);
    beat_forever(shared);
}

static pid_t start_busy(target_shared **shared) {
    *shared = target_share();
    pid_t pid = target_start(busy, *shared);
    WAIT_FOR(atomic_load(&(*shared)->ready) == MANY_THREADS);
    return pid;
}

static size_t open_files(void) {
    size_t count = 0;
    DIR *list = opendir("/proc/self/fd");
    REQUIRE(list != NULL);
    while (readdir(list) != NULL) count++;
    closedir(list);
    return count;
}

/* The children of one of our threads, but for the target: the tracer. 0: none. */
static pid_t tracer_child(pid_t target) {
    pid_t found = 0;
    char path[64];
    DIR *list = opendir("/proc/self/task");
    REQUIRE(list != NULL);
    for (const struct dirent *entry; found == 0 && (entry = readdir(list)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%.20s/children", entry->d_name);
        FILE *file = fopen(path, "r");
        for (int pid; file != NULL && fscanf(file, "%d", &pid) == 1;)
            if (pid != target) found = (pid_t)pid;
        if (file != NULL) fclose(file);
    }
    closedir(list);
    return found;
}

typedef struct killer {
    pthread_t thread;
    pid_t target;
    _Atomic bool over;
    _Atomic uint32_t kills;
} killer;

/* Kills every tracer it sees, each a little later in its life than the one before. */
static void *kill_tracers(void *argument) {
    killer *self = argument;
    unsigned seed = 5;
    while (!atomic_load(&self->over)) {
        pid_t tracer = tracer_child(self->target);
        if (tracer == 0) continue;
        sleep_us((long)((uint32_t)rand_r(&seed) % 12000U));
        if (tracer_child(self->target) == tracer && kill(tracer, SIGKILL) == 0) atomic_fetch_add(&self->kills, 1);
    }
    return NULL;
}

static void test_killed_at_any_time(void) {
    target_shared *shared;
    pid_t pid = start_busy(&shared);
    killer self = {.target = pid};
    unsigned cancelled = 0, well = 0;
    REQUIRE(hold_once(pid) == MANY_THREADS);
    size_t files = open_files();
    atomic_init(&self.over, false);
    atomic_init(&self.kills, 0);
    REQUIRE(pthread_create(&self.thread, NULL, kill_tracers, &self) == 0);
    while (cancelled < KILLS) {
        held_process held;
        hold_new(&held, pid, 0);
        mdc_status status = hold_stop(&held);
        if (status == MDC_OK) {
            sleep_us(3000);
            status = mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err);
        }
        REQUIRE(status == MDC_OK || (status == MDC_ERR_CANCELLED && held.err.message[0] != '\0'));
        cancelled += status != MDC_OK;
        well += status == MDC_OK;
        hold_free(&held);
    }
    atomic_store(&self.over, true);
    pthread_join(self.thread, NULL);
    printf("%u kills: %u holds cancelled, %u well\n", atomic_load(&self.kills), cancelled, well);
    REQUIRE(open_files() == files);
    REQUIRE(tracer_child(pid) == 0);         /* all are reaped */
    REQUIRE(hold_once(pid) == MANY_THREADS); /* all of them can be stopped, so none is */
    REQUIRE(beats(shared));
    target_end(pid);
}

/* -- system calls that are forbidden ------------------------------------------------------------------------------- */

static void forbid(long number, int os_errno) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)os_errno),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

typedef struct forbidden_call {
    const char *name;
    long number;
    mdc_status stop; /* what becomes of the stop */
} forbidden_call;

static const forbidden_call forbidden_calls[] = {
    {"ppoll", SYS_ppoll, MDC_OK},         {"poll", SYS_poll, MDC_OK},
    {"wait4", SYS_wait4, MDC_OK},         {"waitid", SYS_waitid, MDC_OK},
    {"eventfd2", SYS_eventfd2, MDC_OK},   {"kcmp", SYS_kcmp, MDC_OK},
    {"setitimer", SYS_setitimer, MDC_OK}, {"clone", SYS_clone, MDC_OK},
    {"lseek", SYS_lseek, MDC_ERR_TARGET}, {"getdents64", SYS_getdents64, MDC_ERR_TARGET},
    {"tgkill", SYS_tgkill, MDC_OK},       {"ptrace", SYS_ptrace, MDC_ERR_ACCESS}};

/* In a process of its own, since a filter stays. Its status: 0 well, 1 a check failed. */
static void dump_without(const forbidden_call *call, pid_t pid, target_shared *shared) {
    held_process held;
    size_t count = 0;
    hold_new(&held, pid, 0);
    /* By a thread that is started before, clone is not needed; glibc may start threads by clone3. */
    forbid(call->number, EPERM);
    mdc_status status = hold_stop(&held);
    if (strcmp(call->name, "clone") == 0 && status == MDC_ERR_NOMEM) status = MDC_OK; /* no thread either */
    if (status != call->stop) {
        printf("%s: %d instead of %d: %s\n", call->name, (int)status, (int)call->stop, held.err.message);
        fflush(stdout);
        _exit(1);
    }
    mdc_tracer_threads(held.tracer, &count);
    REQUIRE(status != MDC_OK || held.err.code == MDC_ERR_NOMEM || count == 8);
    sleep_us(20000);
    mdc_error_clear(&held.err);
    if (status == MDC_OK && count > 0)
        REQUIRE_OK(mdc_tracer_resume(held.tracer, &held.stop_time_ns, &held.err), held.err);
    REQUIRE(beats(shared));
    hold_free(&held);
    _exit(0);
}

static void test_forbidden_calls(void) {
    target_shared *shared = target_share();
    pid_t pid = target_start(beating_with_threads, shared);
    WAIT_FOR(atomic_load(&shared->ready) == 8);
    for (size_t i = 0; i < sizeof forbidden_calls / sizeof forbidden_calls[0]; i++) {
        fflush(stdout);
        pid_t dumper = fork();
        REQUIRE(dumper >= 0);
        if (dumper == 0) {
            alarm(20);
            dump_without(&forbidden_calls[i], pid, shared);
        }
        int status;
        REQUIRE(waitpid(dumper, &status, 0) == dumper);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("%s: status %#x\n", forbidden_calls[i].name, (unsigned)status);
            fflush(stdout);
            exit(1);
        }
        REQUIRE(beats(shared));
        REQUIRE(tracer_of(pid) == 0);
    }
    target_end(pid);
}

int main(void) {
    alarm(LIMIT_S * 3); /* a hang is a failure */
    test_killed_at_any_time();
    test_forbidden_calls();
    return 0;
}
