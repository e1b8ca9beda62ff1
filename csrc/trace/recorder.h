/* A recorder: a routine in front of another one that keeps calls and answers (records of call.h).
 *
 * It reads of an input what belongs to the type, and of the engine's buffers (IoWriteAll, VmPreRead, VmPostRead) it
 * keeps a keyed digest, never the bytes. Region facts are read only if the engine is known to send them: for a callback
 * of this package mdc_callback_set_host says so, for others mdc_recorder_attach.
 *
 * Recording may allocate (in chunks that grow) and takes a lock to append, so that engines may call from several
 * threads; the order is then that in which the calls ended. A call that does not fit, or for which there is no memory,
 * is counted and still passed on: a recorder never changes an answer. */
#ifndef MDC_TRACE_RECORDER_H
#define MDC_TRACE_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include "../api/callback.h"

/* cdef: begin */
typedef struct mdc_recorder mdc_recorder;

typedef struct mdc_recorder_options {
    uint64_t limit; /* bytes of records; 0: 256 MiB */
    uint64_t key0;  /* random, of the digests; both 0: no digests are kept */
    uint64_t key1;
} mdc_recorder_options;

typedef struct mdc_recorder_state {
    uint64_t bytes;      /* of all records */
    uint64_t calls;      /* that were recorded */
    uint64_t dropped;    /* that were not: limit, no memory, a path or name beyond all bounds */
    uint32_t extensions; /* MDC_EXT_* that were in force at any of the calls */
    uint32_t reserved;
} mdc_recorder_state;

/* options may be NULL. */
mdc_recorder *mdc_recorder_new(const mdc_recorder_options *options, mdc_error *err);
/* Not while an engine may call the routine. NULL is allowed. */
void mdc_recorder_free(mdc_recorder *recorder);

/* Stands in front of *callee from now on: *callee becomes the recorder's own routine and parameter. A callee without a
 * routine is left as it is. extensions: those that the engine uses with a foreign callee. Not while a dump runs.
 */
void mdc_recorder_attach(mdc_recorder *recorder, uint32_t extensions, MINIDUMP_CALLBACK_INFORMATION *callee);
int32_t MDC_CALL mdc_recorder_routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);
/* Of the routine in front; valid until the recorder is freed. */
const MINIDUMP_CALLBACK_INFORMATION *mdc_recorder_information(const mdc_recorder *recorder);

mdc_recorder_state mdc_recorder_read(mdc_recorder *recorder);
/* Copies whole records to `to`, oldest first, as many as fit into `size` bytes; returns the bytes written. */
size_t mdc_recorder_copy(mdc_recorder *recorder, uint8_t *to, size_t size);
/* Forgets everything recorded. */
void mdc_recorder_clear(mdc_recorder *recorder);
/* cdef: end */

#endif
