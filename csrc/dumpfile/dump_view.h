/* What a reader of a minidump sees beside the snapshot. */
#ifndef MDC_DUMPFILE_DUMP_VIEW_H
#define MDC_DUMPFILE_DUMP_VIEW_H

#include <stddef.h>
#include <stdint.h>

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

typedef struct mdc_dump_view {
    const mdc_dump_entry *entries;
    size_t entry_count;
    const mdc_dump_exception *exceptions;
    size_t exception_count;
    const mdc_dump_fault *faults;
    size_t fault_count;
    uint32_t process_known; /* 1: process_id is that of the file */
    uint32_t process_id;
} mdc_dump_view;
/* cdef: end */

#endif
