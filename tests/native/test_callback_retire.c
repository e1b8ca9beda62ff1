/* The end of a callback whose addresses were given out: refused while a call is inside or a dump holds it, and
 * then every late call is answered FALSE without touching the output. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/callback.h"
#include "check.h"
#include "threads_check.h"

static mdc_callback *inside_of;
static mdc_callback *kept[64]; /* what stays of retired ones is meant to stay: leak checkers shall see it */

static mdc_filter *new_filter(void) {
    mdc_filter_spec spec;
    mdc_error err;
    memset(&spec, 0, sizeof spec);
    spec.default_action = MDC_INCLUDE;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    REQUIRE(filter != NULL);
    return filter;
}

static int32_t tries_to_end(void *context, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_error err;
    (void)context, (void)input, (void)output;
    REQUIRE(mdc_callback_retire(inside_of, &err) == MDC_ERR_BUSY);
    REQUIRE(mdc_callback_free(inside_of, &err) == MDC_ERR_BUSY);
    return 1;
}

static int32_t call(mdc_callback *callback, uint32_t type) {
    MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    uint8_t poison[sizeof output];
    memset(&input, 0, sizeof input);
    memset(poison, 0xA5, sizeof poison);
    memcpy(&output, poison, sizeof output);
    input.CallbackType = type;
    int32_t answer = mdc_callback_routine(callback, &input, &output);
    if (answer == 0) REQUIRE(memcmp(&output, poison, sizeof output) == 0);
    return answer;
}

static void *calls(void *argument) {
    mdc_callback *callback = argument;
    while (call(callback, MDC_CB_CANCEL) != 0) continue;
    for (int i = 0; i < 1000; i++) REQUIRE(call(callback, MDC_CB_CANCEL) == 0);
    return NULL;
}

int main(void) {
    mdc_error err;
    mdc_filter *filter = new_filter();
    mdc_callback_options options = {.hook_types = 1u << MDC_CB_SECONDARY_FLAGS, .hook = tries_to_end};
    mdc_callback *callback = mdc_callback_new(filter, &options, &err);
    REQUIRE(callback != NULL);
    inside_of = kept[0] = callback;
    REQUIRE(call(callback, MDC_CB_SECONDARY_FLAGS) == 1);
    REQUIRE(mdc_callback_acquire(callback, &err) == MDC_OK);
    REQUIRE(mdc_callback_retire(callback, &err) == MDC_ERR_BUSY);
    REQUIRE(mdc_callback_free(callback, &err) == MDC_ERR_BUSY);
    mdc_callback_release(callback);
    REQUIRE(call(callback, MDC_CB_CANCEL) == 1); /* a refusal leaves it as it was */
    REQUIRE(mdc_callback_retire(callback, &err) == MDC_OK);
    for (uint32_t type = 0; type < 24; type++) REQUIRE(call(callback, type) == 0);

    /* Against a thread that never stops calling: nothing is freed under it. */
    for (int round = 1; round < 64; round++) {
        kept[round] = mdc_callback_new(filter, NULL, &err);
        REQUIRE(kept[round] != NULL);
        thread *caller = thread_begin(calls, kept[round]);
        REQUIRE(caller != NULL);
        while (mdc_callback_retire(kept[round], &err) != MDC_OK) REQUIRE(err.code == MDC_ERR_BUSY);
        thread_end(caller);
    }
    mdc_filter_release(filter);
    return 0;
}
