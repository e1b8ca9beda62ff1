/* Recording in front of a routine, and replaying what was recorded: nothing of the target's memory is kept, answers
 * pass through unchanged, what does not fit is counted, hostile records are refused, and a callee that writes beside
 * its member is caught. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/failpoint.h"
#include "../../csrc/trace/codec.h"
#include "../../csrc/trace/recorder.h"
#include "../../csrc/trace/replay.h"
#include "../../csrc/trace/siphash.h"
#include "check.h"

enum { ROOM = 1 << 20 };

static const uint8_t secret[16] = {'s', 'e', 'c', 'r', 'e', 't', '!', 0xDE, 0xAD, 0xBE, 0xEF, 1, 2, 3, 4, 5};
static const uint16_t path[] = {'/', 'l', 'i', 'b', 0xDCFF, 0};

static bool contains(const uint8_t *data, size_t size, const void *what, size_t length) {
    for (size_t at = 0; at + length <= size; at++)
        if (memcmp(data + at, what, length) == 0) return true;
    return false;
}

/* -- a callee ------------------------------------------------------------------------------------------------------ */

typedef struct callee {
    uint64_t calls;
    int32_t result;
    uint32_t write; /* bytes of the output it sets to 0x11 */
    uint32_t buffer_write;
    bool only_io; /* buffer_write is for IoWriteAll alone */
    MINIDUMP_CALLBACK_INPUT last;
    char path[64];
} callee;

static void write_buffer(void *buffer, uint32_t size) {
    if (buffer != NULL) memset(buffer, 0x77, size);
}

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    callee *self = param;
    self->calls++;
    self->last = *input;
    if (input->CallbackType == MDC_CB_MODULE && input->u.Module.FullPath != NULL) {
        size_t at = 0;
        for (; input->u.Module.FullPath[at] != 0 && at + 1 < sizeof self->path; at++)
            self->path[at] = (char)input->u.Module.FullPath[at];
        self->path[at] = 0;
    }
    memset(output, 0x11, self->write);
    uint32_t read_write = self->only_io ? 0 : self->buffer_write;
    if (input->CallbackType == MDC_CB_VM_PRE_READ) write_buffer(input->u.VmPreRead.Buffer, read_write);
    if (input->CallbackType == MDC_CB_VM_POST_READ) write_buffer(input->u.VmPostRead.Buffer, read_write);
    if (input->CallbackType == MDC_CB_IO_WRITE_ALL)
        write_buffer((void *)(uintptr_t)input->u.Io.Buffer, self->buffer_write);
    return self->result;
}

static mdc_recorder *front(callee *self, uint64_t limit, uint32_t extensions, MINIDUMP_CALLBACK_INFORMATION *who) {
    mdc_error err;
    mdc_recorder_options options = {.limit = limit, .key0 = 1, .key1 = 2};
    mdc_recorder *recorder = mdc_recorder_new(&options, &err);
    if (recorder == NULL) exit(1);
    who->CallbackRoutine = routine;
    who->CallbackParam = self;
    mdc_recorder_attach(recorder, extensions, who);
    CHECK(who->CallbackRoutine == mdc_recorder_routine && who->CallbackParam == recorder);
    CHECK(memcmp(who, mdc_recorder_information(recorder), sizeof *who) == 0);
    return recorder;
}

