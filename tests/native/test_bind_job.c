/* Jobs over fake targets: pairing, reports joined, waiting, cancelling, deadlines, jobs left behind, forks, signals,
 * and two at once over one filter (run this one under a thread sanitizer). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/bind/job.h"

static int failures;
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

#define SECONDS(n) ((n) * UINT64_C(1000000000))
#define MIB(n) ((n) * UINT64_C(1048576))

enum { RULES = 3, RW = MDC_PAGE_READWRITE, RX = MDC_PAGE_EXECUTE_READ };

static const mdc_fake_region REGIONS[] = {
    {.base = 0x400000,
     .size = 0x10000,
     .state = MDC_MEM_COMMIT,
     .protect = RX,
     .type = MDC_MEM_IMAGE,
     .kinds = MDC_KIND_IMAGE,
     .flags = MDC_REGION_FILE,
     .touch_every = 1,
     .name = "/opt/app/bin/app"},
    {.base = 0x1000000,
     .size = MIB(4),
     .state = MDC_MEM_COMMIT,
     .protect = RW,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS | MDC_KIND_HEAP,
     .touch_every = 1,
     .name = "[heap]"},
    {.base = 0x10000000,
     .size = MIB(16),
     .state = MDC_MEM_COMMIT,
     .protect = RW,
     .type = MDC_MEM_MAPPED,
     .kinds = MDC_KIND_FILE | MDC_KIND_SHARED,
     .flags = MDC_REGION_FILE,
     .touch_every = 1,
     .name = "/dev/shm/cache"},
    {.base = 0x20000000,
     .size = MIB(2),
     .state = MDC_MEM_COMMIT,
     .protect = RW,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS,
     .flags = MDC_REGION_DONTDUMP,
     .touch_every = 1},
    {.base = 0x7f0000000000,
     .size = 0x3000,
     .state = MDC_MEM_COMMIT,
     .protect = MDC_PAGE_READONLY,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS,
     .flags = MDC_REGION_NEVER_READ,
     .touch_every = 1,
     .name = "[vvar]"},
    {.base = 0x7ffe00000000,
     .size = 0x21000,
     .state = MDC_MEM_COMMIT,
     .protect = RW,
     .type = MDC_MEM_PRIVATE,
     .kinds = MDC_KIND_ANONYMOUS | MDC_KIND_STACK,
     .touch_every = 1,
     .name = "[stack]"},
};
enum { REGION_COUNT = sizeof REGIONS / sizeof REGIONS[0] };

static const mdc_fake_thread THREADS[] = {
    {.tid = 100, .stack_pointer = 0x7ffe00020000, .instruction_pointer = 0x401000, .name = "app"}};
static const mdc_fake_module MODULES[] = {{.base = 0x400000, .size = 0x10000, .path = "/opt/app/bin/app"}};

static const mdc_fake_target TARGET = {.regions = REGIONS,
                                       .region_count = REGION_COUNT,
                                       .threads = THREADS,
                                       .thread_count = 1,
                                       .modules = MODULES,
                                       .module_count = 1,
                                       .cmdline = "app",
                                       .seed = 7};

static mdc_filter *make_filter(void) {
    const char name[] = "/dev/shm/*", module[] = "*/bin/app";
    const mdc_rule rules[RULES] = {
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_NAME, .name = {(const uint8_t *)name, sizeof name - 1}},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {0x1100000, 0x1200000}},
        {.action = MDC_INCLUDE, .fields = MDC_RULE_MODULE, .module = {(const uint8_t *)module, sizeof module - 1}},
    };
    const mdc_filter_spec spec = {.rules = rules,
                                  .rule_count = RULES,
                                  .default_action = MDC_INCLUDE,
                                  .threads_default_keep = UINT32_MAX,
                                  .modules_default_keep = UINT32_MAX,
                                  .tolerate_read_failures = 1};
    mdc_error err;
    mdc_error_clear(&err);
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    if (filter == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return filter;
}

static mdc_callback *make_callback(mdc_filter *filter) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_callback *callback = mdc_callback_new(filter, NULL, &err);
    if (callback == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return callback;
}

