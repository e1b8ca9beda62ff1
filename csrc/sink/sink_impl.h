/* What the sinks of this room share: the fault that stays, and the signals a write can raise.
 *
 * An operation does its work only while `fault` is empty, fails into `fault`, and ends with mdc_sink_status(). So the
 * first fault of a sink is also the answer of every later call. */
#ifndef MDC_SINK_SINK_IMPL_H
#define MDC_SINK_SINK_IMPL_H

#include <signal.h>
#include <sys/stat.h>

#include "sink.h"

typedef struct mdc_sink_base {
    mdc_sink sink; /* first: a mdc_sink * of ours is a mdc_sink_base * */
    mdc_error fault;
    bool finished; /* finish() has been called: it works once */
} mdc_sink_base;

void mdc_sink_setup(mdc_sink_base *base, const mdc_sink_ops *ops, bool patchable, bool sparse);
/* The fault as the answer of an operation. */
mdc_status mdc_sink_status(const mdc_sink_base *base, mdc_error *err);
/* true if `size` more bytes may be written; otherwise the fault says why not. */
bool mdc_sink_accepts(mdc_sink_base *base, uint64_t size);
/* true if [offset, offset + size) has been written already; otherwise the fault says so. */
bool mdc_sink_accepts_patch(mdc_sink_base *base, uint64_t offset, uint64_t size);
/* true the first time, while there is no fault. */
bool mdc_sink_finishes(mdc_sink_base *base);
/* MDC_ERR_SINK into the fault if the fail point of this name is armed; false then. */
#define mdc_sink_passes(base, name) mdc_sink_passed(base, MDC_FAILPOINT(name))
bool mdc_sink_passed(mdc_sink_base *base, int os_errno);

/* The two kinds of descriptor (sink_fd.c chooses). */
mdc_sink *mdc_sink_file_new(int fd, const struct stat *about, int64_t position, mdc_error *err);
mdc_sink *mdc_sink_stream_new(int fd, const struct stat *about, int flags, mdc_monitor *monitor, mdc_error *err);

/* Around a write: a closed pipe raises SIGPIPE and a file size limit SIGXFSZ, both for the writing thread. Neither may
 * end the process, and neither may stay pending for the caller, who never asked for it. */
typedef struct mdc_quiet {
    sigset_t before;  /* the thread's mask */
    sigset_t pending; /* what was pending already, and stays so */
} mdc_quiet;

void mdc_quiet_enter(mdc_quiet *quiet);
/* os_errno: of the failed write, 0 if it went well. */
void mdc_quiet_leave(const mdc_quiet *quiet, int os_errno);

#endif
