/* Everything that is only written forwards: pipes, sockets, terminals, devices, files opened with O_APPEND.
 *
 * A reader that stalls must not hold the worker longer than the dump control allows, and O_NONBLOCK belongs to the open
 * file description, which others may share (a shell's terminal, a parent's pipe): so it is never switched on there.
 * - A pipe or a terminal is opened again through /proc/self/fd, which makes a description of our own.
 * - A socket has MSG_DONTWAIT per call.
 * - Elsewhere, and where that is refused: poll, then a piece so small that a writable descriptor takes it at once (a
 *   pipe that polls writable has room for PIPE_BUF bytes, pipe(7)).
 * - Files and block devices do not wait for a reader, and polling them says nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/ioctl_request.h"
#include "../base/vec.h"
#include "sink_posix.h"

enum {
    SLICE_MS = 50,        /* how long a stalled reader can hide a cancel or a deadline */
    PIPE_BYTES = 1 << 20, /* what a pipe should hold: the rights of an ordinary user end there */
    ZERO_BYTES = 4096,
    ZERO_PARTS = 64
};

static const uint8_t ZEROS[ZERO_BYTES];

typedef enum stream_way { WAY_PLAIN, WAY_NONBLOCK, WAY_SEND, WAY_POLLED } stream_way;

typedef struct stream_sink {
    mdc_sink_base base;
    mdc_dump_control *control;
    int fd;
    int own_fd; /* the description of our own, or -1 */
    stream_way way;
    size_t piece; /* bytes handed over at once */
    bool durable; /* fsync means something */
    bool pipe;
} stream_sink;

/* One write of at most a piece; data NULL: zeros. Returns what write returns, errno in *os_errno. */
static ssize_t attempt(const stream_sink *stream, const uint8_t *data, size_t size, int *os_errno) {
    struct iovec parts[ZERO_PARTS];
    unsigned short count = 0; /* msg_iovlen is a size_t or an int */
    size_t left = size < stream->piece ? size : stream->piece;
    if (data != NULL) {
        parts[count++] = (struct iovec){(void *)(uintptr_t)data, left};
    } else {
        while (left > 0 && count < ZERO_PARTS) {
            size_t part = left < ZERO_BYTES ? left : ZERO_BYTES;
            parts[count++] = (struct iovec){(void *)(uintptr_t)ZEROS, part};
            left -= part;
        }
    }
    ssize_t done;
    if (stream->way == WAY_SEND) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        done = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        done = writev(stream->own_fd >= 0 ? stream->own_fd : stream->fd, parts, count);
    }
    *os_errno = done < 0 ? errno : 0;
    return done;
}

/* Waits a slice for room. true: there may be some. */
static bool wait_for_room(const stream_sink *stream) {
    struct pollfd one = {.fd = stream->own_fd >= 0 ? stream->own_fd : stream->fd, .events = POLLOUT};
    return poll(&one, 1, SLICE_MS) > 0; /* POLLERR and POLLHUP too: the write says what it is */
}

static void stream_fail(stream_sink *stream, int os_errno) {
    if (os_errno == EPIPE || os_errno == ECONNRESET)
        mdc_fail(&stream->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, os_errno,
                 "the reader closed the output at offset %" PRIu64, stream->base.sink.position);
    else
        mdc_fail(&stream->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, os_errno,
                 "cannot write the output at offset %" PRIu64, stream->base.sink.position);
}

/* Writes all of it, or fails into the fault; the position counts what went out. data NULL: zeros. */
static void put(stream_sink *stream, const uint8_t *data, uint64_t size) {
    mdc_quiet quiet;
    int os_errno = 0;
    bool ready = stream->way != WAY_POLLED;
    bool refused = false; /* the last wait said there was room, and the write said there was none */
    mdc_quiet_enter(&quiet);
    while (size > 0 && mdc_control_check(stream->control, &stream->base.fault) == MDC_OK) {
        if (!ready && !wait_for_room(stream)) continue;
        ssize_t done = attempt(stream, data, size > SIZE_MAX ? SIZE_MAX : (size_t)size, &os_errno);
        if (done > 0) {
            mdc_control_step(stream->control);
            if (data != NULL) data += done;
            size -= (uint64_t)done;
            stream->base.sink.position += (uint64_t)done;
            ready = stream->way != WAY_POLLED;
            refused = false;
        } else if (os_errno == EAGAIN || os_errno == EWOULDBLOCK) {
            if (refused) poll(NULL, 0, SLICE_MS); /* no busy loop on a descriptor that cannot make up its mind */
            refused = !ready;
            ready = false;
        } else if (os_errno != EINTR) {
            if (os_errno == 0) os_errno = EIO; /* nothing written, no reason given */
            break;
        }
        os_errno = 0;
    }
    mdc_quiet_leave(&quiet, os_errno);
    if (os_errno != 0) stream_fail(stream, os_errno);
}