static void free_callback(mdc_callback *callback) {
    mdc_error err;
    mdc_error_clear(&err);
    /* A job left behind lets go of its callback when its worker comes back. */
    for (int i = 0; i < 2000 && mdc_callback_free(callback, &err) == MDC_ERR_BUSY; i++) {
        usleep(10000);
        mdc_error_clear(&err);
    }
    CHECK(err.code == MDC_OK);
}

static mdc_job_spec full_spec(mdc_callback *callback) {
    return (mdc_job_spec){.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY},
                          .callback = callback,
                          .fake = &TARGET,
                          .pidfd = -1,
                          .fd = -1,
                          .sink = MDC_SINK_MEMORY};
}

static mdc_job *start(const mdc_job_spec *spec) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_job *job = NULL;
    mdc_job_start(spec, &job, &err);
    if (job == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return job;
}

/* Waits and returns the result. */
static mdc_status end_of(mdc_job *job, mdc_error *err) {
    mdc_error_clear(err);
    CHECK(mdc_job_wait(job, SECONDS(60)) == 1);
    return mdc_job_result(job, err);
}

static void finish_well(mdc_job *job) {
    mdc_error err;
    if (end_of(job, &err) != MDC_OK) {
        fprintf(stderr, "%s\n", err.message);
        failures++;
    }
}

static void check_rules(const mdc_job *job, bool full) {
    uint64_t kept[RULES + 1] = {0}, excluded[RULES + 1] = {0}, total = 0;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_job_rule_bytes(job, kept, excluded, RULES + 1, &err) == MDC_OK);
    /* do-not-dump memory and [vvar] are nobody's: the engine keeps out of them by itself */
    CHECK(excluded[0] == MIB(16) && excluded[1] == MIB(1) && excluded[2] == 0 && excluded[3] == 0);
    if (full) {
        CHECK(kept[0] == 0 && kept[1] == 0 && kept[2] == 0x10000 && kept[3] == MIB(3) + 0x21000);
    }
    for (size_t i = 0; i <= RULES; i++) total += kept[i];
    CHECK(total == mdc_job_report(job)->memory_bytes);
    CHECK(mdc_job_rule_bytes(job, kept, excluded, RULES, &err) == MDC_ERR_INVALID);
}

/* The memory written equals the plan, and what a rule excludes is nowhere in the file. */
static void test_full(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    mdc_job_spec spec = full_spec(callback);
    mdc_job *job = start(&spec);
    finish_well(job);
    const mdc_report *report = mdc_job_report(job);
    size_t size;
    const uint8_t *dump = mdc_job_memory(job, &size);
    CHECK(report != NULL && size == report->file_bytes && size > MIB(3) && size < MIB(4) &&
          memcmp(dump, "MDMP", 4) == 0);
    CHECK(report->region_count == REGION_COUNT && report->thread_count == 1 && report->module_count == 1);
    CHECK((report->regions[2].flags & MDC_REGION_EXCLUDED) != 0 && report->regions[2].kept == 0);
    CHECK(report->regions[1].kept == MIB(3) && report->regions[3].kept == 0);
    uint8_t secret[64], plain[64];
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = mdc_fake_byte(0x1100000 + i, TARGET.seed);
        plain[i] = mdc_fake_byte(0x1200000 + i, TARGET.seed);
    }
    CHECK(memmem(dump, size, secret, sizeof secret) == NULL);
    CHECK(memmem(dump, size, plain, sizeof plain) != NULL);
    check_rules(job, true);
    mdc_callback_counters counters = mdc_job_counters(job);
    CHECK(counters.calls[MDC_CB_INCLUDE_VM_REGION] == report->calls[MDC_CB_INCLUDE_VM_REGION]);
    CHECK(counters.calls[MDC_CB_INCLUDE_VM_REGION] >= 4 && counters.excluded >= 1);
    uint64_t file_bytes = report->file_bytes, memory_bytes = report->memory_bytes;
    mdc_progress progress = mdc_job_progress(job);
    CHECK(progress.bytes_done == progress.bytes_total && progress.bytes_total > 0 && progress.stopped == 0);
    mdc_job_free(job);

    /* The same callback again, as a plan: same figures, and not a byte. */
    spec.engine.plan_only = 1;
    spec.sink = MDC_SINK_NONE;
    job = start(&spec);
    finish_well(job);
    check_rules(job, true);
    report = mdc_job_report(job);
    CHECK(report->memory_bytes == memory_bytes && report->stored_bytes == memory_bytes);
    CHECK(report->file_bytes <= file_bytes &&
          file_bytes - report->file_bytes < 65536); /* no spare slots, no link map */
    CHECK(mdc_job_memory(job, &size) == NULL && size == 0);
    mdc_job_free(job);

    spec = full_spec(callback);
    spec.engine.dump_type = MDC_TYPE_NORMAL;
    job = start(&spec);
    finish_well(job);
    check_rules(job, false);
    mdc_job_free(job);
    free_callback(callback);
}

