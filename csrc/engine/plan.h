/* The plan: which memory is in the dump and which is missing, and what streams have to read of the target.
 *
 * Takes a finished capture. mdc_plan_full, _normal or _held, then mdc_plan_finish, then mdc_streams_read; afterwards
 * it does not change, except that the layout fills in file_offset of the extents. Promises: extents in the order of the
 * file, and one outcome for each region. */
#ifndef MDC_ENGINE_PLAN_H
#define MDC_ENGINE_PLAN_H

#include "capture.h"
#include "extents.h"
#include "gaps.h"
#include "reader.h"

enum { MDC_STREAMS_MAX = 24 }; /* rows of the table of streams/stream.h */

/* With the flags of an extent, while it is planned: the callee asked for it by address. */
#define MDC_EXTENT_ADDED UINT32_C(0x80000000)

/* What became of a region: bytes, and MDC_REGION_EXCLUDED or MDC_REGION_NARROWED. */
typedef struct mdc_region_outcome {
    uint64_t kept;
    uint64_t untouched;
    uint64_t left_to_file;
    uint64_t over_budget;
    uint32_t flags;
    uint32_t reserved;
} mdc_region_outcome;

typedef struct mdc_plan {
    mdc_engine *engine;
    const mdc_capture *capture;
    mdc_reader *reader;
    mdc_gaps *gaps;
    mdc_vec stacks; /* mdc_extent: of stacks, until mdc_plan_finish */
    mdc_vec all;    /* mdc_extent: the rest until then, afterwards all of them */
    mdc_vec cut;    /* mdc_extent: what the budget has taken out of them */
    mdc_vec chains; /* mdc_chain: where the copying may end early; and of what is cut */
    mdc_vec cut_chains;
    mdc_extents extents;
    mdc_extents over_budget;        /* cut, in the same order */
    mdc_region_outcome *outcomes;   /* by region */
    void *streams[MDC_STREAMS_MAX]; /* by row of the table: what a stream has read */
    bool late;                      /* what files hold may be read when the target runs */
    uint32_t warnings;
    uint32_t omitted_streams; /* MDC_STREAM_* */
} mdc_plan;

void mdc_plan_init(mdc_plan *plan, const mdc_capture *capture, mdc_reader *reader, mdc_gaps *gaps);
void mdc_plan_fini(mdc_plan *plan);
mdc_status mdc_plan_begin(mdc_plan *plan, mdc_error *err);
mdc_status mdc_plan_full(mdc_plan *plan, mdc_error *err);
mdc_status mdc_plan_normal(mdc_plan *plan, mdc_error *err);
mdc_status mdc_plan_held(mdc_plan *plan, mdc_error *err);
mdc_status mdc_plan_finish(mdc_plan *plan, mdc_error *err);

/* extents.c: [first, end) of the region is kept. flags: MDC_EXTENT_*. */
mdc_status mdc_plan_add(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags, mdc_error *err);

/* The same of bytes that are known to be there; front: before the rest, as stacks are. With MDC_EXTENT_JOINED they go
 * on with the range of the extent before. */
mdc_status mdc_plan_put(mdc_plan *plan, size_t region, uint64_t first, uint64_t end, uint32_t flags, bool front,
                        mdc_error *err);

/* type_memory.c: appends to ranges (mdc_set_range) what bits of the type add to a Normal dump. */
mdc_status mdc_type_memory(const mdc_reader *reader, mdc_vec *ranges, uint32_t *warnings, mdc_error *err);

#endif
