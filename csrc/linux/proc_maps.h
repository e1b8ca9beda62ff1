/* The text of /proc/PID/maps and smaps: lines of any length read through one fixed buffer, and their mapping lines. */
#ifndef MDC_LINUX_PROC_MAPS_H
#define MDC_LINUX_PROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"

/* mdc_map_record.perms; the same bits as PROCMAP_QUERY_VMA_*. */
enum { MDC_PERM_READ = 1, MDC_PERM_WRITE = 2, MDC_PERM_EXECUTE = 4, MDC_PERM_SHARED = 8, MDC_PERM_ACCESS = 7 };

/* One mapping as reported by the kernel. */
typedef struct mdc_map_record {
    uint64_t first;
    uint64_t end;
    uint64_t file_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t perms;
    const uint8_t *name; /* raw bytes, valid until the next record; NULL if it was not asked for */
    size_t name_size;
} mdc_map_record;

typedef struct mdc_map_reader mdc_map_reader;

/* Opens `name` ("maps", "smaps") below proc. NULL with *err filled: MDC_ERR_ACCESS, MDC_ERR_TARGET_GONE, ... */
mdc_map_reader *mdc_map_reader_new(int proc, const char *name, mdc_error *err);
void mdc_map_reader_free(mdc_map_reader *reader);
/* The next line without its newline, valid (and writable) until the next call. *line is NULL at the end. Of a line
 * longer than the buffer the rest is dropped. */
mdc_status mdc_map_reader_line(mdc_map_reader *reader, uint8_t **line, size_t *size, mdc_error *err);

/* Does this line begin a mapping (in smaps the others are "Key: value")? */
bool mdc_map_is_header(const uint8_t *line, size_t size);
/* Takes the line apart; the name's escapes are undone in place. false if it is malformed. */
bool mdc_map_parse(uint8_t *line, size_t size, mdc_map_record *record);

/* The status for an errno that a file of a process gave. */
mdc_status mdc_map_fail(mdc_error *err, int os_errno, const char *name, const char *what);

#endif