/* An input of this type whose every pointer leads to the secret, and whose registers are the secret. */
static void fill(MINIDUMP_CALLBACK_INPUT *input, uint32_t type, uint8_t *buffer) {
    memset(input, 0, sizeof *input);
    input->ProcessId = 41;
    input->ProcessHandle = (void *)42;
    input->CallbackType = type;
    MDC_CALLBACK_INPUT_UNION *u = &input->u;
    switch (type) {
    case MDC_CB_MODULE:
        u->Module.FullPath = path;
        u->Module.BaseOfImage = 0x7F0000001000;
        u->Module.SizeOfImage = 0x2000;
        u->Module.VersionInfo.Signature = 0xFEEF04BD;
        u->Module.VersionInfo.FileDateLS = 99;
        u->Module.CvRecord = secret;
        u->Module.SizeOfCvRecord = sizeof secret;
        u->Module.MiscRecord = secret;
        u->Module.SizeOfMiscRecord = 8;
        break;
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
        u->ThreadEx.ThreadId = 7;
        u->ThreadEx.ThreadHandle = (void *)8;
        for (size_t at = 0; at + sizeof secret <= MDC_CONTEXT_SIZE; at += sizeof secret)
            memcpy(u->ThreadEx.Context + at, secret, sizeof secret);
        u->ThreadEx.SizeOfContext = MDC_CONTEXT_SIZE;
        u->ThreadEx.StackBase = 0x7FFF00002000;
        u->ThreadEx.StackEnd = 0x7FFF00001000;
        if (type == MDC_CB_THREAD_EX) u->ThreadEx.BackingStoreEnd = 5;
        break;
    case MDC_CB_INCLUDE_VM_REGION:
        u->RegionFacts.Size = sizeof u->RegionFacts;
        u->RegionFacts.Version = 1;
        u->RegionFacts.MappingBase = 0x1000;
        u->RegionFacts.Name = (const uint8_t *)"[heap]xyz";
        u->RegionFacts.NameSize = 6;
        u->RegionFacts.NameId = 3;
        u->RegionFacts.DevMinor = 9;
        break;
    case MDC_CB_IO_WRITE_ALL:
        u->Io = (MINIDUMP_IO_CALLBACK){(void *)3, 4096, buffer, 64};
        break;
    case MDC_CB_VM_PRE_READ:
        u->VmPreRead = (MINIDUMP_VM_PRE_READ_CALLBACK){0x5000, buffer, 64};
        break;
    case MDC_CB_VM_POST_READ:
        u->VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){0x5000, buffer, 64, 32, (int32_t)MDC_E_PARTIAL_COPY};
        break;
    default:
        u->VmQuery.Offset = 0x1234567800000001; /* the head of whatever the type has */
        break;
    }
    for (size_t at = 0; at < 64; at += sizeof secret) memcpy(buffer + at, secret, sizeof secret);
}

/* All types, 23 to 30 among them, which are unknown. The callee's answer passes through. */
static size_t record_all(uint8_t *records, uint32_t extensions, uint32_t write) {
    callee self = {.result = -3, .write = write};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 0, extensions, &who);
    uint8_t buffer[64];
    for (uint32_t type = 0; type < 31; type++) {
        _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
        MINIDUMP_CALLBACK_OUTPUT output;
        memset(&output, 0xEE, sizeof output);
        fill(&input, type, buffer);
        CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == -3);
        CHECK(((uint8_t *)&output)[0] == (write > 0 ? 0x11 : 0xEE) && ((uint8_t *)&output)[51] == 0xEE);
        CHECK(memcmp(&self.last, &input, sizeof input) == 0);
    }
    mdc_recorder_state state = mdc_recorder_read(recorder);
    CHECK(self.calls == 31 && state.calls == 31 && state.dropped == 0 && state.extensions == extensions);
    size_t size = mdc_recorder_copy(recorder, records, ROOM);
    CHECK(size == state.bytes);
    CHECK(mdc_recorder_copy(recorder, records + size, 100) <= 100); /* whole records only */
    mdc_recorder_clear(recorder);
    CHECK(mdc_recorder_read(recorder).bytes == 0 && mdc_recorder_copy(recorder, records + size, ROOM / 2) == 0);
    mdc_recorder_free(recorder);
    return size;
}

static void test_records(uint8_t *records) {
    size_t size = record_all(records, MDC_EXT_REGION_FACTS, 4);
    CHECK(!contains(records, size, secret, 8) && !contains(records, size, secret + 8, 8));
    CHECK(contains(records, size, path, sizeof path) && contains(records, size, "[heap]", 7));
    CHECK(!contains(records, size, "xyz", 3)); /* the engine's name has no NUL: nothing after it is read */
    size_t at = 0;
    for (uint32_t type = 0; type < 31; type++) {
        mdc_trace_parts parts;
        CHECK(mdc_trace_parse(records + at, size - at, &parts));
        CHECK(parts.header.type == type && parts.header.process_id == 41 && parts.header.process_handle == 42);
        CHECK(parts.header.result == -3 && (parts.header.flags & (MDC_TRACE_RESULT | MDC_TRACE_AFTER)) == 3);
        CHECK(parts.header.output_bytes == mdc_trace_output_bytes(type) && parts.header.output_bytes <= 52);
        if (parts.header.output_bytes > 0) CHECK(parts.before[0] == 0xEE && parts.after[0] == 0x11);
        if (parts.header.output_bytes > 4) CHECK(parts.before[4] == 0xEE && parts.after[4] == 0xEE);
        if (type == MDC_CB_THREAD_EX) CHECK(parts.member[32] == 5); /* BackingStoreEnd */
        at += parts.header.size;
    }
    CHECK(at == size);
    /* Without the extension there may be no facts. */
    size = record_all(records, 0, 0);
    CHECK(!contains(records, size, "[heap]", 6));
}

