/* For the tests of sessions: a fake target, a filter over it, and the short ways to start and end a session. */
#ifndef MDC_TESTS_SESSION_CHECK_H
#define MDC_TESTS_SESSION_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/session/session.h"
#include "../support/fake.h"
#include "check.h"
#include "output_check.h"
#include "threads_check.h"

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

/* A session takes the source out of it; `begin` puts a new one in. */
static _Thread_local mdc_source *slot;

static inline mdc_filter *make_filter(void) {
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

static inline mdc_callback *make_callback(mdc_filter *filter) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_callback *callback = mdc_callback_new(filter, NULL, &err);
    if (callback == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return callback;
}

static inline void free_callback(mdc_callback *callback) {
    mdc_error err;
    mdc_error_clear(&err);
    /* An abandoned session releases its callback when its worker returns. */
    for (int i = 0; i < 2000 && mdc_callback_free(callback, &err) == MDC_ERR_BUSY; i++) {
        sleep_ms(10);
        mdc_error_clear(&err);
    }
    CHECK(err.code == MDC_OK);
}

static inline mdc_session_spec full_spec(mdc_callback *callback) {
    return (mdc_session_spec){.engine = {.dump_type = MDC_TYPE_WITH_FULL_MEMORY},
                              .callback = callback,
                              .take_source = &slot,
                              .pidfd = -1,
                              .fd = -1,
                              .sink = MDC_SINK_MEMORY};
}

/* mdc_session_start, with a new source of TARGET for a specification that has none left. */
static inline mdc_status begin(const mdc_session_spec *spec, mdc_session **session, mdc_error *err) {
    if (spec->take_source == &slot && slot == NULL) {
        slot = mdc_fake_new(&TARGET, err);
        if (slot == NULL) return err->code;
    }
    return mdc_session_start(spec, session, err);
}

static inline mdc_session *start(const mdc_session_spec *spec) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_session *session = NULL;
    begin(spec, &session, &err);
    if (session == NULL) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return session;
}

/* Waits and returns the result. */
static inline mdc_status end_of(mdc_session *session, mdc_error *err) {
    mdc_error_clear(err);
    CHECK(mdc_session_wait(session, SECONDS(60)) == 1);
    return mdc_session_result(session, err);
}

static inline void finish_well(mdc_session *session) {
    mdc_error err;
    if (end_of(session, &err) != MDC_OK) {
        fprintf(stderr, "%s\n", err.message);
        failures++;
    }
}

/* Into a pipe without a reader. */
static inline mdc_session *start_stalled(mdc_callback *callback, int64_t ends[2], uint64_t deadline_ns) {
    output_pipe(ends);
    mdc_session_spec spec = full_spec(callback);
    spec.sink = MDC_SINK_FD;
    spec.fd = ends[1];
    spec.deadline_ns = deadline_ns;
    return start(&spec);
}

#endif
