/* The last line of defence of a dump by dbghelp: before the finished file is handed out, what the filter excludes or
 * hides is overwritten in it.
 *
 * dbghelp stores stacks without asking about them, an old one (or Wine's) asks about no memory at all, and a region
 * with a hole in the middle cannot be answered. So the filter is asked again, over the same protocol, about every
 * piece of target memory in the file, as the engine of this package would ask. */
#ifndef MDC_DBGHELP_SCRUB_H
#define MDC_DBGHELP_SCRUB_H

#include "../api/callback.h"
#include "dump_reader.h"
#include "proxy.h"

typedef struct mdc_scrub {
    mdc_vec hidden;        /* mdc_span, sorted and disjoint: what was overwritten by rules about memory */
    uint64_t hidden_bytes; /* of them */
    uint64_t edited_bytes; /* that differ after redaction, in memory, registers and names */
    bool left_out;         /* registers, or an exception, were in the file and are there no more */
} mdc_scrub;

void mdc_scrub_init(mdc_scrub *scrub);
void mdc_scrub_fini(mdc_scrub *scrub);
/* On the thread that drove the dump, after it. The callback still knows the dump's modules and stacks; its counters
 * continue, and its host is set to support every extension. full: a dump WithFullMemory, whose rules apply to
 * whole pages. streams: MDC_STREAM_* that are left out; texts of these are hidden in memory. */
mdc_status mdc_scrub_run(mdc_scrub *scrub, mdc_callback *callback, mdc_proxy *proxy, const mdc_dump_reader *file,
                         mdc_staging_file *store, bool full, uint32_t streams, mdc_dump_control *control,
                         mdc_error *err);

#endif