static void test_digests(void) {
    uint8_t key[16], message[15];
    uint64_t words[2];
    for (uint8_t i = 0; i < 16; i++) key[i] = i;
    for (uint8_t i = 0; i < 15; i++) message[i] = i;
    memcpy(words, key, sizeof words);
    CHECK(mdc_siphash(words, message, sizeof message) == UINT64_C(0xA129CA6149BE45E5)); /* of the paper */
    CHECK(mdc_siphash(words, "", 0) == UINT64_C(0x726FDB47DD0E0E31));

    callee self = {.result = 1, .buffer_write = 0};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 0, 0, &who);
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output = {.VmRead = {MDC_S_OK, 32}};
    uint8_t buffer[64], *records = malloc(ROOM);
    mdc_trace_parts parts;
    uint64_t digests[4][2];
    if (records == NULL) exit(1);
    for (uint32_t turn = 0; turn < 4; turn++) {
        fill(&input, MDC_CB_VM_POST_READ, buffer);
        self.buffer_write = turn == 1 ? 8 : 0; /* edits the buffer */
        output.VmRead.VmReadBytesCompleted = turn < 2 ? 32 : 64;
        self.result = turn != 2; /* FALSE: the 32 bytes the engine had read are kept; else there are 64 now */
        who.CallbackRoutine(who.CallbackParam, &input, &output);
    }
    size_t size = mdc_recorder_copy(recorder, records, ROOM), at = 0;
    for (uint32_t turn = 0; turn < 4; turn++) {
        CHECK(mdc_trace_parse(records + at, size - at, &parts) && parts.digests != NULL);
        memcpy(digests[turn], parts.digests, sizeof digests[turn]);
        at += parts.header.size;
    }
    CHECK(digests[0][0] == digests[0][1] && digests[1][0] == digests[0][0] && digests[1][1] != digests[1][0]);
    CHECK(digests[2][0] == digests[2][1] && digests[3][0] == digests[0][0] && digests[3][1] != digests[3][0]);
    free(records);
    mdc_recorder_free(recorder);
}

/* -- what does not fit --------------------------------------------------------------------------------------------- */

static void test_limits(void) {
    callee self = {.result = 1};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 330, 0, &who);
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&output, 0, sizeof output);
    uint8_t buffer[64], records[512];
    /* 40 bytes each: 7 fit, and nothing is recorded after a call that did not fit. */
    for (int i = 0; i < 9; i++) {
        fill(&input, i == 7 ? MDC_CB_MODULE : MDC_CB_IS_PROCESS_SNAPSHOT, buffer);
        CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    }
    mdc_recorder_state state = mdc_recorder_read(recorder);
    CHECK(self.calls == 9 && state.calls == 7 && state.dropped == 2 && state.bytes == 7 * 40);
    CHECK(mdc_recorder_copy(recorder, records, 100) == 80);
    mdc_recorder_clear(recorder);
    fill(&input, MDC_CB_MEMORY, buffer);
    who.CallbackRoutine(who.CallbackParam, &input, &output);
    CHECK(mdc_recorder_read(recorder).calls == 1 && mdc_recorder_read(recorder).dropped == 0);
    mdc_recorder_free(recorder);

    /* A path without an end within all bounds is passed on, but not kept; nor does it end the recording. */
    recorder = front(&self, 0, 0, &who);
    uint16_t *endless = malloc(40000 * sizeof *endless);
    if (endless == NULL) exit(1);
    for (int i = 0; i < 40000; i++) endless[i] = 'x';
    endless[39999] = 0;
    fill(&input, MDC_CB_MODULE, buffer);
    input.u.Module.FullPath = endless;
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    fill(&input, MDC_CB_CANCEL, buffer);
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    state = mdc_recorder_read(recorder);
    CHECK(state.dropped == 1 && state.calls == 1);
    mdc_recorder_free(recorder);
    recorder = front(&self, 0, MDC_EXT_REGION_FACTS, &who);
    fill(&input, MDC_CB_INCLUDE_VM_REGION, buffer);
    input.u.RegionFacts.Name = (const uint8_t *)endless;
    input.u.RegionFacts.NameSize = MDC_TRACE_TEXT_MAX;
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    input.u.RegionFacts.NameSize--;
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    input.u.RegionFacts.NameSize = UINT32_MAX;
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    state = mdc_recorder_read(recorder);
    CHECK(state.dropped == 2 && state.calls == 1);
    free(endless);
    mdc_recorder_free(recorder);

