/* Jobs over live processes: two at once over one filter (run this one under a thread sanitizer), and targets that run
 * on whatever becomes of the output. The targets are programs of their own: small address spaces, also under a
 * sanitizer. */
#include "linux_target.h"

#include "session/session.h"

#define MS(n) ((n) * UINT64_C(1000000))

static pid_t start_sleeper(void) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
    }
    /* Until it is the other program, and asleep. */
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    for (int i = 0; i < 10000 && (strcmp(name, "sleep\n") != 0 || state_of(pid, pid) != 'S'); i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd >= 0 ? read(fd, name, sizeof name - 1) : 0;
        name[size > 0 ? size : 0] = '\0';
        close(fd);
        sleep_us(1000);
    }
    REQUIRE(strcmp(name, "sleep\n") == 0);
    return pid;
}

static mdc_filter *make_filter(void) {
    const mdc_rule rule = {.action = MDC_EXCLUDE, .fields = MDC_RULE_KIND, .kinds = MDC_KIND_HEAP};
    const mdc_filter_spec spec = {.rules = &rule,
                                  .rule_count = 1,
                                  .default_action = MDC_INCLUDE,
                                  .threads_default_keep = UINT32_MAX,
                                  .modules_default_keep = UINT32_MAX,
                                  .tolerate_read_failures = 1};
    mdc_error err;
    mdc_error_clear(&err);
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    REQUIRE_OK(err.code, err);
    return filter;
}

typedef struct work {
    mdc_filter *filter;
    pid_t pid;
} work;

static mdc_callback *make_callback(mdc_filter *filter) {
    mdc_error err;
    mdc_callback *callback = mdc_callback_new(filter, NULL, &err);
    REQUIRE(callback != NULL);
    return callback;
}

static void *dump_often(void *argument) {
    const work *self = argument;
    mdc_callback *callback = make_callback(self->filter);
    mdc_error err;
    for (int i = 0; i < 4; i++) {
        mdc_session_spec spec = {.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY},
                                 .callback = callback,
                                 .pid = self->pid,
                                 .pidfd = -1,
                                 .fd = -1,
                                 .sink = MDC_SINK_MEMORY};
        mdc_error_clear(&err);
        mdc_session *session = NULL;
        mdc_session_start(&spec, &session, &err);
        REQUIRE_OK(err.code, err);
        while (mdc_session_wait(session, MS(1)) == 0) mdc_session_progress(session);
        mdc_status status = mdc_session_result(session, &err);
        REQUIRE_OK(status, err);
        const mdc_report *report = mdc_session_report(session);
        size_t size;
        const uint8_t *dump = mdc_session_memory(session, &size);
        REQUIRE(size == report->file_bytes && memcmp(dump, "MDMP", 4) == 0);
        REQUIRE(report->pid == self->pid && report->thread_count == 1 && report->module_count > 1);
        uint64_t kept[2] = {0}, excluded[2] = {0};
        status = mdc_session_rule_stats_get(session, kept, excluded, 2, &err);
        REQUIRE_OK(status, err);
        REQUIRE(kept[0] == 0 && excluded[0] > 0 && excluded[1] == 0 && kept[1] >= report->memory_bytes);
        mdc_session_free(session);
        WAIT_FOR(state_of(self->pid, self->pid) == 'S'); /* asleep again, no 't' remains */
    }
    REQUIRE(mdc_callback_free(callback, &err) == MDC_OK);
    return NULL;
}

static void test_two_at_once(mdc_filter *filter, pid_t first, pid_t second) {
    work works[2] = {{filter, first}, {filter, second}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) REQUIRE(pthread_create(&threads[i], NULL, dump_often, &works[i]) == 0);
    for (int i = 0; i < 2; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
}

/* The pipe is not read. The tracer resumes the target at max_stop, although the worker still waits for room. */
static void test_stalled(mdc_filter *filter, pid_t pid, bool leave_behind) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    mdc_callback *callback = make_callback(filter);
    mdc_session_spec spec = {.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY},
                             .callback = callback,
                             .pid = pid,
                             .pidfd = -1,
                             .max_stop_ns = leave_behind ? 0 : MS(200),
                             .sink = MDC_SINK_FD,
                             .fd = ends[1]};
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session *session = NULL;
    mdc_session_start(&spec, &session, &err);
    REQUIRE_OK(err.code, err);
    if (leave_behind) {
        WAIT_FOR(mdc_session_progress(session).stopped == 1);
        WAIT_FOR(state_of(pid, pid) == 't'); /* told of from the first thread on */
        mdc_session_free(session);
    } else {
        REQUIRE(mdc_session_wait(session, MS(20000)) == 1);
        REQUIRE(mdc_session_result(session, &err) == MDC_ERR_DEADLINE && err.pid == pid);
        mdc_session_free(session);
    }
    WAIT_FOR(state_of(pid, pid) == 'S');
    bool freed = false; /* once the worker has come back, soon after it was told */
    WAIT_FOR(freed || (freed = mdc_callback_free(callback, &err) == MDC_OK));
    close(ends[0]);
    close(ends[1]);
}

static void test_no_such_process(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    pid_t pid = start_sleeper();
    target_end(pid);
    mdc_session_spec spec = {.callback = callback, .pid = pid, .pidfd = -1, .fd = -1, .sink = MDC_SINK_NONE};
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session *session = NULL;
    mdc_session_start(&spec, &session, &err);
    REQUIRE_OK(err.code, err);
    REQUIRE(mdc_session_wait(session, MS(20000)) == 1);
    REQUIRE(mdc_session_result(session, &err) == MDC_ERR_TARGET_GONE && err.pid == pid);
    mdc_session_free(session);
    REQUIRE(mdc_callback_free(callback, &err) == MDC_OK); /* free again, although the dump never began */
}

int main(void) {
    mdc_filter *filter = make_filter();
    pid_t first = start_sleeper(), second = start_sleeper();
    test_two_at_once(filter, first, second);
    test_stalled(filter, first, false);
    test_stalled(filter, second, true);
    test_no_such_process(filter);
    target_end(first);
    target_end(second);
    mdc_filter_release(filter);
    return 0;
}
