/* Jobs over fake targets: pairing, reports joined, waiting, cancelling, deadlines, abandoned sessions, and two at once
 * over one filter (run this one under a thread sanitizer). */
#include <stdatomic.h>

#include "../../csrc/base/failpoint.h"
#include "flush_check.h"
#include "session_check.h"

static void check_rules(const mdc_session *session, bool full) {
    uint64_t kept[RULES + 1] = {0}, excluded[RULES + 1] = {0}, total = 0;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_rule_stats_get(session, kept, excluded, RULES + 1, &err) == MDC_OK);
    /* do-not-dump memory and [vvar] belong to no rule: the engine itself leaves them out */
    CHECK(excluded[0] == MIB(16) && excluded[1] == MIB(1) && excluded[2] == 0 && excluded[3] == 0);
    if (full) {
        CHECK(kept[0] == 0 && kept[1] == 0 && kept[2] == 0x10000 && kept[3] == MIB(3) + 0x21000);
    }
    for (size_t i = 0; i <= RULES; i++) total += kept[i];
    CHECK(total == mdc_session_report(session)->memory_bytes);
    CHECK(mdc_session_rule_stats_get(session, kept, excluded, RULES, &err) == MDC_ERR_INVALID);

    uint64_t again[RULES + 1] = {0}, others[RULES + 1] = {0}, over[RULES + 1] = {0};
    mdc_error_clear(&err);
    CHECK(mdc_session_outcome(session, again, others, over, RULES + 1, &err) == mdc_session_report(session));
    CHECK(memcmp(again, kept, sizeof kept) == 0 && memcmp(others, excluded, sizeof excluded) == 0);
    CHECK(mdc_session_outcome(session, NULL, NULL, NULL, 0, &err) == mdc_session_report(session));
    CHECK(mdc_session_outcome(session, again, others, over, RULES, &err) == NULL && err.code == MDC_ERR_INVALID);
}

static bool holds(const uint8_t *bytes, size_t size, const uint8_t *wanted, size_t wanted_size) {
    for (size_t at = 0; at + wanted_size <= size; at++)
        if (bytes[at] == wanted[0] && memcmp(bytes + at, wanted, wanted_size) == 0) return true;
    return false;
}

/* The memory written equals the plan, and what a rule excludes is nowhere in the file. */
static void test_full(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    mdc_session_spec spec = full_spec(callback);
    mdc_session *session = start(&spec);
    finish_well(session);
    const mdc_report *report = mdc_session_report(session);
    size_t size;
    const uint8_t *dump = mdc_session_memory(session, &size);
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
    check_rules(session, true);
    mdc_callback_counters counters = mdc_session_counters(session);
    CHECK(counters.calls[MDC_CB_INCLUDE_VM_REGION] == report->calls[MDC_CB_INCLUDE_VM_REGION]);
    CHECK(counters.calls[MDC_CB_INCLUDE_VM_REGION] >= 4 && counters.excluded >= 1);
    uint64_t file_bytes = report->file_bytes, memory_bytes = report->memory_bytes;
    mdc_progress progress = mdc_session_progress(session);
    CHECK(progress.bytes_done == progress.bytes_total && progress.bytes_total > 0 && progress.stopped == 0);
    mdc_session_free(session);

    /* The same callback again, as a plan: same figures, and not a byte. */
    spec.engine.plan_only = 1;
    spec.sink = MDC_SINK_NONE;
    session = start(&spec);
    finish_well(session);
    check_rules(session, true);
    report = mdc_session_report(session);
    CHECK(report->memory_bytes == memory_bytes && report->stored_bytes == memory_bytes);
    CHECK(report->file_bytes <= file_bytes &&
          file_bytes - report->file_bytes < 65536); /* no spare slots, no link map */
    CHECK(mdc_session_memory(session, &size) == NULL && size == 0);
    mdc_session_free(session);

    spec = full_spec(callback);
    spec.engine.dump_type = MDC_TYPE_NORMAL;
    session = start(&spec);
    finish_well(session);
    check_rules(session, false);
    mdc_session_free(session);
    free_callback(callback);
}