#ifdef MDC_FAILPOINTS
    recorder = front(&self, 0, 0, &who);
    mdc_failpoint_set("alloc:0:12");
    CHECK(who.CallbackRoutine(who.CallbackParam, &input, &output) == 1);
    mdc_error err;
    mdc_error_clear(&err);
    CHECK(mdc_recorder_new(NULL, &err) == NULL && err.code == MDC_ERR_NOMEM);
    mdc_failpoint_set("");
    CHECK(mdc_recorder_read(recorder).dropped == 1 && mdc_recorder_read(recorder).calls == 0);
    mdc_recorder_free(recorder);
#endif
    MINIDUMP_CALLBACK_INFORMATION nobody = {NULL, NULL};
    mdc_error clear;
    recorder = mdc_recorder_new(NULL, &clear);
    mdc_recorder_attach(recorder, 0, &nobody);
    CHECK(nobody.CallbackRoutine == NULL && mdc_recorder_routine(recorder, &input, &output) == 0);
    mdc_recorder_free(recorder);
    mdc_recorder_free(NULL);
}

/* Many chunks: every record comes back, in order. */
static void test_many(void) {
    enum { CALLS = 100000 };
    callee self = {.result = 1};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 0, 0, &who);
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&output, 0, sizeof output);
    memset(&input, 0, sizeof input);
    input.CallbackType = MDC_CB_INCLUDE_THREAD;
    for (uint32_t i = 0; i < CALLS; i++) {
        input.u.IncludeThread.ThreadId = i;
        who.CallbackRoutine(who.CallbackParam, &input, &output);
    }
    size_t bytes = (size_t)mdc_recorder_read(recorder).bytes;
    uint8_t *records = malloc(bytes);
    if (records == NULL) exit(1);
    CHECK(mdc_recorder_copy(recorder, records, bytes) == bytes);
    size_t at = 0;
    uint32_t seen = 0, tid;
    for (mdc_trace_parts parts; at < bytes; at += parts.header.size, seen++) {
        if (!mdc_trace_parse(records + at, bytes - at, &parts)) break;
        memcpy(&tid, parts.member, sizeof tid);
        if (tid != seen) break;
    }
    CHECK(seen == CALLS && at == bytes);
    free(records);
    mdc_recorder_free(recorder);
}

/* -- layouts ------------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* As Wine's engine built with GCC lays it out: Context at 12, and 1296 bytes in all. */
static void test_gcc_layout(uint8_t *records) {
    callee self = {.result = 1};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 0, 0, &who);
    uint8_t *input = calloc(1, 1296), *member = input + 16;
    MINIDUMP_CALLBACK_OUTPUT output = {.ThreadWriteFlags = 0x17};
    uint32_t type = MDC_CB_THREAD, tid = 77, size = MDC_CONTEXT_SIZE;
    uint64_t stack[2] = {0x7000, 0x8000};
    if (input == NULL) exit(1);
    memcpy(input + 12, &type, 4);
    memcpy(member, &tid, 4);
    memset(member + 12, 0xCC, MDC_CONTEXT_SIZE);
    memcpy(member + 1244, &size, 4);
    memcpy(member + 1248, stack, 16);
    mdc_trace_taken taken;
    uint8_t fixed[MDC_TRACE_FIXED_MAX];
    /* Not through a callee: those of this file copy all 1312 bytes. */
    CHECK(mdc_trace_take((const MINIDUMP_CALLBACK_INPUT *)(const void *)input, &output, false, fixed, &taken));
    mdc_trace_parts parts;
    CHECK(mdc_trace_parse(fixed, taken.fixed, &parts) && parts.header.flags == MDC_TRACE_GCC);
    memcpy(records, fixed, taken.fixed);
    mdc_error err;
    mdc_replay_result result;
    CHECK(mdc_replay_run(records, taken.fixed, routine, &self, NULL, NULL, 0, &result, &err) == MDC_OK);
    const uint8_t *sent = (const uint8_t *)&self.last + 16;
    CHECK(memcmp(sent, &tid, 4) == 0 && memcmp(sent + 1244, &size, 4) == 0 && memcmp(sent + 1248, stack, 16) == 0);
    CHECK(self.last.u.Thread.SizeOfContext != MDC_CONTEXT_SIZE);
    free(input);
    mdc_recorder_free(recorder);
}
#endif

