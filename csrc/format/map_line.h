/* A line of /proc/PID/maps, as the kernel and the writers of minidumps have it. */
#ifndef MDC_FORMAT_MAP_LINE_H
#define MDC_FORMAT_MAP_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* Does this line begin a mapping (in smaps the others are "Key: value")? */
bool mdc_map_is_header(const uint8_t *line, size_t size);
/* Takes the line apart; the name's escapes are undone in place. false if it is malformed. */
bool mdc_map_parse(uint8_t *line, size_t size, mdc_map_record *record);
/* Linux protections in Windows' values; x86 has no write-only pages. */
uint32_t mdc_map_protection(uint32_t perms);

#endif