/* To a descriptor: same bytes; and the descriptor stays the caller's. */
static void test_descriptor(mdc_filter *filter) {
    char path[] = "/tmp/mdc_job_XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) exit(77);
    unlink(path);
    mdc_callback *callback = make_callback(filter);
    mdc_job_spec spec = full_spec(callback);
    spec.sink = MDC_SINK_FD;
    spec.fd = fd;
    spec.engine.fsync = 1;
    mdc_job *job = start(&spec);
    finish_well(job);
    CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)mdc_job_report(job)->file_bytes);
    mdc_job_free(job);
    char head[4];
    CHECK(pread(fd, head, 4, 0) == 4 && memcmp(head, "MDMP", 4) == 0);
    close(fd);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_job *none = job; /* what a failure leaves in the slot is nothing */
    CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_SINK && none == NULL && err.os_errno == EBADF);
    free_callback(callback);
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

static mdc_job *start_stalled(mdc_callback *callback, int ends[2], uint64_t deadline_ns) {
    if (pipe(ends) != 0) exit(77);
    mdc_job_spec spec = full_spec(callback);
    spec.sink = MDC_SINK_FD;
    spec.fd = ends[1];
    spec.deadline_ns = deadline_ns;
    return start(&spec);
}

/* Whether the pipe holds an end behind what was written: no writer is left. */
static bool ends_now(int fd) {
    char buffer[4096];
    ssize_t count;
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    while ((count = read(fd, buffer, sizeof buffer)) > 0) continue;
    return count == 0;
}

static void test_deadline_and_cancel(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int ends[2];
    mdc_error err;
    mdc_job *job = start_stalled(callback, ends, SECONDS(1) / 10);
    CHECK(end_of(job, &err) == MDC_ERR_DEADLINE && err.code == MDC_ERR_DEADLINE);
    mdc_job_free(job);
    close(ends[0]);
    close(ends[1]);

    for (int32_t code = MDC_ERR_CANCELLED; code <= MDC_ERR_DEADLINE; code++) {
        job = start_stalled(callback, ends, 0);
        CHECK(mdc_job_wait(job, SECONDS(1) / 10) == 0); /* nobody reads */
        mdc_error_clear(&err);
        CHECK(mdc_job_result(job, &err) == MDC_ERR_BUSY && mdc_job_report(job) == NULL);
        mdc_error_clear(&err);
        uint64_t sink[RULES + 1];
        CHECK(mdc_job_rule_bytes(job, sink, sink, RULES + 1, &err) == MDC_ERR_BUSY);
        CHECK(mdc_job_counters(job).calls[MDC_CB_MODULE] == 0);
        /* The callback is taken meanwhile, for a second job as for the hand that would free it. */
        mdc_job_spec spec = full_spec(callback);
        mdc_error_clear(&err);
        mdc_job *none = job;
        CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_BUSY && none == NULL);
        mdc_error_clear(&err);
        CHECK(mdc_callback_free(callback, &err) == MDC_ERR_BUSY);
        mdc_job_cancel(job, code);
        CHECK(end_of(job, &err) == code);
        /* Behind its end a job has no word in what its callback does next. */
        mdc_job *next = start(&spec);
        mdc_job_cancel(job, code);
        finish_well(next);
        mdc_job_free(next);
        close(ends[1]);
        CHECK(ends_now(ends[0])); /* the job has closed what it opened, although nobody has freed it yet */
        mdc_job_free(job);
        close(ends[0]);
    }

    /* Freed while its worker hangs: the worker is told to end, and lets go of everything. */
    job = start_stalled(callback, ends, 0);
    CHECK(mdc_job_wait(job, SECONDS(1) / 20) == 0);
    mdc_job_free(job);
    close(ends[1]);
    free_callback(callback);
    CHECK(ends_now(ends[0]));
    close(ends[0]);
}