/* -- replay -------------------------------------------------------------------------------------------------------- */

static void test_replay(uint8_t *records) {
    size_t size = record_all(records, MDC_EXT_REGION_FACTS, 0);
    callee self = {.result = -3};
    MINIDUMP_CALLBACK_INFORMATION who;
    mdc_recorder *recorder = front(&self, 0, MDC_EXT_REGION_FACTS, &who);
    mdc_replay_answer answers[31];
    mdc_replay_result result;
    mdc_error err;
    mdc_replay_options options = {.repeat = 3, .garbage = 12345, .fill = 0x5A};
    CHECK(mdc_replay_run(records, size, who.CallbackRoutine, who.CallbackParam, &options, answers, 31, &result, &err) ==
          MDC_OK);
    CHECK(result.calls == 93 && self.calls == 93 && result.violations == 0 && result.first == -1);
    CHECK(strcmp(self.path, "/lib\xFF") == 0);
    unsigned garbage = 0; /* an unknown type was sent last: nothing of the union is its own */
    for (size_t at = 0; at < sizeof self.last.u; at++) garbage += ((const uint8_t *)&self.last.u)[at] != 0;
    CHECK(garbage > sizeof self.last.u / 2);
    for (uint32_t type = 0; type < 31; type++) {
        CHECK(answers[type].result == -3 && answers[type].flags == 0);
        uint32_t member = mdc_trace_output_bytes(type);
        for (uint32_t at = 0; at < 52; at++) CHECK(answers[type].output[at] == (at < member ? 0xEE : 0));
    }
    /* Recorded again, it is the same: but for digests, as the buffers were not. */
    uint8_t *again = malloc(ROOM);
    if (again == NULL) exit(1);
    CHECK(mdc_recorder_copy(recorder, again, ROOM) == 3 * size);
    for (size_t at = 0; at < size;) {
        mdc_trace_parts old, new;
        CHECK(mdc_trace_parse(records + at, size - at, &old) && mdc_trace_parse(again + at, size - at, &new));
        size_t head = old.digests != NULL ? 48 : 32;
        CHECK(memcmp(records + at, again + at, 32) == 0);
        CHECK(memcmp(records + at + head, again + at + head, old.header.size - head) == 0);
        at += old.header.size;
    }
    free(again);
    mdc_recorder_free(recorder);
}

static mdc_replay_result replay_with(const uint8_t *records, size_t size, callee *self, mdc_replay_answer *answers) {
    mdc_replay_result result;
    mdc_error err;
    self->calls = 0;
    CHECK(mdc_replay_run(records, size, routine, self, NULL, answers, 31, &result, &err) == MDC_OK);
    CHECK(result.calls == 31);
    return result;
}

static void test_violations(uint8_t *records) {
    size_t size = record_all(records, MDC_EXT_REGION_FACTS, 0);
    mdc_replay_answer answers[31];
    callee self = {.result = 1};
    /* 52 bytes: the largest member of all; a smaller one is caught. */
    for (uint32_t write = 1; write <= 68; write++) {
        self.write = write;
        uint32_t wrong = 0;
        mdc_replay_result result = replay_with(records, size, &self, answers);
        for (uint32_t type = 0; type < 31; type++) {
            uint32_t member = mdc_trace_output_bytes(type), expected = 0;
            if (write > member && member < 52) expected |= MDC_REPLAY_BEYOND_MEMBER;
            if (write > 52) expected |= MDC_REPLAY_BEYOND_OUTPUT; /* as with mingw-w64's header, which has 68 */
            CHECK(answers[type].flags == expected);
            wrong += expected != 0;
        }
        CHECK(result.violations == wrong);
        if (wrong > 0) CHECK(answers[result.first].flags != 0);
    }
    self.write = 0;
    self.buffer_write = 64;
    CHECK(replay_with(records, size, &self, answers).first == MDC_CB_IO_WRITE_ALL);
    CHECK(answers[MDC_CB_IO_WRITE_ALL].flags == MDC_REPLAY_READ_ONLY);
    CHECK(answers[MDC_CB_VM_PRE_READ].flags == MDC_REPLAY_CHANGED);
    CHECK(answers[MDC_CB_VM_POST_READ].flags == MDC_REPLAY_CHANGED);
    self.only_io = true; /* what one call did to the buffer is not laid at the door of the next */
    CHECK(replay_with(records, size, &self, answers).violations == 1 && answers[MDC_CB_VM_PRE_READ].flags == 0);
    self.only_io = false;
    self.buffer_write = 65;
    CHECK(replay_with(records, size, &self, answers).violations == 3);
    CHECK(answers[MDC_CB_VM_PRE_READ].flags == (MDC_REPLAY_CHANGED | MDC_REPLAY_BEYOND_BUFFER));
}

