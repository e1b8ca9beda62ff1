/* The signals of a write (see sink_posix.h). */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "sink_posix.h"

void mdc_quiet_enter(mdc_quiet *quiet) {
    sigset_t raised;
    sigemptyset(&raised);
    sigaddset(&raised, SIGPIPE);
    sigaddset(&raised, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &raised, &quiet->before);
    sigemptyset(&quiet->pending);
    quiet->blocked = sigismember(&quiet->before, SIGPIPE) == 1 && sigismember(&quiet->before, SIGXFSZ) == 1;
    /* What was not blocked cannot have been pending. */
    bool either = sigismember(&quiet->before, SIGPIPE) == 1 || sigismember(&quiet->before, SIGXFSZ) == 1;
    if (either && sigpending(&quiet->pending) != 0) sigemptyset(&quiet->pending);
}

static void consume(const mdc_quiet *quiet, int signal) {
    if (sigismember(&quiet->pending, signal) == 1) return;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    /* A signal for the thread is taken before one for the process. Zero time: EAGAIN if none came (it is ignored). */
    const struct timespec now = {0, 0};
    while (sigtimedwait(&one, NULL, &now) < 0 && errno == EINTR) continue;
}

void mdc_quiet_leave(const mdc_quiet *quiet, int os_errno) {
    if (os_errno == EPIPE) consume(quiet, SIGPIPE);
    if (os_errno == EFBIG) consume(quiet, SIGXFSZ);
    if (!quiet->blocked) pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}
