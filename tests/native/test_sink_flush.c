/* Files and what is only appended to are flushed to the disk on request, once, when they are complete, and not
 * otherwise; what has no disk is not. */
#include "../../csrc/base/fail.h"
#include "../../csrc/sink/sink.h"
#include "check.h"
#include "flush_check.h"
#include "output_check.h"

enum { BYTES = 1500, FAULT = 5 }; /* what is written fits into a pipe */

/* A file that is only appended to, which is written as a stream. */
static int64_t output_append(void) {
#if defined(_WIN32)
    WCHAR folder[MAX_PATH], path[MAX_PATH];
    REQUIRE(GetTempPathW(MAX_PATH, folder) != 0 && GetTempFileNameW(folder, L"mdc", 0, path) != 0);
    HANDLE file = CreateFileW(path, FILE_APPEND_DATA | FILE_READ_ATTRIBUTES | DELETE | SYNCHRONIZE, 0, NULL,
                              CREATE_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    REQUIRE(file != INVALID_HANDLE_VALUE);
    return (int64_t)(intptr_t)file;
#else
    char path[] = "/tmp/mdc_output_XXXXXX";
    int fd = mkostemp(path, O_APPEND);
    REQUIRE(fd >= 0 && unlink(path) == 0);
    return fd;
#endif
}

static mdc_status write_out(int64_t fd, bool flush, mdc_error *err) {
    static const uint8_t block[BYTES];
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mdc_error_clear(err);
    flushed.calls = 0;
    mdc_sink *sink = mdc_sink_fd_new((intptr_t)fd, &control, err);
    REQUIRE(sink != NULL);
    REQUIRE(sink->ops->write(sink, block, sizeof block, err) == MDC_OK);
    REQUIRE(sink->ops->hole(sink, BYTES, err) == MDC_OK && flushed.calls == 0);
    mdc_status status = sink->ops->finish(sink, flush, err);
    sink->ops->free(sink);
    return status;
}

static void test_kept_on_a_disk(int64_t fd) {
    mdc_error err;
    CHECK(write_out(fd, false, &err) == MDC_OK && flushed.calls == 0);
    CHECK(write_out(fd, true, &err) == MDC_OK && flushed.calls == 1);
    CHECK(flushed.fd == (intptr_t)fd && flushed.size == 4 * (int64_t)BYTES); /* the second dump is after the first */
    flushed.os_errno = FAULT;
    CHECK(write_out(fd, true, &err) == MDC_ERR_SINK && err.os_errno == FAULT && err.phase == MDC_PHASE_FINISH);
    CHECK(write_out(fd, false, &err) == MDC_OK);
    flushed.os_errno = 0;
    output_close(fd);
}

static void test_pipe(void) {
    int64_t ends[2];
    mdc_error err;
    output_pipe(ends);
    CHECK(write_out(ends[1], true, &err) == MDC_OK && flushed.calls == 0);
    output_close(ends[1]);
    output_close(ends[0]);
}

int main(void) {
    test_kept_on_a_disk(output_file());
    test_kept_on_a_disk(output_append());
    test_pipe();
    return failures != 0;
}
