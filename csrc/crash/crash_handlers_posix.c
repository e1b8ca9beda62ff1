/* The handlers (see crash_posix.h).
 *
 * All signals are blocked in them, so a fault in a handler ends the process at once: the kernel kills for a fault whose
 * signal is blocked. */
#include "crash_posix.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../base/fail.h"

enum { SIGNALS = 64, PAUSE_NS = 10 * 1000 * 1000 };
#define SECOND_NS UINT64_C(1000000000)

/* The one state outside a dump: a signal handler is given nothing but the signal, and a process has one action per
 * signal. It is written before `process` is, which says that it is valid. */
static struct {
    mdc_crash_spec spec;
    dev_t device; /* of the socket: the program may close our descriptor, and use its number again */
    ino_t inode;
    struct sigaction previous[SIGNALS + 1];
    _Atomic int32_t process; /* whose crashes are told, 0: of none; a forked child has its parent's */
    _Atomic int32_t turn;    /* the thread that tells of its crash; negative: it has told; 0: none has crashed */
    _Atomic int32_t told_of; /* the signal that ended the last turn */
    _Atomic int32_t dumps;
    _Atomic int32_t passed[SIGNALS + 1]; /* the process that has handed this signal on */
} state;

static int32_t thread_id(void) { return (int32_t)syscall(SYS_gettid); }

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* One line on stderr, in one write. */
static void say(const char *reason) {
    static const char head[] = "minidump_cffi: no dump of this crash: ";
    char line[sizeof head + sizeof(mdc_crash_answer)];
    size_t size = sizeof head - 1, length = strnlen(reason, sizeof(mdc_crash_answer) - 1);
    memcpy(line, head, size);
    memcpy(line + size, reason, length);
    size += length;
    line[size++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* there is nowhere to say so */
}

static bool is_fault(int signo) { return signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL; }

/* Whether the kernel says where it was. */
static bool has_address(int signo, const siginfo_t *info) {
    return info->si_code > 0 && (is_fault(signo) || signo == SIGTRAP || signo == SIGSYS);
}

static bool socket_is_ours(void) {
    struct stat about;
    return fstat(state.spec.socket, &about) == 0 && about.st_dev == state.device && about.st_ino == state.inode;
}

/* Waits for the answer to what was sent; says why there is no dump. */
static void take_answer(void) {
    const uint64_t until = now_ns() + state.spec.wait_ns;
    struct pollfd waits[] = {{.fd = state.spec.socket, .events = POLLIN},
                             {.fd = state.spec.helper_fd, .events = POLLIN}};
    for (;;) {
        mdc_crash_answer answer;
        ssize_t size = recv(state.spec.socket, &answer, sizeof answer, MSG_DONTWAIT);
        if (size == (ssize_t)sizeof answer) {
            answer.message[sizeof answer.message - 1] = 0;
            if (answer.failed)
                say(answer.message);
            else
                atomic_fetch_add(&state.dumps, 1);
            return;
        }
        if (size >= 0 || (errno != EAGAIN && errno != EINTR)) {
            say("the process that takes it has ended");
            return;
        }
        const uint64_t now = now_ns();
        if (now >= until) {
            say("the process that takes it does not answer");
            return;
        }
        if (waits[1].revents != 0) { /* it has ended, and left no answer: the next look is the last */
            waits[1].fd = -1;
            waits[1].revents = 0;
            shutdown(state.spec.socket, SHUT_RD);
            continue;
        }
        const uint64_t left_ms = (until - now) / 1000000 + 1;
        poll(waits, 2, left_ms < 1000 ? (int)left_ms : 1000);
    }
}

static void tell(int signo, siginfo_t *info, void *context, int32_t tid) {
    const mdc_crash_request request = {
        .tid = tid,
        .signal = signo,
        .code = info->si_code,
        .address = has_address(signo, info) ? (uint64_t)(uintptr_t)info->si_addr : 0,
        .ucontext = (uint64_t)(uintptr_t)context,
        .siginfo = (uint64_t)(uintptr_t)info,
    };
    if (!socket_is_ours()) {
        say("the program has closed the descriptor for it");
        return;
    }
    const int dumpable = state.spec.dumpable ? prctl(PR_GET_DUMPABLE) : 1;
    if (dumpable != 1) prctl(PR_SET_DUMPABLE, 1);
    mdc_crash_allow(state.spec.helper);
    if (send(state.spec.socket, &request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof request)
        take_answer();
    else
        say("the process that takes it has ended");
    mdc_crash_allow(0);
    if (dumpable == 0) prctl(PR_SET_DUMPABLE, 0); /* 2 cannot be set */
}

static void pause_briefly(void) {
    const struct timespec time = {.tv_nsec = PAUSE_NS};
    nanosleep(&time, NULL);
}

/* Another thread crashed first, and the process is to end as that one makes it end. */
static void wait_for_the_end(void) {
    uint64_t until = now_ns() + state.spec.wait_ns + SECOND_NS;
    while (atomic_load(&state.turn) > 0 && now_ns() < until) pause_briefly();
    until = now_ns() + SECOND_NS;
    while (now_ns() < until) pause_briefly();
}

/* One dump of what ends the process: of the first thread that crashes, and not of abort() in a handler of that crash,
 * which has its signal blocked. But a signal that the process has survived is not its end. */
static bool take_turn(int signo, const ucontext_t *context, int32_t tid) {
    int32_t before = 0;
    if (atomic_compare_exchange_strong(&state.turn, &before, tid)) return true;
    if (before == -tid) {
        const int told_of = atomic_load(&state.told_of);
        if (signo == told_of || sigismember(&context->uc_sigmask, told_of) != 0) return false;
    } else {
        wait_for_the_end();
        if (before > 0) return false;
    }
    if (atomic_compare_exchange_strong(&state.turn, &before, tid)) return true;
    wait_for_the_end(); /* of another that has survived that one too */
    return false;
}

/* Whether the instruction that was interrupted faults again when the handler returns. */
static bool comes_again(int signo, const siginfo_t *info) {
    return is_fault(signo) && info->si_code > 0 && !(signo == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

static void on_signal(int signo, siginfo_t *info, void *context);

static bool is_installed(int signo) {
    struct sigaction now;
    return sigaction(signo, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_signal;
}

/* Makes the signal come again, with what was there before as its action, when the handler has returned. */
static void pass_on(int signo, siginfo_t *info) {
    struct sigaction action = state.previous[signo];
    /* A handler that is entered again was put back by the one it had handed the signal to: that has had its turn. But
     * where it is no longer there, another thread had the same signal, and what comes now may recover on this one too.
     */
    const int32_t process = getpid();
    const bool again = atomic_exchange(&state.passed[signo], process) == process;
    if (!state.spec.chain || again) {
        memset(&action, 0, sizeof action);
        action.sa_handler = SIG_DFL;
    }
    if (!state.spec.chain || !again || is_installed(signo)) sigaction(signo, &action, NULL);
    if (comes_again(signo, info)) return;
    if (syscall(SYS_rt_tgsigqueueinfo, process, thread_id(), signo, info) != 0) /* seccomp may refuse it */
        syscall(SYS_tgkill, process, thread_id(), signo);
}

static void on_signal(int signo, siginfo_t *info, void *context) {
    const int saved = errno;
    const bool sent = info->si_code <= 0;
    if (sent && state.previous[signo].sa_handler == SIG_IGN) return; /* as if we were not there */
    if (atomic_load(&state.process) == getpid()) {
        const int32_t tid = thread_id();
        if (take_turn(signo, context, tid)) {
            tell(signo, info, context, tid);
            atomic_store(&state.told_of, signo);
            atomic_store(&state.turn, -tid);
        }
    }
    pass_on(signo, info);
    errno = saved;
}

static bool is_wanted(int signo) { return (state.spec.signals >> (signo - 1) & 1) != 0; }

mdc_status mdc_crash_arm(const mdc_crash_spec *spec, mdc_error *err) {
    struct stat about;
    if (mdc_crash_is_armed())
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0,
                        "crashes of this process are dumped already: another interpreter of it has enabled that");
    if (fstat(spec->socket, &about) != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, errno, "invalid socket %d", spec->socket);
    state.spec = *spec;
    state.device = about.st_dev;
    state.inode = about.st_ino;
    atomic_store(&state.turn, 0);
    atomic_store(&state.dumps, 0);
    atomic_store(&state.process, getpid());
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    ours.sa_sigaction = on_signal;
    sigfillset(&ours.sa_mask);
    for (int signo = 1; signo <= SIGNALS; signo++) {
        /* One that is still there, of a time before, keeps what it had found. */
        if (!is_wanted(signo) || is_installed(signo)) continue;
        atomic_store(&state.passed[signo], 0);
        if (sigaction(signo, &ours, &state.previous[signo]) != 0) {
            const int os_errno = errno;
            mdc_crash_disarm();
            return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, os_errno, "signal %d cannot be handled", signo);
        }
    }
    return MDC_OK;
}

void mdc_crash_disarm(void) {
    atomic_store(&state.process, 0);
    for (int signo = 1; signo <= SIGNALS; signo++)
        if (is_wanted(signo) && is_installed(signo)) sigaction(signo, &state.previous[signo], NULL);
}

int32_t mdc_crash_is_armed(void) { return atomic_load(&state.process) == getpid(); }

int32_t mdc_crash_dumps(void) { return atomic_load(&state.dumps); }

void mdc_crash_allow(int32_t pid) { prctl(PR_SET_PTRACER, (unsigned long)pid, 0, 0, 0); } /* EINVAL without Yama */

void mdc_crash_end_access(int32_t undumpable) {
    for (;;) {
        if (undumpable) prctl(PR_SET_DUMPABLE, 0);
        mdc_crash_allow(0);
        if (!mdc_crash_is_armed() || atomic_load(&state.turn) <= 0) return;
        if (undumpable) prctl(PR_SET_DUMPABLE, 1);
        mdc_crash_allow(state.spec.helper);
        if (atomic_load(&state.turn) > 0) return;
    }
}

int32_t mdc_crash_dumpable(void) { return prctl(PR_GET_DUMPABLE); }

int32_t mdc_crash_set_dumpable(int32_t value) {
    return prctl(PR_SET_DUMPABLE, (unsigned long)value, 0, 0, 0) == 0 ? 0 : errno;
}
