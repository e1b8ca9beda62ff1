/* What a reader of a minidump sees beside the snapshot. */
#ifndef MDC_DUMPFILE_DUMP_VIEW_H
#define MDC_DUMPFILE_DUMP_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "../source/snapshot.h"

/* cdef: begin */
/* An entry of the directory, as it is in the file: of type 0, or leading outside of the file, too. */
typedef struct mdc_dump_entry {
    uint32_t type;
    uint32_t size; /* bytes */
    uint32_t rva;
} mdc_dump_entry;

/* Damage that a tolerant reader met. */
typedef struct mdc_dump_fault {
    uint32_t stream;   /* type of the stream it is in */
    char message[480]; /* UTF-8, NUL-terminated: what, offset, reason */
} mdc_dump_fault;

/* An exception stream: MINIDUMP_EXCEPTION, and what its context says. */
typedef struct mdc_dump_exception {
    uint32_t tid;
    uint32_t code;
    uint32_t flags;
    uint32_t parameter_count; /* as in the file: may be more than 15 */
    uint64_t address;
    uint64_t parameters[15];
    const uint8_t *context; /* NULL: none */
    uint32_t context_size;  /* bytes */
    uint32_t context_rva;
    uint64_t instruction_pointer; /* 0: not known */
    uint64_t stack_pointer;
} mdc_dump_exception;

/* A mapping in the text of LinuxMaps. */
typedef struct mdc_dump_mapping {
    uint64_t first;
    uint64_t end;
    uint64_t file_offset;
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t perms;   /* MDC_PERM_* */
    uint32_t facts;   /* MDC_FACT_DELETED */
    uint32_t name_id; /* 0: none; else into the names of the snapshot, as that of a region */
    uint32_t reserved;
} mdc_dump_mapping;

/* Lists of the view and of the snapshot, by the stream they come from. */
enum {
    MDC_DUMP_THREADS = 0,
    MDC_DUMP_MODULES = 1,
    MDC_DUMP_HANDLES = 2,
    MDC_DUMP_INFOS = 3,
    MDC_DUMP_RANGES = 4, /* of both memory lists */
    MDC_DUMP_UNLOADED = 5,
    MDC_DUMP_LISTS = 6
};

typedef struct mdc_dump_view {
    const mdc_dump_entry *entries;
    size_t entry_count;
    const mdc_dump_exception *exceptions;
    size_t exception_count;
    const mdc_dump_fault *faults;
    size_t fault_count;
    const mdc_region *infos; /* the entries of MemoryInfoList as they are: overlapping, free, not aligned */
    size_t info_count;
    const mdc_dump_mapping *mappings; /* by `first`; they may overlap */
    size_t mapping_count;
    uint64_t lengths[MDC_DUMP_LISTS]; /* MDC_DUMP_*: entries in the file, of which a limited reader takes fewer */
    uint32_t process_known;           /* 1: process_id is that of the file */
    uint32_t process_id;
    uint32_t system_known; /* 1: there is a SystemInfo */
    uint32_t reserved;
} mdc_dump_view;
/* cdef: end */

#endif