static void test_reader_closes(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int ends[2];
    mdc_error err;
    mdc_job *job = start_stalled(callback, ends, SECONDS(30));
    CHECK(mdc_job_wait(job, SECONDS(1) / 20) == 0);
    close(ends[0]);
    CHECK(end_of(job, &err) == MDC_ERR_SINK && err.os_errno == EPIPE);
    mdc_job_free(job);
    close(ends[1]);
    free_callback(callback);
}

/* -- somebody else's callback -------------------------------------------------------------------------------------- */

typedef struct callee {
    atomic_int calls;
    atomic_int signals_open; /* calls made while some signal was not blocked */
    atomic_int handled;      /* signal handlers that ran on the worker */
    bool takes_io;
    bool refuses_io;
    uint64_t written;
    int finishes;
} callee;

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    callee *self = param;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGINT) != 1 || sigismember(&mask, SIGPIPE) != 1 || sigismember(&mask, SIGCHLD) != 1)
        atomic_fetch_add(&self->signals_open, 1);
    atomic_fetch_add(&self->calls, 1);
    switch (input->CallbackType) {
    case MDC_CB_IO_START:
        if (!self->takes_io) return 0;
        output->Status = MDC_S_FALSE;
        return 1;
    case MDC_CB_IO_WRITE_ALL:
        self->written = input->u.Io.Offset + input->u.Io.BufferBytes;
        output->Status = self->refuses_io ? (int32_t)0x80070070u : (int32_t)MDC_S_OK;
        return 1;
    case MDC_CB_IO_FINISH:
        self->finishes++;
        output->Status = (int32_t)MDC_S_OK;
        return 1;
    case MDC_CB_MODULE:
    case MDC_CB_THREAD:
    case MDC_CB_INCLUDE_MODULE:
    case MDC_CB_INCLUDE_THREAD:
        return 1;
    default:
        return 0;
    }
}

static void test_foreign(void) {
    callee self = {.takes_io = true};
    mdc_job_spec spec = full_spec(NULL);
    spec.sink = MDC_SINK_NONE;
    spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){routine, &self};
    mdc_job *job = start(&spec);
    finish_well(job);
    const mdc_report *report = mdc_job_report(job);
    CHECK(atomic_load(&self.calls) > 10 && atomic_load(&self.signals_open) == 0);
    CHECK(self.written == report->file_bytes && self.finishes == 1);
    CHECK(report->calls[MDC_CB_IO_FINISH] == 1 && report->calls[MDC_CB_IO_WRITE_ALL] > 0);
    CHECK(mdc_job_counters(job).calls[MDC_CB_MODULE] == 0); /* only ours counts */
    uint64_t bytes[RULES + 1] = {0};
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_job_rule_bytes(job, bytes, bytes, RULES + 1, &err) == MDC_ERR_INVALID);
    mdc_job_free(job);

    self.refuses_io = true;
    self.finishes = 0;
    job = start(&spec);
    CHECK(end_of(job, &err) == MDC_ERR_SINK && err.hresult == 0x80070070u && self.finishes == 0);
    mdc_job_free(job);
}

/* -- the rest ------------------------------------------------------------------------------------------------------ */

static void test_bad_specs(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_job_spec spec = full_spec(NULL);
    mdc_job *none = NULL;
    spec.sink = 17;
    CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    spec = full_spec(NULL);
    spec.fake = NULL;
    mdc_error_clear(&err);
    CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    const mdc_fake_region wrong[] = {{.base = 0x1001, .size = 0x1000, .state = MDC_MEM_COMMIT, .protect = RW}};
    const mdc_fake_target target = {.regions = wrong, .region_count = 1};
    spec.fake = &target;
    mdc_error_clear(&err);
    CHECK(mdc_job_start(&spec, &none, &err) != MDC_OK && none == NULL && err.message[0] != '\0');
    mdc_job_free(NULL);
    mdc_job_drop(&none);
    mdc_job_cancel(none, MDC_ERR_CANCELLED);
    CHECK(mdc_job_wait(none, SECONDS(60)) == 1); /* there is nothing to wait for */
    mdc_job *dropped = start(&(mdc_job_spec){.pidfd = -1, .pid = INT32_MAX});
    mdc_job_drop(&dropped);
    CHECK(dropped == NULL);
    CHECK(strcmp(mdc_version(), "0.1.0") == 0);
}

