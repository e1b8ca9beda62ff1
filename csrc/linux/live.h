/* The live Linux process as a source: puts together what the other files of this room know.
 *
 * Two threads touch a target: the engine's (lists, memory; needs no tracer) and the tracer's (tracer.h), the only one
 * that may use ptrace and that says what a parent of the target can notice. */
#ifndef MDC_LINUX_LIVE_H
#define MDC_LINUX_LIVE_H

#include "../base/dump_control.h"
#include "../source/source.h"

typedef struct mdc_live_options {
    int32_t pid;
    int32_t pidfd;            /* -1, or a descriptor that stays the caller's; then pid may be 0 */
    uint64_t start_time;      /* 0, or field 22 of /proc/PID/stat the target must have (clock ticks since boot) */
    uint64_t stop_timeout_ns; /* how long one thread may take to stop; 0: 250 ms */
    uint64_t max_stop_ns;     /* how long the target may be stopped; 0: no limit but the dump control's deadline */
    uint64_t busy_timeout_ns; /* how long to wait until nothing else traces it; 0: MDC_ERR_TARGET_BUSY at once */
    uint32_t snapshot;        /* 1: a copy-on-write child is read if it can be made: MDC_STOP_SNAPSHOT */
    uint64_t keep_max;        /* snapshot: bytes that are copied during the stop at most, of what a child does not get;
                                 0: no limit but what is sensible */
    uint32_t xstate;          /* 1: contexts carry the extended state (MDC_TYPE_WITH_AVX_XSTATE_CONTEXT) */
    uint32_t dontdump;        /* MDC_DONTDUMP_*: with IGNORE the marks are not read */
    uint32_t coredump_filter; /* 1: what the target's coredump_filter leaves out is reported (mdc_region.filtered) */
    uint32_t handles;         /* 1: open descriptors are listed */
    uint32_t times;           /* 1: times and affinities of threads are wanted */
    uint32_t in_file; /* 1: clean pages of modules that only their files have are reported (MDC_CONTENT_IN_FILE) */
    /* 1: little of the target's memory is copied, so nothing is done under the stop that takes time in proportion to
     * all of it. Which pages are there is asked about what is copied. What the target asked not to dump is looked up
     * again only where that costs 1 ms at most by estimate, or 50 ms if a thread runs, or has its stack, in memory of
     * which it is not known. If much is copied it is always looked up: that takes a tenth of the time of the copy. */
    uint32_t little;
} mdc_live_options;

/* Touches nothing yet: prepare opens the target, and fills pid and handle of the source. */
mdc_source *mdc_live_new(const mdc_live_options *options, mdc_error *err);

#endif
