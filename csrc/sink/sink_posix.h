/* Descriptors as sinks: the two kinds, and the signals a write can raise. */
#ifndef MDC_SINK_SINK_POSIX_H
#define MDC_SINK_SINK_POSIX_H

#include <signal.h>
#include <sys/stat.h>

#include "sink_impl.h"

/* The two kinds of descriptor (sink_fd_posix.c chooses). */
mdc_sink *mdc_sink_file_new(int fd, const struct stat *about, int64_t position, mdc_error *err);
mdc_sink *mdc_sink_stream_new(int fd, const struct stat *about, int flags, mdc_dump_control *control, mdc_error *err);

/* Around a write: a closed pipe raises SIGPIPE and a file size limit SIGXFSZ, both for the writing thread. Neither may
 * end the process, and neither may stay pending for the caller, which did not cause it. */
typedef struct mdc_quiet {
    sigset_t before;  /* the thread's mask */
    sigset_t pending; /* what was pending already, and stays so */
    bool blocked;     /* both were blocked already, as in a thread of ours */
} mdc_quiet;

void mdc_quiet_enter(mdc_quiet *quiet);
/* os_errno: of the failed write, 0 if it went well. */
void mdc_quiet_leave(const mdc_quiet *quiet, int os_errno);

#endif
