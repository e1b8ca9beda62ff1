/* Reads target memory as the callee lets it be seen: through VmPreRead and VmPostRead, and only what it keeps. Owns the
 * one buffer, allocated before the stop; the plan reads through it, later the writer has it. */
#ifndef MDC_ENGINE_READER_H
#define MDC_ENGINE_READER_H

#include "capture.h"
#include "extents.h"

typedef struct mdc_reader {
    mdc_engine *engine;
    const mdc_capture *capture;
    const mdc_extents *extents; /* the plan's, empty until it is finished */
    const mdc_extents *cut;     /* what the budget has taken out of them: not stored, but it may be looked at */
    uint8_t *block;             /* as allocated */
    uint8_t *buffer;            /* page-aligned in it: room bytes, then 2 * hold */
    size_t room;                /* bytes */
    size_t hold;                /* bytes the callee is shown on both sides of what is written; 0 without hold-back */
} mdc_reader;

mdc_status mdc_reader_init(mdc_reader *reader, const mdc_capture *capture, const mdc_extents *extents,
                           const mdc_extents *cut, mdc_error *err);
void mdc_reader_fini(mdc_reader *reader);
/* From the source alone; *done bytes of `wanted`. */
mdc_status mdc_reader_source(const mdc_reader *reader, const mdc_span *spans, size_t count, uint8_t *buffer,
                             size_t wanted, size_t *done, int32_t *os_errno, mdc_error *err);
/* A read without VmPostRead. *closed: the callee served it all or made it fail, and wants no VmPostRead. */
mdc_status mdc_reader_fetch(const mdc_reader *reader, uint64_t address, uint8_t *out, size_t size, size_t *done,
                            bool *closed, int32_t *os_errno, mdc_error *err);
/* VmPostRead about bytes of the buffer. *valid: what the callee leaves, never less than the `passed` bytes at the front
 * that it has let pass before. */
mdc_status mdc_reader_show(const mdc_reader *reader, uint64_t address, uint8_t *buffer, size_t size, size_t completed,
                           size_t passed, size_t *valid, mdc_error *err);
/* Reads [address, address + size) after `head` bytes that precede it in the target and in the buffer, through
 * VmPreRead and VmPostRead; the first `lent` of them were not released yet. *done: new bytes from the start that are
 * valid. */
mdc_status mdc_reader_read(const mdc_reader *reader, uint64_t address, uint8_t *buffer, size_t head, size_t lent,
                           size_t size, size_t *done, int32_t *os_errno, mdc_error *err);
/* Reads before anything is written, with what lies around it; *done bytes from the start are valid. */
mdc_status mdc_reader_peek(const mdc_reader *reader, uint64_t address, void *out, size_t size, size_t *done,
                           mdc_error *err);
/* true if the callee keeps every byte of [first, end): what text streams with target memory need. */
mdc_status mdc_reader_kept(const mdc_reader *reader, uint64_t first, uint64_t end, bool *kept, mdc_error *err);

/* read_context.c: up to `want` bytes right before `end`, or from `first` on, that may be looked at; *got of them. */
mdc_status mdc_context_before(const mdc_reader *reader, uint64_t end, size_t want, uint8_t *out, size_t *got,
                              mdc_error *err);
mdc_status mdc_context_after(const mdc_reader *reader, uint64_t first, size_t want, uint8_t *out, size_t *got,
                             mdc_error *err);

#endif
