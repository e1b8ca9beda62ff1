/* Sinks without a descriptor: Io callbacks (offsets, pieces, answers, errors), memory (limit, holes), null. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/fail.h"
#include "../../csrc/base/os_error.h"
#include "../../csrc/sink/sink.h"
#include "check.h"

/* A callee that stores what it gets and can be told to refuse. */
typedef struct callee {
    uint8_t *data; /* 4 MiB */
    uint64_t size;
    int writes, finishes;
    uint32_t largest;
    uint32_t refuse_type;
    int refuse_nth; /* 0: never */
    int seen;
    int32_t returns;
    int32_t status;
    bool untouched; /* leaves Status as it is */
} callee;

static int32_t MDC_CALL routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    callee *self = param;
    CHECK((uintptr_t)input % 16 == 0);
    CHECK(((const uint8_t *)input)[sizeof *input - 1] == 0); /* the whole union is there, and clean */
    CHECK(output->Status < 0);                               /* on entry it is no success */
    CHECK(input->ProcessId == 0 && input->ProcessHandle == NULL && input->u.Io.Handle == (void *)9);
    if (input->CallbackType == self->refuse_type && ++self->seen == self->refuse_nth) {
        if (!self->untouched) output->Status = self->status;
        return self->returns;
    }
    if (input->CallbackType == MDC_CB_IO_WRITE_ALL) {
        CHECK(input->u.Io.Offset == self->size); /* ascending, without a gap */
        memcpy(self->data + input->u.Io.Offset, input->u.Io.Buffer, input->u.Io.BufferBytes);
        self->size += input->u.Io.BufferBytes;
        if (input->u.Io.BufferBytes > self->largest) self->largest = input->u.Io.BufferBytes;
        self->writes++;
    } else {
        CHECK(input->CallbackType == MDC_CB_IO_FINISH && input->u.Io.BufferBytes == 0);
        self->finishes++;
    }
    memset(input, 0xEE, sizeof *input); /* a callee may scribble: the next input is whole again */
    output->Status = (int32_t)MDC_S_OK;
    return 1;
}

static mdc_sink *open_io(callee *self, uint64_t *calls) {
    mdc_error err;
    mdc_error_clear(&err);
    MINIDUMP_CALLBACK_INFORMATION information = {routine, self};
    memset(calls, 0, 32 * sizeof *calls);
    mdc_sink *sink = mdc_sink_io_new(&information, (void *)9, calls, &err);
    if (sink == NULL) exit(1);
    memset(&information, 0, sizeof information); /* copied */
    return sink;
}

