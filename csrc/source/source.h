/* What a target is: regions, threads, modules, texts, and a way to read its memory. The live process of each system is
 * a source (linux/live.h, windows/win_live.h). A caller can hand over one of another kind:
 * mdc_session_spec.take_source.
 *
 * Life: new -> prepare -> stop -> (snapshot, content, read) -> resume -> free. The snapshot is stable between stop and
 * free. Everything a source delivers comes from a hostile target: the engine checks it again. A source is used by one
 * thread at a time: by who made it until it is handed over, then by the engine's. */
#ifndef MDC_SOURCE_SOURCE_H
#define MDC_SOURCE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"
#include "../base/dump_control.h"
#include "snapshot.h"

/* Memory that is a mapped file's, and can be read after resume as well. */
typedef struct mdc_late_ops {
    /* After stop, and before resume if it is to be read: what lies below this address of a region, and is
     * MDC_CONTENT_FILE or MDC_CONTENT_IN_FILE, can. Its base: none of it. */
    uint64_t (*end)(mdc_source *source, size_t region);
    /* After resume: reads [address, address + size) of the region into buffer. *done: bytes from the start; less than
     * size: *os_errno says why, as far as the system does. */
    void (*read)(mdc_source *source, size_t region, uint64_t address, size_t size, uint8_t *buffer, size_t *done,
                 int32_t *os_errno);
    /* 0 if all that was read so far of the region's file is what was there at the stop, else the system's error number
     * for why it need not be. The latter stays so. */
    int32_t (*check)(mdc_source *source, size_t region);
} mdc_late_ops;

typedef struct mdc_source_ops {
    /* Before the stop: opens the target, checks that it can be dumped, reads what costs time (smaps). The control is
     * borrowed until the source is freed. */
    mdc_status (*prepare)(mdc_source *source, mdc_dump_control *control, mdc_error *err);
    /* Stops every thread and fills the lists. On failure nothing stays stopped. */
    mdc_status (*stop)(mdc_source *source, mdc_error *err);
    /* Valid after stop. */
    const mdc_snapshot *(*snapshot)(const mdc_source *source);
    /* Splits [first, end) of one region into runs, in order, without gaps between them; `room` runs at most are
     * written. Returns how many, and *next where to go on (end when done). */
    size_t (*content)(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                      uint64_t *next);
    /* Reads the spans, one after the other, into buffer. *done: bytes read before the first failure (page
     * granular); less than the sum is not an error of this function: *os_errno says why it stopped (0 if all was read;
     * on Windows the system's error number).
     * Returns an error only when the target is gone. */
    mdc_status (*read)(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                       int32_t *os_errno, mdc_error *err);
    /* Resumes the threads; idempotent; *stop_time_ns is how long they were stopped. Fails only if the target died or
     * was resumed early (deadline): then what was read must not be used. */
    mdc_status (*resume)(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err);
    /* Frees everything; resumes first if that has not happened. */
    void (*free)(mdc_source *source);
    const mdc_late_ops *late; /* NULL: nothing can be read after resume */
    /* After prepare: bytes of memory that the target has, about; 0: it is a file, and not stopped. NULL: 0. */
    uint64_t (*footprint)(mdc_source *source);
} mdc_source_ops;

enum { MDC_SOURCE_VERSION = 1 };

/* A source of some kind begins with this. */
struct mdc_source {
    uint32_t version; /* MDC_SOURCE_VERSION; what the functions of the table promise */
    uint32_t layout;  /* MDC_SOURCE_LAYOUT */
    uint32_t carries; /* 1: an existing minidump, the snapshot has `carried` */
    uint32_t windows; /* 1: names are those of Windows, on another system; known before prepare, as the next */
    uint32_t narrow;  /* 1: words of the target have 4 bytes */
    const mdc_source_ops *ops;
    int32_t pid;  /* for INPUT.ProcessId; 0 if the target is not a process */
    void *handle; /* for INPUT.ProcessHandle: the pidfd on Linux, the HANDLE on Windows */
};

/* Bytes of all structs that a source and its user share: differs where one of them was compiled with another layout. */
#define MDC_SOURCE_LAYOUT                                                                                              \
    ((uint32_t)(sizeof(mdc_source) + sizeof(mdc_source_ops) + sizeof(mdc_late_ops) + sizeof(mdc_snapshot) +            \
                sizeof(mdc_region) + sizeof(mdc_thread) + sizeof(mdc_module) + sizeof(mdc_section) +                   \
                sizeof(mdc_unloaded) + sizeof(mdc_handle) + sizeof(mdc_system) + sizeof(mdc_text) + sizeof(mdc_copy) + \
                sizeof(mdc_content) + sizeof(mdc_span) + sizeof(mdc_carried) + sizeof(mdc_carried_stream) +            \
                sizeof(mdc_carried_run) + sizeof(mdc_error)))

static inline void mdc_source_init(mdc_source *source, const mdc_source_ops *ops, int32_t pid) {
    *source = (mdc_source){.version = MDC_SOURCE_VERSION, .layout = MDC_SOURCE_LAYOUT, .ops = ops, .pid = pid};
}

/* cdef: begin */
/* Frees a source that no session has taken out of the slot, which is NULL then. */
void mdc_source_drop(mdc_source **slot);
/* cdef: end */

/* Whether its maker knew the same structs as this file. */
static inline bool mdc_source_fits(const mdc_source *source) {
    return source->version == MDC_SOURCE_VERSION && source->layout == MDC_SOURCE_LAYOUT;
}

#endif