static mdc_status try(const uint8_t *records, size_t size, callee *self, const mdc_replay_options *options,
                      mdc_error *err) {
    mdc_replay_result result;
    self->calls = 0;
    mdc_status status = mdc_replay_run(records, size, routine, self, options, NULL, 0, &result, err);
    CHECK(status == err->code && (status == MDC_OK || (self->calls == 0 && result.calls == 0)));
    return status;
}

static void test_hostile(uint8_t *records) {
    size_t size = record_all(records, MDC_EXT_REGION_FACTS, 0);
    callee self = {.result = 1};
    mdc_error err;
    mdc_replay_options small = {.buffer_max = 63};
    CHECK(try(records, size, &self, &small, &err) == MDC_ERR_INVALID && err.index == MDC_CB_IO_WRITE_ALL);
    CHECK(try(records + 4, size - 4, &self, NULL, &err) == MDC_ERR_INVALID);
    CHECK(try(records, 0, &self, NULL, &err) == MDC_OK);
    mdc_replay_answer one;
    mdc_replay_result result;
    CHECK(mdc_replay_run(records, size, routine, &self, NULL, &one, 1, &result, &err) == MDC_ERR_INVALID);
    CHECK(mdc_replay_run(records, size, NULL, &self, NULL, NULL, 0, &result, &err) == MDC_ERR_INVALID);

    /* Cut anywhere: fine at the end of a record, refused everywhere else. In memory of just that size. */
    size_t whole = 0;
    for (size_t cut = 0; cut <= size; cut += 4) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        if (copy == NULL) exit(1);
        memcpy(copy, records, cut);
        if (try(copy, cut, &self, NULL, &err) == MDC_OK)
            whole++;
        else
            CHECK(err.code == MDC_ERR_FORMAT && err.index == (int64_t)whole - 1);
        free(copy);
    }
    CHECK(whole == 32);

    /* Any byte changed: refused, or sent without touching what is not there. */
    uint8_t *copy = malloc(size);
    if (copy == NULL) exit(1);
    static const uint8_t values[] = {0, 1, 0x7F, 0x80, 0xFF};
    mdc_replay_options bounded = {.buffer_max = 1 << 20};
    unsigned refused = 0;
    for (size_t at = 0; at < size; at++)
        for (size_t v = 0; v < sizeof values; v++) {
            memcpy(copy, records, size);
            copy[at] = values[v];
            refused += try(copy, size, &self, &bounded, &err) != MDC_OK;
        }
    CHECK(refused > 100);
    for (size_t at = 0; at < size;) { /* a path or name without an end; a record with more after its parts */
        mdc_trace_parts parts;
        CHECK(mdc_trace_parse(records + at, size - at, &parts));
        memcpy(copy, records, size);
        if (parts.text != NULL) {
            copy[(size_t)(parts.text - records) + parts.header.text_bytes - 1] = 'x';
            CHECK(try(copy, size, &self, NULL, &err) == MDC_ERR_FORMAT && err.index == (int64_t)parts.header.type);
            memcpy(copy, records, size);
        }
        parts.header.size += 8;
        memcpy(copy + at, &parts.header, sizeof parts.header);
        CHECK(try(copy, size, &self, NULL, &err) == MDC_ERR_FORMAT && err.index == (int64_t)parts.header.type);
        at += parts.header.size - 8;
    }
    free(copy);
}

int main(void) {
    uint8_t *records = malloc(2 * ROOM);
    if (records == NULL) return 1;
    test_digests();
    test_records(records);
    test_limits();
    test_many();
#if defined(__x86_64__)
    test_gcc_layout(records);
#endif
    test_replay(records);
    test_violations(records);
    test_hostile(records);
    free(records);
    return failures == 0 ? 0 : 1;
}