static void test_fork(mdc_filter *filter) {
    mdc_job_spec spec = full_spec(NULL);
    mdc_job *done = start(&spec);
    finish_well(done);
    size_t bytes_done;
    const uint8_t *dump = mdc_job_memory(done, &bytes_done);
    usleep(20000); /* its worker has left: the handle is the last reference */
    mdc_callback *callback = make_callback(filter);
    int ends[2];
    mdc_job *job = start_stalled(callback, ends, 0);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        failures = 0;
        mdc_error err;
        mdc_error_clear(&err);
        uint64_t bytes[RULES + 1] = {0};
        size_t size;
        CHECK(mdc_job_wait(job, SECONDS(3600)) == 1);
        CHECK(mdc_job_result(job, &err) == MDC_ERR_BUSY && strstr(err.message, "another process") != NULL);
        mdc_error_clear(&err);
        CHECK(mdc_job_rule_bytes(job, bytes, bytes, RULES + 1, &err) == MDC_ERR_BUSY);
        CHECK(mdc_job_report(job) == NULL && mdc_job_memory(job, &size) == NULL);
        mdc_job_cancel(job, MDC_ERR_CANCELLED);
        mdc_job_free(job);
        mdc_job_free(done);
        CHECK(memcmp(dump, "MDMP", 4) == 0); /* still there: what is not ours is not freed */
        _exit(failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    mdc_job_free(done);
    CHECK(mdc_job_wait(job, 0) == 0); /* the child's cancel was not for us */
    mdc_error err;
    mdc_job_cancel(job, MDC_ERR_CANCELLED);
    CHECK(end_of(job, &err) == MDC_ERR_CANCELLED);
    mdc_job_free(job);
    close(ends[0]);
    close(ends[1]);
    free_callback(callback);
}

#ifdef MDC_FAILPOINTS
static void test_fail_points(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    mdc_job_spec spec = full_spec(callback);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("spawn:worker:1:11");
    mdc_job *none = NULL;
    CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_NOMEM && none == NULL && err.os_errno == EAGAIN);
    static const struct {
        const char *spec;
        mdc_status status;
    } cases[] = {
        {"write:chunk:1:28", MDC_ERR_SINK}, {"write:patch:1:5", MDC_ERR_SINK}, {"sink:finish:1:5", MDC_ERR_SINK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mdc_failpoint_set(cases[i].spec);
        mdc_job *job = start(&spec); /* and the callback is free again, whatever went wrong before */
        CHECK(end_of(job, &err) == cases[i].status);
        mdc_job_free(job);
    }
    /* Out of memory at any place: an error or a dump, and no leak. */
    for (int nth = 1; nth < 200; nth++) {
        char text[32];
        snprintf(text, sizeof text, "alloc:%d:12", nth);
        mdc_failpoint_set(text);
        mdc_error_clear(&err);
        mdc_job *job = NULL;
        mdc_job_start(&spec, &job, &err);
        mdc_status status = job == NULL ? err.code : end_of(job, &err);
        CHECK(status == MDC_ERR_NOMEM || status == MDC_OK);
        mdc_job_free(job);
        if (status == MDC_OK) break;
    }
    mdc_failpoint_set("");
    free_callback(callback);
}
#endif

static void *dump_often(void *argument) {
    mdc_callback *callback = make_callback(argument);
    for (int i = 0; i < 5; i++) {
        mdc_job_spec spec = full_spec(callback);
        mdc_job *job = start(&spec);
        while (mdc_job_wait(job, SECONDS(1) / 1000) == 0) mdc_job_progress(job);
        finish_well(job);
        check_rules(job, true);
        mdc_job_free(job);
    }
    free_callback(callback);
    return NULL;
}

static void test_two_at_once(mdc_filter *filter) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, dump_often, filter) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void) {
    mdc_filter *filter = make_filter();
    test_full(filter);
    test_descriptor(filter);
    test_deadline_and_cancel(filter);
    test_reader_closes(filter);
    test_foreign();
    test_bad_specs();
    test_fork(filter);
#ifdef MDC_FAILPOINTS
    test_fail_points(filter);
#endif
    test_two_at_once(filter);
    mdc_filter_release(filter);
    return failures != 0;
}
