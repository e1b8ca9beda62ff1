/* The replay loop (see replay.h). */
#include "replay.h"

#include <stdbool.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/vec.h"
#include "codec.h"

#define BUFFER_MAX_DEFAULT (UINT64_C(64) << 20)
#define GUARD 64u /* bytes of poison after a buffer */
/* An output and the poison after it. mingw-w64's header makes callees write up to byte 68. */
#define OUTPUT_ROOM 128u

_Static_assert(sizeof(mdc_replay_answer) == 60, "read by Python");
_Static_assert(sizeof(((mdc_replay_answer *)0)->output) == sizeof(MINIDUMP_CALLBACK_OUTPUT), "the whole union");

typedef struct replay {
    MINIDUMP_CALLBACK_ROUTINE routine;
    void *param;
    uint64_t random; /* state of the garbage, 0: none */
    uint8_t fill;
    uint8_t *buffer; /* data_room bytes and the guard */
    size_t data_room;
    MINIDUMP_CALLBACK_INPUT *input;
} replay;

typedef union output_room {
    MINIDUMP_CALLBACK_OUTPUT output;
    uint8_t bytes[OUTPUT_ROOM];
    uint64_t align;
} output_room;

/* -- before the first call ----------------------------------------------------------------------------------------- */

static mdc_status check(const uint8_t *records, size_t size, uint64_t buffer_max, size_t *count, size_t *data_room,
                        mdc_error *err) {
    uint64_t largest = 0;
    *count = 0;
    for (size_t at = 0; at < size;) {
        mdc_trace_parts parts;
        if (!mdc_trace_parse(records + at, size - at, &parts))
            return mdc_fail_at(err, MDC_ERR_FORMAT, MDC_PHASE_NONE, (int64_t)*count,
                               "record %zu, at byte %zu, is malformed", *count, at);
        mdc_trace_buffers sizes = mdc_trace_buffer_sizes(&parts);
        uint64_t most = sizes.data;
        if (sizes.cv > most) most = sizes.cv;
        if (sizes.misc > most) most = sizes.misc;
        if (most > buffer_max)
            return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_NONE, (int64_t)*count,
                               "record %zu asks for a buffer of %llu bytes; the limit is %llu", *count,
                               (unsigned long long)most, (unsigned long long)buffer_max);
        if (most > largest) largest = most;
        at += parts.header.size;
        ++*count;
    }
    *data_room = (size_t)largest; /* sizes are 32 bits wide */
    return MDC_OK;
}

/* -- one call ------------------------------------------------------------------------------------------------------ */

/* xorshift64*: the content of the bytes that must not be read. */
static uint64_t next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static void scatter(void *to, size_t size, uint64_t *state) {
    uint8_t *at = to;
    for (size_t done = 0; done < size; done += 8) {
        uint64_t word = next(state);
        memcpy(at + done, &word, size - done < 8 ? size - done : 8);
    }
}

