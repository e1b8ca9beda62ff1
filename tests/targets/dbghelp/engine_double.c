/* A DLL in place of dbghelp.dll whose MiniDumpWriteDump is this package's own engine over its Windows source, speaking
 * the plain protocol: every callback type is driven over a real process by something that is not the test. Linked with
 * the rooms of csrc. */
#include <stdatomic.h>
#include <windows.h>

#include "../../../csrc/base/fail.h"
#include "../../../csrc/base/vec.h"
#include "../../../csrc/engine/engine.h"
#include "../../../csrc/windows/win_live.h"

__declspec(dllexport) BOOL WINAPI MiniDumpWriteDump(HANDLE process, DWORD pid, HANDLE file, uint32_t type,
                                                    MINIDUMP_EXCEPTION_INFORMATION *exception,
                                                    MINIDUMP_USER_STREAM_INFORMATION *streams,
                                                    MINIDUMP_CALLBACK_INFORMATION *callback);

static mdc_status write_dump(HANDLE process, DWORD pid, HANDLE file, const mdc_engine_options *options,
                             mdc_error *err) {
    mdc_dump_control control;
    mdc_control_init(&control, 0);
    mdc_win_live_options live = {.pid = (int32_t)pid, .process = (int64_t)(intptr_t)process};
    mdc_source *source = mdc_win_live_new(&live, err);
    mdc_sink *sink = source != NULL ? mdc_sink_fd_new((intptr_t)file, &control, err) : NULL;
    mdc_dump *dump = sink != NULL ? mdc_dump_new(options, source, sink, &control, err) : NULL;
    if (dump != NULL) mdc_dump_run(dump, err);
    mdc_dump_free(dump);
    if (sink != NULL) sink->ops->free(sink);
    if (source != NULL) source->ops->free(source);
    return err->code;
}

BOOL WINAPI MiniDumpWriteDump(HANDLE process, DWORD pid, HANDLE file, uint32_t type,
                              MINIDUMP_EXCEPTION_INFORMATION *exception, MINIDUMP_USER_STREAM_INFORMATION *streams,
                              MINIDUMP_CALLBACK_INFORMATION *callback) {
    mdc_error err;
    mdc_error_clear(&err);
    mdc_engine_options options = {.dump_type = type};
    mdc_user_stream *copies = NULL;
    if (callback != NULL) options.callback = *callback;
    if (exception != NULL)
        options.exception = (mdc_exception_info){.thread_id = exception->ThreadId,
                                                 .client = exception->ClientPointers,
                                                 .pointers = (uint64_t)(uintptr_t)exception->ExceptionPointers};
    if (streams != NULL && streams->UserStreamCount != 0) {
        copies = mdc_alloc(streams->UserStreamCount, sizeof *copies, &err);
        for (uint32_t i = 0; copies != NULL && i < streams->UserStreamCount; i++)
            copies[i] = (mdc_user_stream){.type = streams->UserStreamArray[i].Type,
                                          .data = streams->UserStreamArray[i].Buffer,
                                          .size = streams->UserStreamArray[i].BufferSize};
        options.user_streams = copies;
        options.user_stream_count = streams->UserStreamCount;
    }
    if (err.code == MDC_OK) write_dump(process, pid, file, &options, &err);
    mdc_dealloc(copies);
    SetLastError(err.hresult);
    return err.code == MDC_OK;
}
