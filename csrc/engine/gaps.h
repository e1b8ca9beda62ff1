/* What was requested and is not in the dump: a table of fixed size, allocated before the stop.
 *
 * The plan adds to it, then mdc_gaps_plan_ends copies what it has for the gap stream, then the writer adds to it. */
#ifndef MDC_ENGINE_GAPS_H
#define MDC_ENGINE_GAPS_H

#include "capture.h"

typedef struct mdc_gaps {
    mdc_engine *engine;
    const mdc_capture *capture;
    mdc_gap *all; /* options.gaps_max of them */
    size_t count;
    mdc_gap *planned; /* the first planned_count of them, as the plan had them */
    size_t planned_count;
    bool full;   /* the last of all covers the rest */
    size_t room; /* entries that all may have: fewer than gaps_max where a budget has room for fewer */
} mdc_gaps;

mdc_status mdc_gaps_init(mdc_gaps *gaps, const mdc_capture *capture, mdc_error *err);
void mdc_gaps_fini(mdc_gaps *gaps);
void mdc_gaps_add(mdc_gaps *gaps, uint64_t address, uint64_t size, uint32_t reason, int32_t os_errno);
/* Memory that is known to be missing before the write or after the resume: sends ReadMemoryFailure, unless this is a
 * plan. why: "is not mapped". */
mdc_status mdc_gaps_ask(mdc_gaps *gaps, uint64_t first, uint64_t end, uint32_t reason, int32_t os_errno,
                        const char *why, mdc_error *err);
mdc_status mdc_gaps_plan_ends(mdc_gaps *gaps, mdc_error *err);
/* Whether the callee has left it to the engine: a full dump with IgnoreInaccessibleMemory. */
bool mdc_gaps_tolerated(const mdc_engine *engine);

#endif
