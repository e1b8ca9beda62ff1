/* libFuzzer: records of callbacks, sent to our callback with a recorder in between. Whatever they say, the callback
 * keeps the protocol, and what was recorded can be read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/callback.h"
#include "../../csrc/trace/codec.h"
#include "../../csrc/trace/recorder.h"
#include "../../csrc/trace/replay.h"

enum { RECORDS = 1 << 16, HEAD = 8 };

static mdc_callback *callback;
static mdc_recorder *recorder;

static void make_callback(void) {
    static const uint8_t a[] = "*a*", lib[] = "*lib*", secret[] = "secret";
    static const mdc_rule rules[] = {
        {.action = MDC_EXCLUDE,
         .fields = MDC_RULE_RANGE | MDC_RULE_NAME,
         .range = {0x1000, 0x9000},
         .name = {a, sizeof a - 1}},
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_MODULE, .module = {lib, sizeof lib - 1}}};
    static const mdc_bytes pattern = {secret, sizeof secret - 1};
    static const mdc_range removed = {0x4000, 0x5000};
    const mdc_filter_spec spec = {.rules = rules,
                                  .rule_count = 2,
                                  .default_action = MDC_INCLUDE,
                                  .threads_default_keep = UINT32_MAX,
                                  .modules_default_keep = UINT32_MAX,
                                  .patterns = &pattern,
                                  .pattern_count = 1,
                                  .memory_remove = &removed,
                                  .memory_remove_count = 1,
                                  .sanitize_stacks = 1};
    const mdc_callback_options options = {
        .module_capacity = 8, .name_capacity = 8, .stack_capacity = 4, .excluded_gap_capacity = 8};
    const mdc_recorder_options limits = {.limit = RECORDS, .key0 = 1, .key1 = 2};
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    callback = filter == NULL ? NULL : mdc_callback_new(filter, &options, &err);
    recorder = mdc_recorder_new(&limits, &err);
    if (callback == NULL || recorder == NULL) abort();
    mdc_filter_release(filter);
}

/* A copy at a multiple of 8, as records are. */
static uint8_t *aligned(const uint8_t *data, size_t size) {
    uint8_t *copy = aligned_alloc(8, size / 8 * 8 + 8);
    memcpy(copy, data, size);
    return copy;
}

static void read_again(size_t room) {
    uint8_t *records = aligned_alloc(8, RECORDS);
    size_t size = mdc_recorder_copy(recorder, records, room);
    if (size > room) abort();
    for (size_t at = 0; at < size;) {
        mdc_trace_parts parts;
        uint8_t *rest = aligned(records + at, size - at);
        bool sound = mdc_trace_parse(rest, size - at, &parts);
        free(rest);
        if (!sound) {
            fprintf(stderr, "a record of our own is malformed at %zu of %zu\n", at, size);
            abort();
        }
        at += parts.header.size;
    }
    free(records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mdc_error err;
    if (callback == NULL) make_callback();
    if (size < HEAD) return 0;
    uint32_t extensions = data[0] & 0x1F;
    (void)mdc_callback_reset(callback, &err);
    (void)mdc_callback_set_host(callback, extensions, &err);
    mdc_recorder_clear(recorder);
    MINIDUMP_CALLBACK_INFORMATION information = *mdc_callback_information(callback);
    mdc_recorder_attach(recorder, extensions, &information);
    mdc_replay_options options = {
        .repeat = data[1] & 1, .buffer_max = 1 << 16, .garbage = data[2] & 1 ? 0 : 77, .fill = data[3]};
    mdc_replay_answer answers[16];
    mdc_replay_result result;
    size_t bytes = (size - HEAD) / 8 * 8;
    uint8_t *records = aligned(data + HEAD, bytes);
    if (mdc_replay_run(records, bytes, information.CallbackRoutine, information.CallbackParam, &options, answers, 16,
                       &result, &err) == MDC_OK &&
        result.violations != 0) {
        fprintf(stderr, "%llu violations\n", (unsigned long long)result.violations);
        abort();
    }
    free(records);
    read_again((size_t)data[4] * 256);
    return 0;
}
