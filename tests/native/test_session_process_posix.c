/* A session and what a process shares with its threads and its children: a forked child touches nothing, and no signal
 * handler runs on the worker. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session_check.h"

static void test_fork(mdc_filter *filter) {
    mdc_session_spec spec = full_spec(NULL);
    mdc_session *done = start(&spec);
    finish_well(done);
    size_t bytes_done;
    const uint8_t *dump = mdc_session_memory(done, &bytes_done);
    sleep_ms(20); /* its worker has left: the handle is the last reference */
    mdc_callback *callback = make_callback(filter);
    int64_t ends[2];
    mdc_session *session = start_stalled(callback, ends, 0);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        failures = 0;
        mdc_error err;
        mdc_error_clear(&err);
        uint64_t bytes[RULES + 1] = {0};
        size_t size;
        CHECK(mdc_session_wait(session, SECONDS(3600)) == 1);
        CHECK(mdc_session_result(session, &err) == MDC_ERR_BUSY && strstr(err.message, "another process") != NULL);
        mdc_error_clear(&err);
        CHECK(mdc_session_rule_stats_get(session, bytes, bytes, RULES + 1, &err) == MDC_ERR_BUSY);
        CHECK(mdc_session_report(session) == NULL && mdc_session_memory(session, &size) == NULL);
        mdc_session_cancel(session, MDC_ERR_CANCELLED);
        mdc_session_free(session);
        mdc_session_free(done);
        CHECK(memcmp(dump, "MDMP", 4) == 0); /* still there: what is not ours is not freed */
        _exit(failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    mdc_session_free(done);
    CHECK(mdc_session_wait(session, 0) == 0); /* the child's cancel was not for us */
    mdc_error err;
    mdc_session_cancel(session, MDC_ERR_CANCELLED);
    CHECK(end_of(session, &err) == MDC_ERR_CANCELLED);
    mdc_session_free(session);
    output_close(ends[0]);
    output_close(ends[1]);
    free_callback(callback);
}

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    atomic_int *self = param; /* calls, and calls made while some signal was not blocked */
    sigset_t mask;
    (void)input, (void)output;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGINT) != 1 || sigismember(&mask, SIGPIPE) != 1 || sigismember(&mask, SIGCHLD) != 1)
        atomic_fetch_add(&self[1], 1);
    atomic_fetch_add(&self[0], 1);
    return 0;
}

static void test_signals(void) {
    atomic_int self[2];
    atomic_init(&self[0], 0);
    atomic_init(&self[1], 0);
    mdc_session_spec spec = full_spec(NULL);
    spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){routine, self};
    mdc_session *session = start(&spec);
    finish_well(session);
    CHECK(atomic_load(&self[0]) >= 3 && atomic_load(&self[1]) == 0);
    mdc_session_free(session);
    sigset_t mask; /* and ours is as it was */
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(sigismember(&mask, SIGINT) == 0);
}

int main(void) {
    mdc_filter *filter = make_filter();
    test_fork(filter);
    test_signals();
    mdc_filter_release(filter);
    return failures != 0;
}