static bool is_all(const uint8_t *bytes, size_t size, uint8_t value) {
    /* Each byte equals the one before it. */
    return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static uint32_t judge_buffer(const replay *self, const mdc_trace_parts *parts, size_t size) {
    uint32_t flags = 0;
    if (!is_all(self->buffer + size, GUARD, self->fill)) flags |= MDC_REPLAY_BEYOND_BUFFER;
    if (!is_all(self->buffer, size, self->fill))
        flags |= parts->header.type == MDC_CB_IO_WRITE_ALL ? MDC_REPLAY_READ_ONLY : MDC_REPLAY_CHANGED;
    if (flags != 0) memset(self->buffer, self->fill, self->data_room + GUARD);
    return flags;
}

static uint32_t send(replay *self, const mdc_trace_parts *parts, uint64_t number, output_room *room, int32_t *result) {
    const mdc_trace_header *header = &parts->header;
    uint8_t poison = (uint8_t)(0xA5u + 29u * number); /* another one each time: a callee might write this very byte */
    if (self->random != 0) scatter(self->input, sizeof *self->input, &self->random);
    mdc_trace_fill(parts, self->buffer, self->input);
    memset(room, poison, sizeof *room);
    memcpy(room->bytes, parts->before, header->output_bytes);
    *result = self->routine(self->param, self->input, &room->output);

    uint32_t flags = 0;
    size_t member = header->output_bytes, whole = sizeof room->output;
    if (!is_all(room->bytes + member, sizeof room->bytes - member, poison)) {
        if (!is_all(room->bytes + member, whole - member, poison)) flags |= MDC_REPLAY_BEYOND_MEMBER;
        if (!is_all(room->bytes + whole, sizeof room->bytes - whole, poison)) flags |= MDC_REPLAY_BEYOND_OUTPUT;
    }
    if (header->type == MDC_CB_IO_WRITE_ALL || header->type == MDC_CB_VM_PRE_READ ||
        header->type == MDC_CB_VM_POST_READ)
        flags |= judge_buffer(self, parts, (size_t)mdc_trace_buffer_sizes(parts).data);
    return flags;
}

/* -- all of them --------------------------------------------------------------------------------------------------- */

static void run(replay *self, const uint8_t *records, size_t size, uint64_t repeat, mdc_replay_answer *answers,
                mdc_replay_result *result) {
    uint64_t begun = mdc_clock_ns();
    for (uint64_t pass = 0; pass < repeat; pass++) {
        mdc_replay_answer *answer = pass + 1 == repeat ? answers : NULL;
        for (size_t at = 0; at < size;) {
            mdc_trace_parts parts;
            output_room room;
            int32_t returned;
            if (!mdc_trace_parse(records + at, size - at, &parts)) return; /* was fine before the first call */
            uint32_t flags = send(self, &parts, result->calls, &room, &returned);
            if ((flags & MDC_REPLAY_WRONG) != 0 && result->violations++ == 0) result->first = (int64_t)result->calls;
            if (answer != NULL) {
                answer->result = returned;
                answer->flags = flags;
                memcpy(answer->output, room.bytes, parts.header.output_bytes);
                memset(answer->output + parts.header.output_bytes, 0,
                       sizeof answer->output - parts.header.output_bytes);
                answer++;
            }
            result->calls++;
            at += parts.header.size;
        }
    }
    result->elapsed_ns = mdc_clock_ns() - begun;
}

mdc_status mdc_replay_run(const uint8_t *records, size_t size, MINIDUMP_CALLBACK_ROUTINE routine, void *param,
                          const mdc_replay_options *options, mdc_replay_answer *answers, size_t capacity,
                          mdc_replay_result *result, mdc_error *err) {
    static const mdc_replay_options defaults;
    const mdc_replay_options *o = options != NULL ? options : &defaults;
    memset(result, 0, sizeof *result);
    result->first = -1;
    mdc_error_clear(err);
    if (routine == NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "there is no routine to call");
    if ((uintptr_t)records % 8 != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "records must be 8-aligned");
    size_t count;
    replay self = {.routine = routine, .param = param, .random = o->garbage, .fill = (uint8_t)o->fill};
    uint64_t buffer_max = o->buffer_max != 0 ? o->buffer_max : BUFFER_MAX_DEFAULT;
    if (check(records, size, buffer_max, &count, &self.data_room, err) != MDC_OK) return err->code;
    if (answers != NULL && capacity < count)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "room for %zu answers to %zu calls", capacity, count);
    self.buffer = mdc_alloc(self.data_room + GUARD, 1, err);
    if (self.buffer == NULL) return err->code;
    memset(self.buffer, self.fill, self.data_room + GUARD);
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input;
    memset(&input, 0, sizeof input);
    self.input = &input;
    run(&self, records, size, o->repeat != 0 ? o->repeat : 1, answers, result);
    mdc_dealloc(self.buffer);
    return MDC_OK;
}
