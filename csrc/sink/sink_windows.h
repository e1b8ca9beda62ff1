/* HANDLEs as sinks: the two kinds, and the one way to write to either. */
#ifndef MDC_SINK_SINK_WINDOWS_H
#define MDC_SINK_SINK_WINDOWS_H

#include <windows.h>

#include "sink_impl.h"

/* The two kinds of handle (sink_fd_windows.c chooses). The second takes what is only written forwards; `durable` says
 * that flushing it means something and returns. */
mdc_sink *mdc_sink_file_new(HANDLE handle, uint64_t size, uint64_t position, mdc_error *err);
mdc_sink *mdc_sink_stream_new(HANDLE handle, bool durable, mdc_dump_control *control, mdc_error *err);

/* Begins one write at this offset, which a stream ignores; works with handles that were opened for overlapped I/O and
 * with those that were not. `event` is manual-reset. ERROR_IO_PENDING: *operation has to be waited for, with
 * GetOverlappedResult. Else 0 and the bytes that were taken, or the error. */
DWORD mdc_handle_write(HANDLE handle, HANDLE event, uint64_t offset, const void *data, size_t size, DWORD *done,
                       OVERLAPPED *operation);

#endif