/* A pipe holds 64 KiB, and each time it is full or empty one side waits for the other. A large dump makes it larger,
 * where the system lets us; never smaller. */
static mdc_status stream_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    (void)written;
    if (stream->pipe && planned >= PIPE_BYTES) {
        int holds = fcntl(stream->fd, F_GETPIPE_SZ);
        if (holds > 0 && holds < PIPE_BYTES) (void)fcntl(stream->fd, F_SETPIPE_SZ, (int)PIPE_BYTES);
    }
    return mdc_sink_status(&stream->base, err);
}

static mdc_status stream_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    if (mdc_sink_accepts(&stream->base, size) && mdc_sink_passes(&stream->base, "write:chunk")) put(stream, data, size);
    return mdc_sink_status(&stream->base, err);
}

static mdc_status stream_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    if (mdc_sink_accepts(&stream->base, size)) put(stream, NULL, size);
    return mdc_sink_status(&stream->base, err);
}

static mdc_status stream_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    (void)data;
    mdc_sink_accepts_patch((mdc_sink_base *)sink, offset, size); /* never: fills the fault */
    return mdc_sink_status((mdc_sink_base *)sink, err);
}

static mdc_status stream_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    stream_sink *stream = (stream_sink *)sink;
    if (mdc_sink_finishes(&stream->base) && mdc_sink_passes(&stream->base, "sink:finish") && flush && stream->durable &&
        fsync(stream->fd) != 0)
        mdc_fail(&stream->base.fault, MDC_ERR_SINK, MDC_PHASE_FINISH, errno, "cannot flush the output");
    return mdc_sink_status(&stream->base, err);
}

static void stream_free(mdc_sink *sink) {
    stream_sink *stream = (stream_sink *)sink;
    if (stream->own_fd >= 0) close(stream->own_fd);
    mdc_dealloc(stream);
}

static const mdc_sink_ops STREAM_OPS = {stream_begin, stream_write,  stream_hole,
                                        stream_patch, stream_finish, stream_free};

/* -1 if it is refused: no /proc, a pipe of another user, or a pipe without a reader (the write will say so). Never one
 * of the standard streams' numbers, should those be closed: messages of other threads would get into the dump. */
static int open_again(int fd) {
    char path[32];
    int held[3], count = 0, own = -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    while (count < 3 && (held[count] = open("/", O_PATH | O_CLOEXEC)) >= 0)
        if (held[count++] > 2) break;
    own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    while (count > 0) close(held[--count]);
    return own;
}

static void choose_way(stream_sink *stream, mode_t mode, int flags) {
    unsigned number;
    stream->piece = 1 << 20;
    stream->way = WAY_PLAIN;
    stream->pipe = S_ISFIFO(mode);
    if (S_ISREG(mode) || S_ISBLK(mode)) {
        stream->durable = true;
    } else if (S_ISSOCK(mode)) {
        stream->way = WAY_SEND;
    } else if ((flags & O_NONBLOCK) != 0) {
        stream->way = WAY_NONBLOCK;
    } else {
        bool terminal = S_ISCHR(mode) && isatty(stream->fd);
        /* Opening a pty's master again would make a new pty, and opening a device may do anything. */
        if (S_ISFIFO(mode) || (terminal && ioctl(stream->fd, (mdc_ioctl_request)TIOCGPTN, &number) != 0))
            stream->own_fd = open_again(stream->fd);
        stream->way = stream->own_fd >= 0 ? WAY_NONBLOCK : WAY_POLLED;
        if (stream->way == WAY_POLLED) stream->piece = S_ISFIFO(mode) ? PIPE_BUF : terminal ? 256 : 1 << 16;
    }
}

mdc_sink *mdc_sink_stream_new(int fd, const struct stat *about, int flags, mdc_dump_control *control, mdc_error *err) {
    stream_sink *stream = mdc_alloc(1, sizeof *stream, err);
    if (stream == NULL) return NULL;
    mdc_sink_setup(&stream->base, &STREAM_OPS, false, false);
    stream->control = control;
    stream->fd = fd;
    stream->own_fd = -1;
    choose_way(stream, about->st_mode, flags);
    return &stream->base.sink;
}
