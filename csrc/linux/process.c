/* Reading /proc/PID (see process.h). */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/fail.h"
#include "proc_maps.h"

/* A stat line is shorter: the name has 64 bytes, escaped to four times as many, and 51 numbers at most 20. */
enum { STAT_BYTES = 4096, STATUS_MAX = 64 * 1024, READ_CHUNK = 16 * 1024 };

/* Files of one record, which the kernel makes whole (single_open; auxv is copied out of the process): a read that does
 * not fill its buffer has got the end, and no other has to say so. Others (maps, cpuinfo) end a read where a record
 * would not fit. */
static bool of_one_record(const char *name) {
    static const char *const names[] = {"status", "limits", "auxv"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

mdc_status mdc_process_read_text(int directory, const char *name, size_t limit, mdc_vec *bytes, bool *cut,
                                 mdc_error *err) {
    *cut = false;
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return mdc_map_fail(err, errno, name, "open");
    const size_t start = bytes->count;
    const bool whole = of_one_record(name);
    mdc_status status = MDC_OK;
    while (status == MDC_OK && !*cut) {
        uint8_t chunk[READ_CHUNK];
        ssize_t got;
        do {
            got = read(fd, chunk, sizeof chunk);
        } while (got < 0 && errno == EINTR);
        if (got == 0) break;
        if (got < 0) {
            status = mdc_map_fail(err, errno, name, "read");
            continue;
        }
        size_t room = limit - (bytes->count - start);
        *cut = (size_t)got > room;
        status = mdc_vec_push(bytes, chunk, *cut ? room : (size_t)got, NULL, err);
        if (whole && (size_t)got < sizeof chunk) break;
    }
    close(fd);
    if (status != MDC_OK) bytes->count = start;
    if (!*cut) return status;
    const uint8_t *text = bytes->data;
    while (bytes->count > start && text[bytes->count - 1] != '\n') bytes->count--;
    return status;
}

mdc_status mdc_process_read_file(int directory, const char *name, size_t limit, mdc_vec *bytes, mdc_error *err) {
    const size_t start = bytes->count;
    bool cut;
    mdc_status status = mdc_process_read_text(directory, name, limit, bytes, &cut, err);
    if (status != MDC_OK || !cut) return status;
    bytes->count = start;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "%s is longer than %zu bytes", name, limit);
}

/* One blank-separated number of stat, signed or not (negative ones wrap, as the caller's types expect). */
static bool next_number(const char **at, const char *end, uint64_t *value) {
    const char *p = *at;
    while (p < end && *p == ' ') p++;
    bool negative = p < end && *p == '-';
    if (negative) p++;
    const char *digits = p;
    uint64_t sum = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) sum = sum * 10 + (uint64_t)(*p - '0');
    if (p == digits) return false;
    *value = negative ? 0 - sum : sum;
    *at = p;
    return true;
}

/* Fields by their number in proc_pid_stat(5). 3 is a letter; what follows are numbers. */
static bool parse_stat(const char *text, size_t size, mdc_process_stat *stat) {
    enum { FIRST = 4, LAST = 52 };
    uint64_t field[LAST + 1] = {0};
    /* The name may hold anything, parentheses, blanks and newlines too: it ends at the last one. */
    const char *open = memchr(text, '(', size);
    const char *close = memrchr(text, ')', size);
    if (open == NULL || close == NULL || close < open || size - (size_t)(close - text) < 4) return false;
    size_t length = (size_t)(close - open) - 1;
    stat->name_size = (uint32_t)(length < sizeof stat->name ? length : sizeof stat->name);
    memcpy(stat->name, open + 1, stat->name_size);
    stat->state = close[2];
    const char *at = close + 3;
    for (int i = FIRST; i <= LAST; i++) {
        if (next_number(&at, text + size, &field[i])) continue;
        if (i <= 28) return false; /* the later ones came with Linux 3.3 and 3.5 */
        break;
    }
    stat->ppid = (int32_t)field[4];
    stat->flags = field[9];
    stat->user_ticks = field[14];
    stat->kernel_ticks = field[15];
    stat->priority = (int64_t)field[18];
    stat->nice = (int64_t)field[19];
    stat->threads = (uint32_t)field[20];
    stat->start_time = field[22];
    stat->resident_pages = field[24];
    const bool memory = field[23] != 0 || (stat->flags & MDC_PF_KTHREAD) != 0; /* 23: the size of all mappings */
    stat->ended = stat->state == 'Z' || stat->state == 'X' || !memory;
    stat->start_stack = field[28];
    stat->arg_start = field[48];
    stat->arg_end = field[49];
    stat->env_start = field[50];
    stat->env_end = field[51];
    stat->exit_code = (int32_t)field[52];
    return true;
}

