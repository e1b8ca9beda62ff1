/* The text of /proc/PID/maps and smaps: lines of any length read through one fixed buffer. */
#ifndef MDC_LINUX_PROC_MAPS_H
#define MDC_LINUX_PROC_MAPS_H

#include "../api/error.h"
#include "../format/map_line.h"

typedef struct mdc_map_reader mdc_map_reader;

/* Opens `name` ("maps", "smaps") below proc. NULL with *err filled: MDC_ERR_ACCESS, MDC_ERR_TARGET_GONE, ... */
mdc_map_reader *mdc_map_reader_new(int proc, const char *name, mdc_error *err);
void mdc_map_reader_free(mdc_map_reader *reader);
/* The next line without its newline, valid (and writable) until the next call. *line is NULL at the end. Of a line
 * longer than the buffer the rest is dropped. */
mdc_status mdc_map_reader_line(mdc_map_reader *reader, uint8_t **line, size_t *size, mdc_error *err);
/* What is read already and comes next, for a caller that finds the ends of its lines faster; and what it has taken of
 * it. */
const uint8_t *mdc_map_reader_peek(const mdc_map_reader *reader, size_t *size);
void mdc_map_reader_skip(mdc_map_reader *reader, size_t size);

/* The status for an errno that a file of a process gave. */
mdc_status mdc_map_fail(mdc_error *err, int os_errno, const char *name, const char *what);

#endif
