/* The streams of an existing dump, written again: known ones with their offsets corrected and without what the callee
 * leaves out, opaque ones as they are, others dropped or kept as the caller wants. No byte of the file comes along that
 * no stream refers to. */
#ifndef MDC_ENGINE_CARRIED_FILE_H
#define MDC_ENGINE_CARRIED_FILE_H

#include "../layout.h"

/* The first stream of this type, NULL if the dump has none. */
const mdc_carried_stream *mdc_carried_find(const mdc_carried *carried, uint32_t type);
/* A part with MDC_PART_FILE, to the output. */
mdc_status mdc_carried_copy(const mdc_reader *reader, const mdc_part *part, mdc_sink *sink, mdc_error *err);

#endif
