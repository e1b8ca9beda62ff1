/* What a source that is a minidump already says of the file: its streams, which the engine writes again, and where its
 * memory is. */
#ifndef MDC_SOURCE_CARRIED_H
#define MDC_SOURCE_CARRIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"
#include "../base/range_set.h"

/* cdef: begin */
typedef struct mdc_source mdc_source;
typedef struct mdc_set_range mdc_set_range;

/* An entry of its directory that lies inside of the file; no unused ones. */
typedef struct mdc_carried_stream {
    uint32_t type;
    uint32_t size; /* bytes */
    uint32_t rva;
    uint32_t first_module; /* of a list of modules: the number of its first one in the snapshot, plus 1; 0: none */
    uint64_t address;      /* where the same bytes are in the target's memory, which the file holds; 0: not known */
} mdc_carried_stream;

enum { MDC_CARRIED_LIST32 = 1, MDC_CARRIED_LIST64 = 2 }; /* MemoryList, Memory64List */

/* Bytes of the target that the file holds. */
typedef struct mdc_carried_run {
    uint64_t address;
    uint64_t size;   /* bytes; address + size does not overflow */
    uint64_t offset; /* in the file */
    uint32_t list;   /* MDC_CARRIED_LIST32 or MDC_CARRIED_LIST64: that it is in */
    uint32_t reserved;
} mdc_carried_run;

typedef struct mdc_carried {
    const mdc_carried_stream *streams; /* in the order of the directory */
    size_t stream_count;
    const mdc_carried_run *runs; /* by address, disjoint; a run for each range of a list */
    size_t run_count;
    const mdc_set_range *cut; /* a set: what the lists name beyond the end of the file */
    size_t cut_count;
    uint32_t lists;   /* MDC_CARRIED_*: that the file has */
    uint32_t version; /* of the header, as timestamp and flags */
    uint32_t timestamp;
    uint32_t reserved;
    uint64_t flags;
    uint64_t file_size; /* bytes */
    /* Exactly [offset, offset + size) of the file. */
    mdc_status (*read)(mdc_source *source, uint64_t offset, void *buffer, size_t size, mdc_error *err);
    /* Where the hole of the file, or the data, that begins at the offset ends, at most at `end`. */
    uint64_t (*run)(mdc_source *source, uint64_t offset, uint64_t end, bool *hole);
} mdc_carried;
/* cdef: end */

#endif
