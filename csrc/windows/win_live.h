/* The live Windows process as a source: puts together what the other files of this room know. */
#ifndef MDC_WINDOWS_WIN_LIVE_H
#define MDC_WINDOWS_WIN_LIVE_H

#include "../base/dump_control.h"
#include "../source/source.h"

typedef struct mdc_win_live_options {
    int32_t pid;
    int64_t process;          /* 0, or a HANDLE of the caller, which is duplicated (pid may be 0 then) */
    int64_t shown_handle;     /* what callbacks see as ProcessHandle; 0: the source's own handle */
    uint64_t types;           /* MDC_TYPE_* for which something has to be gathered */
    uint64_t start_time;      /* 0, or the FILETIME of the target's creation */
    uint64_t stop_timeout_ns; /* how long one thread may take until its registers can be read; 0: 250 ms */
    uint64_t max_stop_ns;     /* how long the target may be stopped; 0: no limit but the dump control's deadline */
} mdc_win_live_options;

/* Touches nothing yet: prepare opens the target, and fills pid and handle of the source. Only programs of our own width
 * can be dumped. */
mdc_source *mdc_win_live_new(const mdc_win_live_options *options, mdc_error *err);

#endif
