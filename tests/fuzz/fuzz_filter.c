/* libFuzzer: any filter, also malformed ones, and questions to it. A kept run lies in the region and is kept byte by
 * byte; a filter that says it leaves no holes leaves none. */
#include <stdio.h>
#include <stdlib.h>

#include "../../csrc/filter/match.h"
#include "../../csrc/filter/redact.h"
#include "spec.h"

enum { QUESTIONS = 6, RUNS_MAX = 200, STEPS_MAX = 300 };

static _Noreturn void fault(const char *text) {
    fprintf(stderr, "%s\n", text);
    abort();
}

static void take_question(bytes_in *in, const mdc_filter *filter, uint64_t *row, mdc_question *question) {
    uint8_t name[32];
    size_t size = take8(in) % sizeof name;
    for (size_t i = 0; i < size; i++) name[i] = take8(in);
    mdc_filter_name_row(filter, mdc_filter_nocase(filter), name, size, row);
    memset(question, 0, sizeof *question);
    question->base = take_address(in);
    uint64_t more = take_address(in) & 0xFFFFFF;
    question->last = more > UINT64_MAX - question->base ? UINT64_MAX : question->base + more;
    question->mapping_base = take8(in) & 1 ? question->base : take_address(in);
    question->mapping_size = take8(in) & 1 ? more + 1 : take_address(in);
    question->state = take8(in) & 1 ? (uint32_t)MDC_MEM_COMMIT : take32(in);
    question->protect = take8(in) & 1 ? (uint32_t)MDC_PAGE_READWRITE : take32(in);
    question->type = take8(in) & 1 ? (uint32_t)MDC_MEM_PRIVATE : take32(in);
    question->kinds = take8(in);
    question->flags = take8(in);
    question->name_row = row;
}

static void ask(bytes_in *in, const mdc_filter *filter, const mdc_question *question) {
    mdc_matcher matcher;
    mdc_cursor cursor = {0, 0}, other = {0, 0};
    uint64_t first, last, from = question->base, next_first, next_last;
    mdc_match_begin(&matcher, filter, question);
    if (take8(in) & 1) cursor.interval = take32(in) % (uint32_t)mdc_filter_intervals(filter); /* a stale place */
    for (int run = 0; run < RUNS_MAX && mdc_match_next(&matcher, &cursor, from, &first, &last); run++) {
        if (first < from || last < first || last > question->last) fault("a run outside its region");
        uint64_t at = first;
        for (int step = 0; step < STEPS_MAX; step++) {
            mdc_verdict verdict = mdc_match_step(&matcher, &other, at);
            if (!verdict.keep) fault("an excluded byte in a kept run");
            if (verdict.last >= last) break;
            at = verdict.last + 1;
        }
        if (last >= question->last) break;
        from = last + 1;
    }
    other = (mdc_cursor){0, 0};
    if (!mdc_filter_leaves_excluded_gaps(filter) && !(question->flags & MDC_FACT_DONTDUMP) &&
        mdc_match_next(&matcher, &other, question->base, &first, &last) && last < question->last &&
        mdc_match_next(&matcher, &other, last + 1, &next_first, &next_last) && next_first > last + 1)
        fault("a hole of a filter that leaves none");
    (void)mdc_match_longest(&matcher, &cursor, &first, &last);
}

/* What is left of the input as a text: with a tail and with learned values no byte outside of it is touched, and what
 * is hidden without them is hidden with them. */
static void redact(const mdc_filter *filter, bytes_in *in) {
    const mdc_redactor *base = mdc_filter_redactor(filter);
    mdc_error err;
    mdc_redactor *more;
    size_t size = in->left < 4096 ? in->left : 4096;
    if (base == NULL || size < 8) return;
    const mdc_bytes values[] = {{in->data, 4}, {in->data + size - 5, 5}};
    if (mdc_redactor_extend(base, values, 2, &more, &err) != MDC_OK) fault("values that are not taken");
    uint8_t *plain = malloc(size), *extended = malloc(size); /* exactly as long: a sanitizer sees what is beyond */
    if (plain == NULL || extended == NULL) abort();
    memcpy(plain, in->data, size);
    memcpy(extended, in->data, size);
    mdc_redact_counts counts = {0, 0, 0};
    mdc_redact_patterns(base, plain, size, 0, &counts);
    mdc_redact_patterns(more, extended, size, 0, &counts);
    for (size_t i = 0; i < size; i++)
        if (plain[i] != in->data[i] && extended[i] != plain[i]) fault("a pattern is lost among learned values");
    for (size_t i = 0; i < 4; i++)
        if (extended[i] != mdc_filter_fill(filter)) fault("a value is not hidden");
    free(plain);
    free(extended);
    mdc_redactor_free(more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static fuzz_spec made;
    bytes_in in = {data, size};
    mdc_error err;
    take_spec(&in, &made, take8(&in) & 7);
    mdc_filter *filter = mdc_filter_new(&made.spec, &err);
    if (filter == NULL) {
        if (err.code == MDC_OK) fault("refused without an error");
        return 0;
    }
    uint32_t dead[4];
    (void)mdc_filter_dead_rules(filter, dead, 4);
    (void)mdc_filter_requirements(filter);
    (void)mdc_filter_hold(filter);
    uint64_t *row = calloc(mdc_filter_words(filter) + 1u, sizeof *row);
    for (int i = 0; i < QUESTIONS && in.left != 0; i++) {
        mdc_question question;
        take_question(&in, filter, row, &question);
        ask(&in, filter, &question);
    }
    free(row);
    redact(filter, &in);
    mdc_filter_release(filter);
    return 0;
}