/* To a descriptor: same bytes; and the descriptor stays the caller's. */
static void test_descriptor(mdc_filter *filter) {
    int64_t fd = output_file();
    mdc_callback *callback = make_callback(filter);
    mdc_session_spec spec = full_spec(callback);
    spec.sink = MDC_SINK_FD;
    spec.fd = fd;
    mdc_session *session = start(&spec);
    finish_well(session);
    mdc_session_free(session);
    CHECK(flushed.calls == 0 && output_restart(fd));
    spec.engine.fsync = 1;
    session = start(&spec);
    finish_well(session);
    int64_t size = (int64_t)mdc_session_report(session)->file_bytes;
    CHECK(output_position(fd) == size && flushed.calls == 1 && flushed.size == size);
    mdc_session_free(session);
    char head[4];
    CHECK(output_read(fd, head, 4) == 4 && memcmp(head, "MDMP", 4) == 0);
    output_close(fd);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session *none = session; /* what a failure leaves in the slot is nothing */
    CHECK(begin(&spec, &none, &err) == MDC_ERR_SINK && none == NULL && err.os_errno == OUTPUT_NOT_OPEN);
    free_callback(callback);
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

static void test_deadline_and_cancel(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int64_t ends[2];
    mdc_error err;
    mdc_session *session = start_stalled(callback, ends, SECONDS(1) / 10);
    CHECK(end_of(session, &err) == MDC_ERR_DEADLINE && err.code == MDC_ERR_DEADLINE);
    mdc_session_free(session);
    output_close(ends[0]);
    output_close(ends[1]);

    for (int32_t code = MDC_ERR_CANCELLED; code <= MDC_ERR_DEADLINE; code++) {
        session = start_stalled(callback, ends, 0);
        CHECK(mdc_session_wait(session, SECONDS(1) / 10) == 0); /* no reader */
        mdc_error_clear(&err);
        CHECK(mdc_session_result(session, &err) == MDC_ERR_BUSY && mdc_session_report(session) == NULL);
        CHECK(mdc_session_outcome(session, NULL, NULL, NULL, 0, &err) == NULL);
        mdc_error_clear(&err);
        uint64_t sink[RULES + 1];
        CHECK(mdc_session_rule_stats_get(session, sink, sink, RULES + 1, &err) == MDC_ERR_BUSY);
        CHECK(mdc_session_counters(session).calls[MDC_CB_MODULE] == 0);
        /* The callback is taken meanwhile, for a second session as for the hand that would free it. */
        mdc_session_spec spec = full_spec(callback);
        mdc_error_clear(&err);
        mdc_session *none = session;
        CHECK(begin(&spec, &none, &err) == MDC_ERR_BUSY && none == NULL);
        mdc_error_clear(&err);
        CHECK(mdc_callback_free(callback, &err) == MDC_ERR_BUSY);
        mdc_session_cancel(session, code);
        CHECK(end_of(session, &err) == code);
        /* Behind its end a session has no word in what its callback does next. */
        mdc_session *next = start(&spec);
        mdc_session_cancel(session, code);
        finish_well(next);
        mdc_session_free(next);
        output_close(ends[1]);
        CHECK(output_ends(ends[0])); /* the session has closed what it opened, although it has not been freed yet */
        mdc_session_free(session);
        output_close(ends[0]);
    }

    /* Freed while its worker hangs: the worker is told to end, and lets go of everything. */
    session = start_stalled(callback, ends, 0);
    CHECK(mdc_session_wait(session, SECONDS(1) / 20) == 0);
    mdc_session_free(session);
    output_close(ends[1]);
    free_callback(callback);
    CHECK(output_ends(ends[0]));
    output_close(ends[0]);
}

static void test_reader_closes(mdc_filter *filter) {
    mdc_callback *callback = make_callback(filter);
    int64_t ends[2];
    mdc_error err;
    mdc_session *session = start_stalled(callback, ends, SECONDS(30));
    CHECK(mdc_session_wait(session, SECONDS(1) / 20) == 0);
    output_close(ends[0]);
    CHECK(end_of(session, &err) == MDC_ERR_SINK && output_lost_reader(err.os_errno));
    mdc_session_free(session);
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
    mdc_session_spec spec = full_spec(NULL);
    spec.sink = MDC_SINK_NONE;
    spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){routine, &self};
    mdc_session *session = start(&spec);
    finish_well(session);
    const mdc_report *report = mdc_session_report(session);
    CHECK(atomic_load(&self.calls) > 10);
    CHECK(self.written == report->file_bytes && self.finishes == 1);
    CHECK(report->calls[MDC_CB_IO_FINISH] == 1 && report->calls[MDC_CB_IO_WRITE_ALL] > 0);
    CHECK(mdc_session_counters(session).calls[MDC_CB_MODULE] == 0); /* only ours counts */
    uint64_t bytes[RULES + 1] = {0};
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_rule_stats_get(session, bytes, bytes, RULES + 1, &err) == MDC_ERR_INVALID);
    mdc_session_free(session);

    self.refuses_io = true;
    self.finishes = 0;
    session = start(&spec);
    CHECK(end_of(session, &err) == MDC_ERR_SINK && err.hresult == 0x80070070u && self.finishes == 0);
    mdc_session_free(session);
}

