/* The writer: writes once, forwards; only then, if the sink is seekable, what was left open, the lists that gaps have
 * changed and, last of all, the signature: an unfinished dump is not a valid one.
 *
 * Takes a finished layout. mdc_writer_init before the stop, mdc_writer_memory during it, mdc_writer_finish when the
 * target runs again. */
#ifndef MDC_ENGINE_WRITER_H
#define MDC_ENGINE_WRITER_H

#include "copier.h"
#include "sparse_output.h"
#include "staging.h"

typedef struct mdc_writer {
    mdc_engine *engine;
    const mdc_reader *reader;
    mdc_layout *layout;
    mdc_gaps *gaps;
    mdc_staging staging; /* with MDC_STOP_MEMORY, between the output and the sink until mdc_writer_finish */
    mdc_sparse_output output;
    mdc_copier *copier;
    bool front_later;   /* the front is written after the resume */
    mdc_vec front_kept; /* uint8_t: what of it is memory of the target, then */
} mdc_writer;

mdc_status mdc_writer_init(mdc_writer *writer, const mdc_reader *reader, mdc_layout *layout, mdc_gaps *gaps,
                           mdc_error *err);
void mdc_writer_fini(mdc_writer *writer);
/* All that needs the stop: written, or kept in memory. */
mdc_status mdc_writer_memory(mdc_writer *writer, mdc_sink *sink, mdc_error *err);
mdc_status mdc_writer_finish(mdc_writer *writer, mdc_error *err);

/* late_copy.c: after the resume, what was left open for it. */
mdc_status mdc_late_copy(mdc_writer *writer, mdc_error *err);

#endif
