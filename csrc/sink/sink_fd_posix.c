/* A descriptor as a sink: looks what it is, and hands it to sink_file_posix.c or sink_stream_posix.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "../base/fail.h"
#include "sink_posix.h"

static mdc_sink *with_descriptor(mdc_sink *sink, int fd) {
    if (sink != NULL) sink->fd = fd;
    return sink;
}

mdc_sink *mdc_sink_fd_new(intptr_t number, mdc_dump_control *control, mdc_error *err) {
    int fd = number >= 0 && number <= INT_MAX ? (int)number : -1;
    int flags = fcntl(fd, F_GETFL);
    struct stat about;
    if (flags < 0 || fstat(fd, &about) != 0) {
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, errno, "cannot write to descriptor %d", fd);
        return NULL;
    }
    if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0) {
        /* Asked here, because reopening a pipe below would get round the missing permission. */
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, EBADF, "descriptor %d is not open for writing", fd);
        return NULL;
    }
    if ((flags & O_DIRECT) != 0 && S_ISREG(about.st_mode)) {
        mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, EINVAL,
                 "descriptor %d was opened with O_DIRECT, which takes aligned blocks only: open it without this flag",
                 fd);
        return NULL;
    }
    if (S_ISREG(about.st_mode) && (flags & O_APPEND) == 0) {
        off_t position = lseek(fd, 0, SEEK_CUR);
        if (position >= 0) return with_descriptor(mdc_sink_file_new(fd, &about, position, err), fd);
    }
    return with_descriptor(mdc_sink_stream_new(fd, &about, flags, control, err), fd);
}
