/* A recorder in front of a routine that several threads call at once, and that is read meanwhile: nothing is lost or
 * torn, and each thread's calls are in their order. */
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

/* Every record whole, each thread's in order. */
static void check(const uint8_t *records, size_t size, uint32_t *next) {
    mdc_trace_parts parts;
    for (size_t at = 0; at < size; at += parts.header.size) {
        uint32_t asked, answered;
        if (!mdc_trace_parse(records + at, size - at, &parts) || parts.header.process_id >= THREADS) {
            CHECK(!"a torn record");
            return;
        }
        memcpy(&asked, parts.member, sizeof asked);
        memcpy(&answered, parts.after, sizeof answered);
        CHECK(asked == answered && asked == next[parts.header.process_id]);
        next[parts.header.process_id] = asked + 1;
    }
}

int main(void) {
    mdc_error err;
    mdc_recorder *recorder = mdc_recorder_new(NULL, &err);
    if (recorder == NULL) return 1;
    MINIDUMP_CALLBACK_INFORMATION who = {.CallbackRoutine = answer, .CallbackParam = NULL};
    mdc_recorder_attach(recorder, 0, &who);
    thread *threads[THREADS];
    caller callers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){.who = who, .number = i};
        if ((threads[i] = thread_begin(call, &callers[i])) == NULL) return 77;
    }
    size_t room = (size_t)8 << 20;
    uint8_t *records = malloc(room);
    if (records == NULL) return 1;
    for (int i = 0; i < 20; i++) {
        uint32_t next[THREADS] = {0};
        CHECK(mdc_recorder_read(recorder).dropped == 0);
        check(records, mdc_recorder_copy(recorder, records, room), next);
    }
    for (uint32_t i = 0; i < THREADS; i++) thread_end(threads[i]);
    uint32_t next[THREADS] = {0};
    check(records, mdc_recorder_copy(recorder, records, room), next);
    for (uint32_t i = 0; i < THREADS; i++) CHECK(next[i] == CALLS);
    CHECK(mdc_recorder_read(recorder).calls == THREADS * CALLS);
    free(records);
    mdc_recorder_free(recorder);
    return failures == 0 ? 0 : 1;
}
