/* Our own streams. Gaps: what was requested and is not in the dump.
 *
 * Number 0x4D444301 ('M' 'D' 'C' 1), little endian. The stream's body is among the small streams, below 4 GiB:
 *
 *     mdc_gap_stream                       40 bytes
 *     mdc_gap x planned_count              known before a byte was read (memory beyond the end of a mapped file)
 *
 * and at tail_offset, a 64-bit offset from the start of the dump, after all memory data:
 *
 *     uint64_t count
 *     mdc_gap x count                      found while memory was read, in that order
 *
 * The tail exists because a dump may go to a pipe, where nothing can be filled in later: its place is known before the
 * data, its content only after it. Readers that skip unknown streams lose nothing else. Where the dump could be
 * patched, a gap is also missing in the memory lists; elsewhere the bytes of a gap with reason MDC_GAP_READ_FAILED
 * are zeros, and only this stream distinguishes them from real ones.
 *
 * Thread pointers, number 0x4D444302: a mdc_thread_pointer_stream and `count` mdc_thread_pointer, the FS base of each
 * thread of a Linux process. MINIDUMP_THREAD.Teb is 0 there. */
#ifndef MDC_FORMAT_MDC_STREAMS_H
#define MDC_FORMAT_MDC_STREAMS_H

#include <stddef.h>
#include <stdint.h>

#include "../api/report.h"

enum {
    MDC_STREAM_TYPE_GAPS = 0x4D444301,
    MDC_GAP_STREAM_VERSION = 1,
    MDC_STREAM_TYPE_THREAD_POINTERS = 0x4D444302,
    MDC_THREAD_POINTER_STREAM_VERSION = 1
};

#pragma pack(push, 4)
typedef struct mdc_gap_stream {
    uint32_t version;       /* MDC_GAP_STREAM_VERSION */
    uint32_t header_size;   /* 40: where the entries begin */
    uint32_t entry_size;    /* 24 */
    uint32_t planned_count; /* entries that follow the header */
    uint64_t tail_offset;   /* from the start of the dump */
    uint64_t tail_capacity; /* the most entries the tail may have */
    uint64_t reserved;      /* 0 */
} mdc_gap_stream;

typedef struct mdc_thread_pointer_stream {
    uint32_t version;     /* MDC_THREAD_POINTER_STREAM_VERSION */
    uint32_t header_size; /* 16: where the entries begin */
    uint32_t entry_size;  /* 16 */
    uint32_t count;
} mdc_thread_pointer_stream;

typedef struct mdc_thread_pointer {
    uint32_t thread_id;
    uint32_t reserved; /* 0 */
    uint64_t pointer;
} mdc_thread_pointer;
#pragma pack(pop)

_Static_assert(sizeof(mdc_gap_stream) == 40 && offsetof(mdc_gap_stream, tail_offset) == 16, "gap stream header");
_Static_assert(sizeof(mdc_gap) == 24 && offsetof(mdc_gap, reason) == 16 && offsetof(mdc_gap, os_errno) == 20,
               "gap stream entry");
_Static_assert(sizeof(mdc_thread_pointer_stream) == 16 && sizeof(mdc_thread_pointer) == 16, "thread pointer stream");

#endif