int mdc_process_parse_stat(int file, mdc_process_stat *stat) {
    char text[STAT_BYTES];
    size_t used = 0;
    memset(stat, 0, sizeof *stat);
    while (used < sizeof text) {
        ssize_t got = pread(file, text + used, sizeof text - used, (off_t)used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) break;
        used += (size_t)got;
        if (text[used - 1] == '\n' && used < sizeof text) break; /* mostly the only read: a name may have one, too */
    }
    return used > 0 && parse_stat(text, used, stat) ? 0 : EBADMSG;
}

mdc_status mdc_process_read_stat(int directory, mdc_process_stat *stat, mdc_error *err) {
    return mdc_process_read_stat_at(directory, "stat", stat, err);
}

mdc_status mdc_process_read_stat_at(int directory, const char *name, mdc_process_stat *stat, mdc_error *err) {
    int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        memset(stat, 0, sizeof *stat);
        return mdc_map_fail(err, errno, "stat", "open");
    }
    int os_errno = mdc_process_parse_stat(file, stat);
    close(file);
    if (os_errno == EBADMSG) return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "malformed /proc/PID/stat");
    return os_errno == 0 ? MDC_OK : mdc_map_fail(err, os_errno, "stat", "read");
}

bool mdc_process_same_program(int directory, const mdc_process_stat *stat) {
    mdc_process_stat now;
    mdc_error ignored;
    mdc_error_clear(&ignored);
    return mdc_process_read_stat(directory, &now, &ignored) == MDC_OK && now.start_stack == stat->start_stack;
}

mdc_status mdc_process_status_number(int directory, const char *name, long *value, mdc_error *err) {
    return mdc_process_status_numbers(directory, &name, value, 1, err);
}

mdc_status mdc_process_status_numbers(int directory, const char *const *names, long *values, size_t count,
                                      mdc_error *err) {
    mdc_vec text;
    mdc_vec_init(&text, 1);
    for (size_t i = 0; i < count; i++) values[i] = -1;
    bool cut; /* before the groups, of which there may be thousands: the wanted fields come before them */
    mdc_status status = mdc_process_read_text(directory, "status", STATUS_MAX, &text, &cut, err);
    if (status == MDC_OK) status = mdc_vec_push(&text, "", 1, NULL, err); /* a string */
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        const char *at = strstr(text.data, names[i]);
        if (at != NULL) values[i] = strtol(at + strlen(names[i]), NULL, 10);
    }
    mdc_vec_fini(&text);
    return status;
}

static int compare_tids(const void *a, const void *b) {
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    return (left > right) - (left < right);
}

mdc_status mdc_process_threads(int directory, mdc_vec *tids, mdc_error *err) {
    mdc_status status = MDC_OK;
    int fd = openat(directory, "task", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) return mdc_map_fail(err, errno, "task", "open");
    DIR *list = fdopendir(fd);
    if (list == NULL) {
        int os_errno = errno;
        close(fd);
        return mdc_map_fail(err, os_errno, "task", "read");
    }
    const size_t start = tids->count;
    const struct dirent *entry;
    errno = 0;
    while (status == MDC_OK && (entry = readdir(list)) != NULL) {
        char *end;
        long tid = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && tid > 0 && tid <= INT32_MAX) {
            int32_t number = (int32_t)tid;
            status = mdc_vec_push(tids, &number, 1, NULL, err);
        }
        errno = 0;
    }
    if (status == MDC_OK && errno != 0) status = mdc_map_fail(err, errno, "task", "read");
    closedir(list);
    if (status != MDC_OK) return status;
    int32_t *found = (int32_t *)tids->data + start;
    size_t count = tids->count - start;
    if (count == 0) return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_CAPTURE, ESRCH, "the target has no threads");
    qsort(found, count, sizeof *found, compare_tids);
    return MDC_OK;
}
