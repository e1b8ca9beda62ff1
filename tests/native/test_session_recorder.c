/* A recorder in front of a routine that several threads call at once, and that is read or cleared meanwhile: nothing is
 * lost or torn, and each thread's calls are in their order. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/trace/codec.h"
#include "../../csrc/trace/recorder.h"
#include "check.h"
#include "threads_check.h"

enum { THREADS = 4, CALLS = 20000 };

static int32_t MDC_CALL answer(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    (void)param;
    output->ThreadWriteFlags = input->u.IncludeThread.ThreadId;
    return 1;
}

typedef struct caller {
    MINIDUMP_CALLBACK_INFORMATION who;
    uint32_t number;
} caller;

static void *call(void *argument) {
    caller *self = argument;
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    memset(&input, 0, sizeof input);
    input.CallbackType = MDC_CB_INCLUDE_THREAD;
    for (uint32_t i = 0; i < CALLS; i++) {
        MINIDUMP_CALLBACK_OUTPUT output;
        memset(&output, 0, sizeof output);
        input.ProcessId = self->number;
        input.u.IncludeThread.ThreadId = i;
        if (self->who.CallbackRoutine(self->who.CallbackParam, &input, &output) != 1) abort();
        if (output.ThreadWriteFlags != i) abort();
    }
    return NULL;
}

/* Every record whole, each thread's in order; `all`: and none is missing. */
static void check(const uint8_t *records, size_t size, uint32_t *next, bool all) {
    mdc_trace_parts parts;
    for (size_t at = 0; at < size; at += parts.header.size) {
        uint32_t asked, answered;
        if (!mdc_trace_parse(records + at, size - at, &parts) || parts.header.process_id >= THREADS) {
            CHECK(!"a torn record");
            return;
        }
        memcpy(&asked, parts.member, sizeof asked);
        memcpy(&answered, parts.after, sizeof answered);
        uint32_t *expected = &next[parts.header.process_id];
        CHECK(asked == answered && (all ? asked == *expected : asked >= *expected));
        *expected = asked + 1;
    }
}

static const size_t ROOM = (size_t)8 << 20;

/* Threads that record, all at once; meanwhile this one reads, or clears again and again. */
static bool test_at_once(bool clears) {
    mdc_error err;
    mdc_recorder *recorder = mdc_recorder_new(NULL, &err);
    uint8_t *records = malloc(ROOM);
    REQUIRE(recorder != NULL && records != NULL);
    MINIDUMP_CALLBACK_INFORMATION who = {.CallbackRoutine = answer, .CallbackParam = NULL};
    mdc_recorder_attach(recorder, 0, &who);
    thread *threads[THREADS];
    caller callers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){.who = who, .number = i};
        if ((threads[i] = thread_begin(call, &callers[i])) == NULL) return false;
    }
    /* Clearing alone: the lock of another function would order what this one leaves unordered. */
    for (int i = 0; clears && i < 200; i++) mdc_recorder_clear(recorder);
    for (int i = 0; i < 20; i++) {
        uint32_t next[THREADS] = {0};
        CHECK(mdc_recorder_read(recorder).dropped == 0);
        check(records, mdc_recorder_copy(recorder, records, ROOM), next, !clears);
    }
    for (uint32_t i = 0; i < THREADS; i++) thread_end(threads[i]);
    uint32_t next[THREADS] = {0};
    check(records, mdc_recorder_copy(recorder, records, ROOM), next, !clears);
    if (!clears) {
        for (uint32_t i = 0; i < THREADS; i++) CHECK(next[i] == CALLS);
        CHECK(mdc_recorder_read(recorder).calls == THREADS * CALLS);
    }
    mdc_recorder_clear(recorder);
    CHECK(mdc_recorder_read(recorder).calls == 0 && mdc_recorder_copy(recorder, records, ROOM) == 0);
    free(records);
    mdc_recorder_free(recorder);
    return true;
}

int main(void) {
    if (!test_at_once(false) || !test_at_once(true)) return 77;
    return failures != 0;
}
