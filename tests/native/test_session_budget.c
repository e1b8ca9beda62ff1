/* Dumps with a budget: never longer than it, rules before what memory is, room spent, the least that is enough, a
 * foreign callee, and every allocation that may fail. */
#include "../../csrc/base/failpoint.h"
#include "../../csrc/session/session_budget.h"
#include "session_check.h"

static uint64_t kept_at(const mdc_report *report, uint64_t base) {
    for (size_t i = 0; i < report->region_count; i++)
        if (report->regions[i].base == base) return report->regions[i].kept;
    return UINT64_MAX;
}

static uint64_t gap_bytes(const mdc_report *report) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < report->gap_count; i++)
        if (report->gaps[i].reason == MDC_GAP_BUDGET) bytes += report->gaps[i].size;
    return bytes;
}

/* What is checked of every dump that was written: its length, and that cut, gaps and rules say the same. */
static void check_sums(mdc_session *session, uint64_t most) {
    const mdc_report *report = mdc_session_report(session);
    uint64_t over[RULES + 1] = {0}, total = 0, cut = 0;
    size_t size;
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_session_memory(session, &size) != NULL && size <= most && report->file_bytes == size);
    CHECK(mdc_session_over_budget(session, over, RULES + 1, &err) == MDC_OK);
    CHECK(mdc_session_over_budget(session, over, RULES, &err) == MDC_ERR_INVALID);
    for (size_t i = 0; i <= RULES; i++) total += over[i];
    for (size_t i = 0; i < report->cut_count; i++) cut += report->cut[i].size;
    CHECK(total == report->over_budget && cut == total && gap_bytes(report) == total);
}

static void test_budgets(mdc_filter *filter) {
    for (uint64_t most = MIB(4); most >= MIB(1) / 2; most = most * 3 / 4) {
        mdc_callback *callback = make_callback(filter);
        mdc_session_spec spec = full_spec(callback);
        spec.engine.max_bytes = most;
        mdc_session *session = start(&spec);
        finish_well(session);
        const mdc_report *report = mdc_session_report(session);
        check_sums(session, most);
        CHECK(kept_at(report, 0x7ffe00000000) >= 0x2000); /* from the page of the stack pointer up */
        if (most < MIB(3)) CHECK(kept_at(report, 0x400000) == 0 && report->file_bytes > most - 0x4000);
        mdc_session_free(session);
        free_callback(callback);
    }
}

/* The last rule, about the program, says 100; what it keeps is there before the stack is. */
static void test_priorities(mdc_filter *filter) {
    const int32_t priorities[RULES] = {-1, -1, 100};
    mdc_callback *callback = make_callback(filter);
    mdc_session_spec spec = full_spec(callback);
    spec.engine.max_bytes = 0x10000 + 0x8000;
    spec.priorities = priorities;
    spec.priority_count = RULES;
    mdc_session *session = start(&spec);
    finish_well(session);
    check_sums(session, spec.engine.max_bytes);
    CHECK(kept_at(mdc_session_report(session), 0x400000) == 0x10000);
    CHECK(kept_at(mdc_session_report(session), 0x7ffe00000000) < 0x21000);
    mdc_session_free(session);
    free_callback(callback);
}

static void test_least(mdc_filter *filter) {
    uint64_t most = 1;
    for (int turn = 0; turn < 3; turn++) {
        mdc_callback *callback = make_callback(filter);
        mdc_session_spec spec = full_spec(callback);
        mdc_error err;
        spec.engine.max_bytes = most;
        mdc_session *session = start(&spec);
        mdc_status status = end_of(session, &err);
        CHECK(status == (turn == 1 ? MDC_OK : MDC_ERR_BUDGET));
        if (turn == 0) CHECK(err.least_bytes > 1 && strstr(err.message, "give at least") != NULL);
        if (turn == 2) CHECK(err.least_bytes == most + 1);
        if (turn == 1) check_sums(session, most);
        most = turn == 0 ? err.least_bytes : most - 1;
        mdc_session_free(session);
        free_callback(callback);
    }
}

/* Without rules that are known here, memory goes by what it is. */
static void test_without_callee(void) {
    mdc_session_spec spec = full_spec(NULL);
    spec.engine.max_bytes = MIB(1);
    mdc_session *session = start(&spec);
    finish_well(session);
    const mdc_report *report = mdc_session_report(session);
    size_t size;
    CHECK(mdc_session_memory(session, &size) != NULL && size <= MIB(1) && report->over_budget > MIB(16));
    CHECK(kept_at(report, 0x7ffe00000000) >= 0x2000);
    mdc_session_free(session);
}

static void test_allocations(mdc_filter *filter) {
    const int32_t priorities[RULES] = {-1, -1, 100};
    unsigned failed = 0;
    bool over = false;
    for (unsigned n = 1; n < 1000 && !over; n++) {
        mdc_callback *callback = make_callback(filter);
        mdc_session_spec spec = full_spec(callback);
        mdc_session *session = NULL;
        mdc_error err;
        char text[32];
        spec.engine.max_bytes = MIB(1);
        spec.priorities = priorities;
        spec.priority_count = RULES;
        mdc_error_clear(&err);
        slot = mdc_fake_new(&TARGET, &err);
        snprintf(text, sizeof text, "alloc:%u:12", n);
        mdc_failpoint_set(text);
        mdc_status status = mdc_session_start(&spec, &session, &err);
        if (session != NULL) status = end_of(session, &err);
        over = mdc_failpoint_passes("alloc") < n;
        mdc_failpoint_set("");
        /* Of a dump that is complete the text of what went wrong may be missing, or what is known of its rules. */
        uint64_t bytes[RULES + 1] = {0};
        if (status != MDC_OK)
            CHECK(status == MDC_ERR_NOMEM && !over);
        else if (mdc_session_over_budget(session, bytes, RULES + 1, &err) == MDC_OK)
            check_sums(session, MIB(1));
        else
            CHECK(err.code == MDC_ERR_NOMEM && !over);
        failed += status != MDC_OK;
        mdc_session_free(session);
        mdc_source_drop(&slot);
        free_callback(callback);
    }
    CHECK(over && failed > 30);
}

int main(void) {
    mdc_filter *filter = make_filter();
    test_budgets(filter);
    test_priorities(filter);
    test_least(filter);
    test_without_callee();
    test_allocations(filter);
    mdc_filter_release(filter);
    return failures != 0;
}
