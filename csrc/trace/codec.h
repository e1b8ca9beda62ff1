/* One callback as a record: what recordings are made of and what a replay reads.
 *
 * A record holds what belongs to its type and nothing else: never the contents of target memory, of registers or of
 * debug records, only their sizes and, in recordings, a keyed digest. Packed one after the other, each
 *
 *     header                  32 bytes, mdc_trace_header
 *     digests                 16 bytes, if MDC_TRACE_DIGEST: the buffer before the call and after it
 *     input member            member_bytes, in the order of the table in codec.c, padded to 8
 *     output member           output_bytes on entry, output_bytes after the call, padded to 8 together
 *     text                    text_bytes: path (UTF-16) or name (bytes) with its NUL, padded to 8
 *
 * Records come from files, from other processes and from Python, so they are read as hostile. */
#ifndef MDC_TRACE_CODEC_H
#define MDC_TRACE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/minidump_protocol.h"

/* cdef: begin */
/* mdc_trace_header.flags */
enum {
    MDC_TRACE_RESULT = 0x01, /* `result` is known */
    MDC_TRACE_AFTER = 0x02,  /* the output after the call is known */
    MDC_TRACE_DIGEST = 0x04, /* digests are there */
    MDC_TRACE_FACTS = 0x08,  /* IncludeVmRegion: the member is mdc_region_facts */
    MDC_TRACE_TEXT = 0x10,   /* the path or name is there (not NULL) */
    MDC_TRACE_GCC = 0x20 /* Thread, ThreadEx: Context at 12 instead of 16, as engines built with GCC have it on x64 */
};

typedef struct mdc_trace_header {
    uint32_t size; /* bytes of the whole record, a multiple of 8 */
    uint32_t type; /* CallbackType, as it came */
    uint64_t process_handle;
    uint32_t process_id;
    int32_t result; /* what the routine returned */
    uint16_t member_bytes;
    uint8_t output_bytes;
    uint8_t flags; /* MDC_TRACE_* */
    uint32_t text_bytes;
} mdc_trace_header;

enum {
    MDC_TRACE_TEXT_MAX = 65536 /* bytes of a path or name, NUL included: what Windows and Linux have is shorter */
};
/* cdef: end */

/* Longest record without its text: header, digests, member, outputs. */
#define MDC_TRACE_FIXED_MAX 320

/* Bytes of the output member that belongs to a type; 0 where nothing is known to be read. */
uint32_t mdc_trace_output_bytes(uint32_t type);

/* Where the parts of a record are; pointers into it. */
typedef struct mdc_trace_parts {
    mdc_trace_header header;
    const uint8_t *digests; /* NULL if there are none */
    const uint8_t *member;
    const uint8_t *before;
    const uint8_t *after;
    const uint8_t *text; /* NULL if there is none; 2-aligned if the record is 8-aligned */
} mdc_trace_parts;

/* Takes the record at the start of `left` bytes apart; false if it is malformed. */
bool mdc_trace_parse(const uint8_t *record, size_t left, mdc_trace_parts *parts);

/* What a record needs of a call before it is made. */
typedef struct mdc_trace_taken {
    size_t fixed;         /* bytes written to `to` */
    size_t after_at;      /* where the output after the call goes */
    const void *text;     /* the engine's path or name, valid during the call */
    const void *buffer;   /* the engine's buffer, or NULL */
    size_t buffer_before; /* bytes of it that mean something before the call */
    size_t buffer_after;  /* and after it at most */
} mdc_trace_taken;

/* Writes all but result, digests and the output after the call to `to` (MDC_TRACE_FIXED_MAX bytes, zeroed by this
 * function). facts: IncludeVmRegion carries mdc_region_facts. false if the path or name is too long to be kept. */
bool mdc_trace_take(const MINIDUMP_CALLBACK_INPUT *input, const MINIDUMP_CALLBACK_OUTPUT *output, bool facts,
                    uint8_t *to, mdc_trace_taken *taken);

/* Sizes of the buffers that a record's input points at. */
typedef struct mdc_trace_buffers {
    uint64_t data; /* IoWriteAll, VmPreRead, VmPostRead */
    uint64_t cv;   /* Module */
    uint64_t misc;
} mdc_trace_buffers;

mdc_trace_buffers mdc_trace_buffer_sizes(const mdc_trace_parts *parts);

/* Fills in the input from a record: the type's member and the three members in front, nothing else. The pointers in
 * it go to `parts` (texts) and to `buffer`, which is large enough for each of mdc_trace_buffer_sizes. */
void mdc_trace_fill(const mdc_trace_parts *parts, void *buffer, MINIDUMP_CALLBACK_INPUT *input);

#endif