static void test_io(void) {
    callee self = {.data = calloc(4, 1 << 20)};
    uint64_t calls[32];
    mdc_error err;
    mdc_error_clear(&err);
    uint8_t *block = malloc(3 << 20);
    for (size_t i = 0; i < 3 << 20; i++) block[i] = (uint8_t)(i * 7);
    mdc_sink *sink = open_io(&self, calls);
    CHECK(!sink->patchable && !sink->sparse);
    CHECK(sink->ops->begin(sink, 5 << 20, 5 << 20, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "MDMP", 4, &err) == MDC_OK);
    CHECK(sink->ops->hole(sink, 10001, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, block, (3 << 20) - 1, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK); /* says it again without asking again */
    CHECK(self.finishes == 1 && calls[13] == 1 && calls[12] == (uint64_t)self.writes && self.largest <= 1 << 20);
    CHECK(self.size == 4 + 10001 + (3 << 20) - 1 && sink->position == self.size);
    CHECK(memcmp(self.data, "MDMP", 4) == 0 && self.data[4] == 0 && self.data[10004] == 0);
    CHECK(memcmp(self.data + 10005, block, (3 << 20) - 1) == 0);
    sink->ops->free(sink);
    free(block);
    free(self.data);
}

static void test_io_refusals(void) {
    static const struct {
        uint32_t type;
        int32_t returns;
        int32_t status;
        bool untouched;
        uint32_t hresult;
    } cases[] = {
        {12, 0, 0, false, 0x80004005u},                    /* FALSE counts, whatever Status says */
        {12, 1, 1, false, 0x80004005u},                    /* S_FALSE is not S_OK */
        {12, 1, (int32_t)0x80070070u, false, 0x80070070u}, /* a failing HRESULT goes through */
        {12, 0, (int32_t)0x80070070u, false, 0x80070070u},
        {12, 1, 0, true, 0x80004005u}, /* TRUE alone is not enough */
        {13, 0, 0, false, 0x80004005u},
        {13, 1, (int32_t)0x80070005u, false, 0x80070005u},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        callee self = {.data = calloc(1, 4096),
                       .refuse_type = cases[i].type,
                       .refuse_nth = cases[i].type == 12 ? 2 : 1,
                       .returns = cases[i].returns,
                       .status = cases[i].status,
                       .untouched = cases[i].untouched};
        uint64_t calls[32];
        mdc_error err;
        mdc_error_clear(&err);
        mdc_sink *sink = open_io(&self, calls);
        CHECK(sink->ops->write(sink, "abcd", 4, &err) == MDC_OK);
        mdc_status status = sink->ops->write(sink, "efgh", 4, &err);
        CHECK(status == (cases[i].type == 12 ? MDC_ERR_SINK : MDC_OK));
        CHECK(sink->position == (cases[i].type == 12 ? 4 : 8));
        CHECK(sink->ops->finish(sink, false, &err) == MDC_ERR_SINK);
        CHECK(sink->ops->finish(sink, false, &err) == MDC_ERR_SINK);
        CHECK(err.code == MDC_ERR_SINK && err.hresult == cases[i].hresult);
        CHECK(err.callback_type == (int32_t)cases[i].type);
        CHECK(calls[13] == (cases[i].type == 13)); /* not after a failed 12, and never twice */
        sink->ops->free(sink);
        free(self.data);
    }
}

#if defined(_WIN32)
#define HOLE (UINT64_C(1) << 28) /* memory is promised there when it is taken, and 32 bits have little */
#else
#define HOLE (UINT64_C(1) << 33) /* more than this test may use as memory */
#endif

static void test_memory(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_memory_new(UINT64_C(1) << 40, &err);
    if (sink == NULL) exit(1);
    size_t size = 1;
    mdc_sink_memory_data(sink, &size);
    CHECK(size == 0 && sink->patchable && sink->sparse);
    CHECK(sink->ops->begin(sink, 100, 100, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "MDMP", 4, &err) == MDC_OK);
    CHECK(sink->ops->hole(sink, HOLE, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "tail", 4, &err) == MDC_OK);
    CHECK(sink->ops->patch(sink, 1, "dm", 2, &err) == MDC_OK);
    CHECK(sink->ops->finish(sink, true, &err) == MDC_OK);
    const uint8_t *data = mdc_sink_memory_data(sink, &size);
    CHECK(size == HOLE + 8 && memcmp(data, "MdmP\0", 5) == 0 && memcmp(data + size - 4, "tail", 4) == 0);
    sink->ops->free(sink);

    sink = mdc_sink_memory_new(10, &err);
    CHECK(sink->ops->write(sink, "123456789", 9, &err) == MDC_OK);
    CHECK(sink->ops->write(sink, "10", 2, &err) == MDC_ERR_SINK && err.os_errno == MDC_OS_NO_SPACE);
    CHECK(sink->position == 9);
    mdc_error_clear(&err);
    CHECK(sink->ops->write(sink, "", 0, &err) == MDC_ERR_SINK && err.os_errno == MDC_OS_NO_SPACE); /* stays */
    sink->ops->free(sink);
    mdc_error_clear(&err);
    sink = mdc_sink_memory_new(10, &err);
    CHECK(sink->ops->begin(sink, 11, 11, &err) == MDC_ERR_SINK); /* known before the first byte */
    sink->ops->free(sink);
}

static void test_null(void) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_sink *sink = mdc_sink_null_new(&err);
    if (sink == NULL) exit(1);
    CHECK(sink->ops->write(sink, "MDMP", 4, &err) == MDC_OK && sink->ops->hole(sink, 5, &err) == MDC_OK);
    CHECK(sink->ops->patch(sink, 0, "MDMP", 4, &err) == MDC_OK && sink->position == 9);
    CHECK(sink->ops->patch(sink, 6, "MDMP", 4, &err) == MDC_ERR_INVALID);
    sink->ops->free(sink);
}

int main(void) {
    test_io();
    test_io_refusals();
    test_memory();
    test_null();
    return failures != 0;
}
