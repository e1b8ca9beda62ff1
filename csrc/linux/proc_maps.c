/* Lines of any length (see proc_maps.h). */
#include "proc_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "../base/vec.h"

/* A name of PATH_MAX bytes that are all escaped takes four times as many, and the fields before it about 80. */
enum { READER_BYTES = 32 * 1024 };

struct mdc_map_reader {
    int fd;
    bool ended;
    const char *name;
    size_t first; /* unread bytes are [first, used) */
    size_t used;
    size_t usual; /* what is asked of the kernel at once; 0: as much as there is room for */
    uint8_t buffer[READER_BYTES];
};

mdc_status mdc_map_fail(mdc_error *err, int os_errno, const char *name, const char *what) {
    mdc_status code = MDC_ERR_TARGET;
    if (os_errno == EACCES || os_errno == EPERM) code = MDC_ERR_ACCESS;
    if (os_errno == ESRCH || os_errno == ENOENT) code = MDC_ERR_TARGET_GONE;
    if (mdc_is_shortage_number(os_errno)) {
        char want[96];
        snprintf(want, sizeof want, "cannot %s /proc/PID/%s", what, name);
        return mdc_fail_short(err, MDC_PHASE_CAPTURE, os_errno, want);
    }
    return mdc_fail(err, code, MDC_PHASE_CAPTURE, os_errno, "cannot %s /proc/PID/%s", what, name);
}

mdc_map_reader *mdc_map_reader_new(int proc, const char *name, mdc_error *err) {
    mdc_map_reader *reader = mdc_alloc_buffer(1, sizeof *reader, err);
    if (reader == NULL) return NULL;
    reader->first = reader->used = reader->usual = 0;
    reader->ended = false;
    reader->name = name;
    reader->fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        mdc_map_fail(err, errno, name, "open");
        mdc_dealloc(reader);
        return NULL;
    }
    return reader;
}

void mdc_map_reader_free(mdc_map_reader *reader) {
    if (reader == NULL) return;
    close(reader->fd);
    mdc_dealloc(reader);
}

/* A read gives the records that fit into a buffer of the kernel, a page. It has made one more, which did not fit and is
 * thrown away (seq_read_iter in fs/seq_file.c), unless those before it are all that was asked for: of smaps, that is
 * every sixth. So as much is asked for as came the last time, and a little less, as records differ a little; where
 * they are longer, fewer of them fit, and it is found out anew. */
static size_t ask_for(const mdc_map_reader *reader) {
    const size_t room = sizeof reader->buffer - reader->used;
    return reader->usual != 0 && reader->usual < room ? reader->usual : room;
}

static void learn(mdc_map_reader *reader, size_t asked, size_t got) {
    if (got == asked) return;
    reader->usual = asked == reader->usual ? 0 : got - got / 128;
}

static mdc_status refill(mdc_map_reader *reader, mdc_error *err) {
    memmove(reader->buffer, reader->buffer + reader->first, reader->used - reader->first);
    reader->used -= reader->first;
    reader->first = 0;
    const size_t asked = ask_for(reader);
    ssize_t got;
    do {
        got = read(reader->fd, reader->buffer + reader->used, asked);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return mdc_map_fail(err, errno, reader->name, "read");
    if (got == 0) reader->ended = true;
    learn(reader, asked, (size_t)got);
    reader->used += (size_t)got;
    return MDC_OK;
}

mdc_status mdc_map_reader_line(mdc_map_reader *reader, uint8_t **line, size_t *size, mdc_error *err) {
    *line = NULL;
    *size = 0;
    size_t searched = 0; /* bytes after first without a newline */
    for (;;) {
        uint8_t *from = reader->buffer + reader->first;
        size_t there = reader->used - reader->first;
        uint8_t *newline = memchr(from + searched, '\n', there - searched);
        if (newline != NULL) {
            *line = from;
            *size = (size_t)(newline - from);
            reader->first += *size + 1;
            return MDC_OK;
        }
        if (reader->ended || (reader->first == 0 && reader->used == sizeof reader->buffer)) break;
        searched = there;
        mdc_status status = refill(reader, err);
        if (status != MDC_OK) return status;
    }
    if (reader->used == reader->first) return MDC_OK;
    /* The last line without a newline, or one longer than the buffer: its head is kept at the front of the buffer,
     * what follows is read into the last bytes again and again until its newline. */
    size_t head = reader->used - reader->first;
    if (!reader->ended) head = sizeof reader->buffer / 2;
    *line = reader->buffer + reader->first;
    *size = head;
    while (!reader->ended) {
        uint8_t *tail = reader->buffer + head;
        ssize_t got = read(reader->fd, tail, sizeof reader->buffer - head);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return mdc_map_fail(err, errno, reader->name, "read");
        reader->used = head + (size_t)got;
        if (got == 0) reader->ended = true;
        uint8_t *newline = memchr(tail, '\n', (size_t)got);
        reader->first = newline != NULL ? (size_t)(newline - reader->buffer) + 1 : reader->used;
        if (newline != NULL) return MDC_OK;
    }
    reader->first = reader->used;
    return MDC_OK;
}

const uint8_t *mdc_map_reader_peek(const mdc_map_reader *reader, size_t *size) {
    *size = reader->used - reader->first;
    return reader->buffer + reader->first;
}

void mdc_map_reader_skip(mdc_map_reader *reader, size_t size) { reader->first += size; }
