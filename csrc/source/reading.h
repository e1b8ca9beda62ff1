/* A source that is only read: lists and memory for a reader, without a dump. For sources whose target does not run. */
#ifndef MDC_SOURCE_READING_H
#define MDC_SOURCE_READING_H

#include "source.h"

/* cdef: begin */
typedef struct mdc_reading mdc_reading;

/* Prepares and stops the source, which it takes over (*source becomes NULL) even if it fails. */
mdc_status mdc_reading_new(mdc_source **source, mdc_reading **slot, mdc_error *err);
/* NULL is allowed. */
void mdc_reading_free(mdc_reading *reading);
/* They live as long as the reading. */
const mdc_source *mdc_reading_source(const mdc_reading *reading);
/* 0: not known. */
int32_t mdc_reading_pid(const mdc_reading *reading);
const mdc_snapshot *mdc_reading_snapshot(const mdc_reading *reading);
/* See mdc_source_ops.content. */
size_t mdc_reading_content(mdc_reading *reading, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next);
/* Reads [address, address + size); *done: bytes from the start that could be read. *os_errno: why there are not more.
 */
mdc_status mdc_reading_read(mdc_reading *reading, uint64_t address, uint64_t size, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err);
/* cdef: end */

#endif
