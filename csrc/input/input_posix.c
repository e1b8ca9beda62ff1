#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "../base/vec.h"
#include "input.h"

struct mdc_input {
    int fd;
    bool shared;                 /* the position of fd is that of the caller's descriptor */
    uint64_t size;               /* bytes */
    uint64_t run_first, run_end; /* offsets of the run that was found last */
    bool run_hole;
};

/* The same file once more, with a position of its own: SEEK_HOLE moves it. Without /proc, or where the file may not be
 * opened any more, the caller's is used and put back. */
static void own_position(mdc_input *input) {
    char path[40];
    struct stat a, b;
    snprintf(path, sizeof path, "/proc/self/fd/%d", input->fd);
    int fd = MDC_FAILPOINT("input:reopen") == 0 ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    if (fstat(input->fd, &a) != 0 || fstat(fd, &b) != 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
        close(fd);
        return;
    }
    close(input->fd);
    input->fd = fd;
    input->shared = false;
}

mdc_input *mdc_input_new(int64_t fd, mdc_error *err) {
    struct stat about;
    int own = fcntl(fd >= 0 && fd <= INT_MAX ? (int)fd : -1, F_DUPFD_CLOEXEC, 3);
    if (own < 0 || fstat(own, &about) != 0) {
        int problem = errno;
        if (own >= 0) close(own);
        if (mdc_is_shortage_number(problem))
            mdc_fail_short(err, MDC_PHASE_OPEN, problem, "cannot duplicate the input");
        else
            mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, problem, "cannot read descriptor %lld", (long long)fd);
        return NULL;
    }
    int mode = fcntl(own, F_GETFL);
    bool readable = mode >= 0 && (mode & O_ACCMODE) != O_WRONLY && (mode & O_PATH) == 0;
    mdc_input *input = NULL;
    if (!S_ISREG(about.st_mode) || !readable)
        mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                 readable ? "descriptor %lld is not a regular file" : "descriptor %lld is not open for reading",
                 (long long)fd);
    else
        input = mdc_alloc(1, sizeof *input, err);
    if (input == NULL) {
        close(own);
        return NULL;
    }
    *input = (mdc_input){.fd = own, .shared = true, .size = (uint64_t)about.st_size};
    own_position(input);
    return input;
}

void mdc_input_free(mdc_input *input) {
    if (input == NULL) return;
    close(input->fd);
    mdc_dealloc(input);
}

uint64_t mdc_input_size(const mdc_input *input) { return input->size; }

size_t mdc_input_read(const mdc_input *input, uint64_t offset, void *buffer, size_t size, int32_t *os_errno) {
    size_t done = 0;
    *os_errno = 0;
    if (offset >= input->size) return 0;
    size = (size_t)mdc_min_u64(size, input->size - offset);
    while (done < size) {
        ssize_t part = pread(input->fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (part > 0) {
            done += (size_t)part;
        } else if (part == 0) {
            break;
        } else if (errno != EINTR) {
            *os_errno = errno;
            break;
        }
    }
    return done;
}

/* The run that holds `offset`, which is inside of the file. */
static void find_run(mdc_input *input, uint64_t offset) {
    const off_t before = input->shared ? lseek(input->fd, 0, SEEK_CUR) : -1;
    off_t data = lseek(input->fd, (off_t)offset, SEEK_DATA);
    input->run_first = offset;
    input->run_hole = data < 0 ? errno == ENXIO : (uint64_t)data > offset; /* ENXIO: up to the end of the file */
    input->run_end = input->size;
    if (data >= 0) {
        off_t next = input->run_hole ? data : lseek(input->fd, (off_t)offset, SEEK_HOLE);
        if (next > (off_t)offset) input->run_end = mdc_min_u64((uint64_t)next, input->size);
    }
    if (before >= 0) (void)lseek(input->fd, before, SEEK_SET);
}

uint64_t mdc_input_run(mdc_input *input, uint64_t offset, uint64_t end, bool *hole) {
    *hole = false;
    if (offset >= input->size) return end;
    if (offset < input->run_first || offset >= input->run_end) find_run(input, offset);
    *hole = input->run_hole;
    return mdc_min_u64(input->run_end, end);
}
