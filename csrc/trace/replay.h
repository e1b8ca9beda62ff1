/* A replay: drives any callback routine with a sequence of records (call.h), as an engine would, and collects what it
 * answers. The sequence may be a recording of an engine that is not available, or made up.
 *
 * Each call gets real MINIDUMP_CALLBACK_INPUT and _OUTPUT: the type's member as recorded, everything else poisoned, and
 * a real buffer where the type has one, filled with a pattern (recordings hold no bytes). After the 52 bytes of the
 * output, and after each buffer, there is more poison: what the callee writes there it would have written into
 * the engine's own memory. */
#ifndef MDC_TRACE_REPLAY_H
#define MDC_TRACE_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "../api/error.h"
#include "../api/minidump_protocol.h"

/* cdef: begin */
/* mdc_replay_answer.flags */
enum {
    MDC_REPLAY_BEYOND_MEMBER = 0x01, /* wrote to the output beyond the member of the type */
    MDC_REPLAY_BEYOND_OUTPUT = 0x02, /* wrote after the 52 bytes of the output */
    MDC_REPLAY_BEYOND_BUFFER = 0x04, /* wrote after the buffer */
    MDC_REPLAY_READ_ONLY = 0x08,     /* wrote into the buffer of IoWriteAll, which is the engine's */
    MDC_REPLAY_WRONG = 0x0F,
    MDC_REPLAY_CHANGED = 0x10 /* 19, 20: wrote into the buffer, as it may */
};

typedef struct mdc_replay_answer {
    int32_t result;
    uint32_t flags;     /* MDC_REPLAY_* */
    uint8_t output[52]; /* the member of the type; the rest is 0 */
} mdc_replay_answer;

typedef struct mdc_replay_options {
    uint64_t repeat;     /* how often the whole sequence is sent; 0: once */
    uint64_t buffer_max; /* largest buffer a record may ask for, bytes; 0: 64 MiB */
    uint64_t garbage;    /* not 0: seed of the content of all input bytes that the type does not use */
    uint32_t fill;       /* the byte buffers are filled with */
    uint32_t reserved;
} mdc_replay_options;

typedef struct mdc_replay_result {
    uint64_t calls;      /* made */
    uint64_t violations; /* answers with one of MDC_REPLAY_WRONG */
    int64_t first;       /* number of the first such call, counted over all repetitions; -1 if there is none */
    uint64_t elapsed_ns; /* of the whole loop */
} mdc_replay_result;

/* Sends `size` bytes of records (8-aligned) to the routine. options may be NULL. answers: NULL, or room for `capacity`
 * answers, one per record; of several repetitions the last one's stay. MDC_ERR_FORMAT with the record's number in
 * err->index if one is malformed, MDC_ERR_INVALID if it asks for too large a buffer: then no call was made. */
mdc_status mdc_replay_run(const uint8_t *records, size_t size, MINIDUMP_CALLBACK_ROUTINE routine, void *param,
                          const mdc_replay_options *options, mdc_replay_answer *answers, size_t capacity,
                          mdc_replay_result *result, mdc_error *err);
/* cdef: end */

#endif
