/* Starting the helper: vfork and exec, twice over. The process in between has no exit signal, so that neither SIGCHLD
 * nor wait() tells of it, and when it ends its child is an orphan, which goes to init. */
#include "crash_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"

enum { STACK_BYTES = 64 * 1024, FIRST_UNUSED = 5 };

typedef struct helper_order {
    const mdc_crash_program *program;
    int descriptors[FIRST_UNUSED]; /* all above those that they become */
    uint8_t *stack;                /* for the new process */
    volatile int pid;
    volatile int not_started; /* errno */
    volatile int failed;      /* errno of what went wrong in the new process, which shares our memory */
} helper_order;

static void close_from(unsigned first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0U) == 0) return; /* Linux 5.9 */
#endif
    struct rlimit limit;
    const rlim_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1 << 20 ? limit.rlim_cur : 1 << 20;
    for (rlim_t fd = first; fd < most; fd++) close((int)fd);
}

/* In the new process, whose parent sleeps until it has become another program. All signals are blocked. */
static int become(void *argument) {
    helper_order *order = argument;
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signo = 1; signo <= 64; signo++) sigaction(signo, &action, NULL);
    setsid();
    for (int fd = 0; fd < FIRST_UNUSED; fd++) {
        if (dup2(order->descriptors[fd], fd) < 0) {
            order->failed = errno;
            _exit(127);
        }
    }
    close_from(FIRST_UNUSED);
    sigset_t none;
    sigemptyset(&none);
    if (chdir("/") == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execve(order->program->arguments[0], order->program->arguments, order->program->environment);
    order->failed = errno;
    _exit(127);
}

/* In the process in between, which shares our memory too. */
static int start_helper(void *argument) {
    helper_order *order = argument;
    order->pid = clone(become, order->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, order);
    if (order->pid < 0) order->not_started = errno;
    _exit(0);
}

static mdc_status start(helper_order *order, int32_t *pid, mdc_error *err) {
    static const char what[] = "cannot start the helper of crashes";
    uint8_t *stack =
        mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return mdc_fail_short(err, MDC_PHASE_OPEN, errno, what);
    order->stack = stack;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failpoint = MDC_FAILPOINT("spawn:helper");
    errno = failpoint;
    const int between =
        failpoint != 0 ? -1 : clone(start_helper, stack + 2 * STACK_BYTES, CLONE_VM | CLONE_VFORK, order);
    if (between < 0) order->not_started = errno;
    if (between >= 0) syscall(SYS_wait4, between, NULL, __WALL, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, 2 * STACK_BYTES);
    if (order->not_started != 0) return mdc_fail_start(err, MDC_PHASE_OPEN, order->not_started, what);
    if (order->failed != 0)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, order->failed, "the helper of crashes, %s, does not start",
                        order->program->arguments[0]);
    *pid = order->pid;
    return MDC_OK;
}

mdc_status mdc_crash_start(const mdc_crash_program *program, int32_t *pid, mdc_error *err) {
    helper_order order = {.program = program, .descriptors = {-1, -1, -1, -1, -1}};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int sources[FIRST_UNUSED] = {null, null, program->errors, program->control, program->crashes};
    mdc_status status = MDC_OK;
    for (int fd = 0; fd < FIRST_UNUSED && status == MDC_OK; fd++) {
        order.descriptors[fd] = fcntl(sources[fd], F_DUPFD_CLOEXEC, FIRST_UNUSED);
        if (order.descriptors[fd] < 0)
            status = mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot start the helper of crashes");
    }
    if (status == MDC_OK) status = start(&order, pid, err);
    for (int fd = 0; fd < FIRST_UNUSED; fd++)
        if (order.descriptors[fd] >= 0) close(order.descriptors[fd]);
    if (null >= 0) close(null);
    return status;
}

mdc_status mdc_crash_watch(int32_t pid, int32_t *pidfd, mdc_error *err) {
    *pidfd = (int32_t)syscall(SYS_pidfd_open, pid, 0); /* Linux 5.3 */
    if (*pidfd >= 0) return MDC_OK;
    if (errno == ESRCH) return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, ESRCH, "process %d has ended", pid);
    return mdc_fail_short(err, MDC_PHASE_OPEN, errno, "cannot watch a process (pidfd_open, Linux 5.3)");
}

void mdc_crash_kill(int32_t pidfd) { syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); }

int32_t mdc_crash_is_pidfd(int32_t fd) { return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 || errno != EBADF; }
