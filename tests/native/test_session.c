/* Jobs over fake targets: pairing, reports joined, waiting, cancelling, deadlines, abandoned jobs, and two at once
 * over one filter (run this one under a thread sanitizer). */
#include <stdatomic.h>

#include "../../csrc/base/failpoint.h"
#include "session_check.h"

static void check_rules(const mdc_job *job, bool full) {
    uint64_t kept[RULES + 1] = {0}, excluded[RULES + 1] = {0}, total = 0;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_job_rule_bytes(job, kept, excluded, RULES + 1, &err) == MDC_OK);
    /* do-not-dump memory and [vvar] belong to no rule: the engine itself leaves them out */
    CHECK(excluded[0] == MIB(16) && excluded[1] == MIB(1) && excluded[2] == 0 && excluded[3] == 0);
    if (full) {
        CHECK(kept[0] == 0 && kept[1] == 0 && kept[2] == 0x10000 && kept[3] == MIB(3) + 0x21000);
    }
    for (size_t i = 0; i <= RULES; i++) total += kept[i];
    CHECK(total == mdc_job_report(job)->memory_bytes);
    CHECK(mdc_job_rule_bytes(job, kept, excluded, RULES, &err) == MDC_ERR_INVALID);
}

static bool holds(const uint8_t *bytes, size_t size, const uint8_t *wanted, size_t wanted_size) {
    for (size_t at = 0; at + wanted_size <= size; at++)
        if (bytes[at] == wanted[0] && memcmp(bytes + at, wanted, wanted_size) == 0) return true;
    return false;
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
    CHECK(!holds(dump, size, secret, sizeof secret));
    CHECK(holds(dump, size, plain, sizeof plain));
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
    int64_t fd = output_file();
    mdc_callback *callback = make_callback(filter);
    mdc_job_spec spec = full_spec(callback);
    spec.sink = MDC_SINK_FD;
    spec.fd = fd;
    spec.engine.fsync = 1;
    mdc_job *job = start(&spec);
    finish_well(job);
    CHECK(output_position(fd) == (int64_t)mdc_job_report(job)->file_bytes);
    mdc_job_free(job);
    char head[4];
    CHECK(output_read(fd, head, 4) == 4 && memcmp(head, "MDMP", 4) == 0);
    output_close(fd);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_job *none = job; /* what a failure leaves in the slot is nothing */
    CHECK(begin(&spec, &none, &err) == MDC_ERR_SINK && none == NULL && err.os_errno == OUTPUT_NOT_OPEN);
    free_callback(callback);
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

static void test_deadline_and_cancel(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int64_t ends[2];
    mdc_error err;
    mdc_job *job = start_stalled(callback, ends, SECONDS(1) / 10);
    CHECK(end_of(job, &err) == MDC_ERR_DEADLINE && err.code == MDC_ERR_DEADLINE);
    mdc_job_free(job);
    output_close(ends[0]);
    output_close(ends[1]);

    for (int32_t code = MDC_ERR_CANCELLED; code <= MDC_ERR_DEADLINE; code++) {
        job = start_stalled(callback, ends, 0);
        CHECK(mdc_job_wait(job, SECONDS(1) / 10) == 0); /* no reader */
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
        CHECK(begin(&spec, &none, &err) == MDC_ERR_BUSY && none == NULL);
        mdc_error_clear(&err);
        CHECK(mdc_callback_free(callback, &err) == MDC_ERR_BUSY);
        mdc_job_cancel(job, code);
        CHECK(end_of(job, &err) == code);
        /* Behind its end a job has no word in what its callback does next. */
        mdc_job *next = start(&spec);
        mdc_job_cancel(job, code);
        finish_well(next);
        mdc_job_free(next);
        output_close(ends[1]);
        CHECK(output_ends(ends[0])); /* the job has closed what it opened, although it has not been freed yet */
        mdc_job_free(job);
        output_close(ends[0]);
    }

    /* Freed while its worker hangs: the worker is told to end, and lets go of everything. */
    job = start_stalled(callback, ends, 0);
    CHECK(mdc_job_wait(job, SECONDS(1) / 20) == 0);
    mdc_job_free(job);
    output_close(ends[1]);
    free_callback(callback);
    CHECK(output_ends(ends[0]));
    output_close(ends[0]);
}

static void test_reader_closes(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int64_t ends[2];
    mdc_error err;
    mdc_job *job = start_stalled(callback, ends, SECONDS(30));
    CHECK(mdc_job_wait(job, SECONDS(1) / 20) == 0);
    output_close(ends[0]);
    CHECK(end_of(job, &err) == MDC_ERR_SINK && output_lost_reader(err.os_errno));
    mdc_job_free(job);
    output_close(ends[1]);
    free_callback(callback);
}

/* -- a foreign callback -------------------------------------------------------------------------------------------- */

typedef struct callee {
    atomic_int calls;
    bool takes_io;
    bool refuses_io;
    uint64_t written;
    int finishes;
} callee;

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    callee *self = param;
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
    CHECK(atomic_load(&self.calls) > 10);
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

/* One that is closed stays valid for threads that wait for it, cancel it or close it too; its results are gone. */
static void *wait_cancel_close(void *argument) {
    mdc_job *job = argument;
    for (int i = 0; i < 200; i++) {
        mdc_job_wait(job, 0);
        mdc_job_cancel(job, MDC_ERR_CANCELLED);
        mdc_job_close(job);
        mdc_job_progress(job);
    }
    return NULL;
}

static void test_close(void) {
    mdc_job_spec spec = full_spec(NULL);
    mdc_job *ended = start(&spec);
    CHECK(mdc_job_wait(ended, SECONDS(60)) == 1 && mdc_job_report(ended) != NULL);
    mdc_job *running = start(&spec);
    mdc_job_close(NULL);
    mdc_job *jobs[] = {ended, running};
    for (int i = 0; i < 2; i++) {
        thread *other = thread_begin(wait_cancel_close, jobs[i]);
        CHECK(other != NULL);
        mdc_job_close(jobs[i]);
        if (other != NULL) thread_end(other);
        size_t size;
        CHECK(mdc_job_wait(jobs[i], SECONDS(60)) == 1);
        CHECK(mdc_job_report(jobs[i]) == NULL && mdc_job_memory(jobs[i], &size) == NULL && size == 0);
        mdc_job_free(jobs[i]);
    }
}

static void test_bad_specs(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_job_spec spec = full_spec(NULL);
    mdc_job *none = NULL;
    spec.sink = 17;
    CHECK(begin(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    spec = full_spec(NULL);
    spec.take_source = NULL;
    mdc_error_clear(&err);
    CHECK(begin(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    mdc_job_free(NULL);
    mdc_job_drop(&none);
    mdc_job_cancel(none, MDC_ERR_CANCELLED);
    CHECK(mdc_job_wait(none, SECONDS(60)) == 1); /* there is nothing to wait for */
    mdc_job *dropped = start(&(mdc_job_spec){.pidfd = -1, .pid = INT32_MAX});
    mdc_job_drop(&dropped);
    CHECK(dropped == NULL);
}

/* A source stays the caller's until a job has it, and nothing of one that another version built is called. */
static void test_sources(void) {
    mdc_error err;
    mdc_job_spec spec = full_spec(NULL);
    mdc_job *none = NULL;
    mdc_job *job = start(&spec);
    finish_well(job);
    mdc_job_free(job);
    CHECK(slot == NULL);
    mdc_error_clear(&err);
    CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL); /* it was for one dump */

    mdc_source other = {.version = MDC_SOURCE_VERSION, .layout = MDC_SOURCE_LAYOUT}, *held = &other;
    spec.take_source = &held;
    for (int n = 0; n < 2; n++) {
        other.version = MDC_SOURCE_VERSION + (n == 0);
        other.layout = MDC_SOURCE_LAYOUT + 8 * (n == 1);
        mdc_error_clear(&err);
        CHECK(mdc_job_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL && held == &other);
        CHECK(strstr(err.message, "another version") != NULL);
    }

    mdc_dbghelp_options dbghelp = {.dll = NULL};
    spec = full_spec(NULL);
    spec.dbghelp = &dbghelp;
    mdc_error_clear(&err);
    CHECK(begin(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL && slot != NULL);
    spec.dbghelp = NULL;
    spec.sink = MDC_SINK_FD;
    mdc_error_clear(&err);
    CHECK(begin(&spec, &none, &err) == MDC_ERR_SINK && none == NULL && slot != NULL);
    mdc_fake_drop(&slot);
    CHECK(slot == NULL);
}

#ifdef MDC_FAILPOINTS
static void test_fail_points(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    mdc_job_spec spec = full_spec(callback);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("spawn:worker:1:11");
    mdc_job *none = NULL;
#ifdef _WIN32
    const mdc_status refused = MDC_ERR_NOMEM; /* it has no limit on threads */
#else
    const mdc_status refused = MDC_ERR_LIMIT;
#endif
    CHECK(begin(&spec, &none, &err) == refused && none == NULL && err.os_errno == 11 && slot != NULL);
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
        begin(&spec, &job, &err);
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
    thread *threads[2];
    for (int i = 0; i < 2; i++) threads[i] = thread_begin(dump_often, filter);
    for (int i = 0; i < 2; i++) {
        CHECK(threads[i] != NULL);
        if (threads[i] != NULL) thread_end(threads[i]);
    }
}

int main(void) {
    mdc_filter *filter = make_filter();
    test_full(filter);
    test_descriptor(filter);
    test_deadline_and_cancel(filter);
    test_reader_closes(filter);
    test_foreign();
    test_close();
    test_bad_specs();
    test_sources();
#ifdef MDC_FAILPOINTS
    test_fail_points(filter);
#endif
    test_two_at_once(filter);
    mdc_filter_release(filter);
    return failures != 0;
}