/* -- the rest ------------------------------------------------------------------------------------------------------ */

/* One that is closed stays valid for threads that wait for it, cancel it or close it too; its results are gone. */
static void *wait_cancel_close(void *argument) {
    mdc_session *session = argument;
    for (int i = 0; i < 200; i++) {
        mdc_session_wait(session, 0);
        mdc_session_cancel(session, MDC_ERR_CANCELLED);
        mdc_session_close(session);
        mdc_session_progress(session);
    }
    return NULL;
}

static void test_close(void) {
    mdc_session_spec spec = full_spec(NULL);
    mdc_session *ended = start(&spec);
    CHECK(mdc_session_wait(ended, SECONDS(60)) == 1 && mdc_session_report(ended) != NULL);
    mdc_session *running = start(&spec);
    mdc_session_close(NULL);
    mdc_session *sessions[] = {ended, running};
    for (int i = 0; i < 2; i++) {
        thread *other = thread_begin(wait_cancel_close, sessions[i]);
        CHECK(other != NULL);
        mdc_session_close(sessions[i]);
        if (other != NULL) thread_end(other);
        size_t size;
        CHECK(mdc_session_wait(sessions[i], SECONDS(60)) == 1);
        CHECK(mdc_session_report(sessions[i]) == NULL && mdc_session_memory(sessions[i], &size) == NULL && size == 0);
        mdc_session_free(sessions[i]);
    }
}

static void test_bad_specs(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session_spec spec = full_spec(NULL);
    mdc_session *none = NULL;
    spec.sink = 17;
    CHECK(begin(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    spec = full_spec(NULL);
    spec.take_source = NULL;
    mdc_error_clear(&err);
    CHECK(begin(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL);
    mdc_session_free(NULL);
    mdc_session_drop(&none);
    mdc_session_cancel(none, MDC_ERR_CANCELLED);
    CHECK(mdc_session_wait(none, SECONDS(60)) == 1); /* there is nothing to wait for */
    mdc_session *dropped = start(&(mdc_session_spec){.pidfd = -1, .pid = INT32_MAX});
    mdc_session_drop(&dropped);
    CHECK(dropped == NULL);
}

/* A source stays the caller's until a session has it, and nothing of one that another version built is called. */
static void test_sources(void) {
    mdc_error err;
    mdc_session_spec spec = full_spec(NULL);
    mdc_session *none = NULL;
    mdc_session *session = start(&spec);
    finish_well(session);
    mdc_session_free(session);
    CHECK(slot == NULL);
    mdc_error_clear(&err);
    CHECK(mdc_session_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL); /* it was for one dump */

    mdc_source other = {.version = MDC_SOURCE_VERSION, .layout = MDC_SOURCE_LAYOUT}, *held = &other;
    spec.take_source = &held;
    for (int n = 0; n < 2; n++) {
        other.version = MDC_SOURCE_VERSION + (n == 0 ? 1 : 0);
        other.layout = MDC_SOURCE_LAYOUT + (n == 1 ? 8 : 0);
        mdc_error_clear(&err);
        CHECK(mdc_session_start(&spec, &none, &err) == MDC_ERR_INVALID && none == NULL && held == &other);
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
    mdc_session_spec spec = full_spec(callback);
    mdc_error err;
    mdc_error_clear(&err);
    mdc_failpoint_set("spawn:worker:1:11");
    mdc_session *none = NULL;
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
        mdc_session *session = start(&spec); /* and the callback is free again, whatever went wrong before */
        CHECK(end_of(session, &err) == cases[i].status);
        mdc_session_free(session);
    }
    /* Out of memory at any place: an error or a dump, and no leak. */
    for (int nth = 1; nth < 200; nth++) {
        char text[32];
        snprintf(text, sizeof text, "alloc:%d:12", nth);
        mdc_failpoint_set(text);
        mdc_error_clear(&err);
        mdc_session *session = NULL;
        begin(&spec, &session, &err);
        mdc_status status = session == NULL ? err.code : end_of(session, &err);
        CHECK(status == MDC_ERR_NOMEM || status == MDC_OK);
        mdc_session_free(session);
        if (status == MDC_OK) break;
    }
    mdc_failpoint_set("");
    free_callback(callback);
}
#endif

static void *dump_often(void *argument) {
    mdc_callback *callback = make_callback(argument);
    for (int i = 0; i < 5; i++) {
        mdc_session_spec spec = full_spec(callback);
        mdc_session *session = start(&spec);
        while (mdc_session_wait(session, SECONDS(1) / 1000) == 0) mdc_session_progress(session);
        finish_well(session);
        check_rules(session, true);
        mdc_session_free(session);
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
