/* The streams that the caller gives, as dbghelp takes them: user streams, and what the engine of this package writes
 * as streams of its own, annotations and the comment. */
#ifndef MDC_DBGHELP_CALLER_STREAMS_H
#define MDC_DBGHELP_CALLER_STREAMS_H

#include "../api/engine.h"
#include "../base/vec.h"
#include "dump_reader.h"
#include "library.h"

enum { MDC_CALLER_STREAMS_MORE = 3 }; /* CrashpadInfo and two of the comment */

typedef struct mdc_caller_streams {
    MINIDUMP_USER_STREAM *all; /* allocated */
    uint32_t count;
    void *bodies[MDC_CALLER_STREAMS_MORE]; /* allocated */
} mdc_caller_streams;

/* The options must outlive it. Also after a failure there is a fini. */
mdc_status mdc_caller_streams_init(mdc_caller_streams *streams, const mdc_engine_options *options, mdc_error *err);
void mdc_caller_streams_fini(mdc_caller_streams *streams); /* also of one that was zeroed only */

/* In the finished dump: the offsets in CrashpadInfo are those of the file, now that its place is known. */
mdc_status mdc_caller_streams_settle(const mdc_engine_options *options, const mdc_dump_reader *file,
                                     mdc_staging_file *store, mdc_error *err);

#endif
