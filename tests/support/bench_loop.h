/* A bare engine loop for measuring callback routines: fills MINIDUMP_CALLBACK_INPUT and _OUTPUT for IncludeVmRegion
 * as an engine does (never clearing the 1312-byte input) and calls the routine. The same loop drives a ctypes
 * function, an extern "Python" function and our trampoline, so that only the callee differs. The table of regions is
 * brought into the cache block by block outside the measured time. */
#ifndef MDC_SUPPORT_BENCH_LOOP_H
#define MDC_SUPPORT_BENCH_LOOP_H

#include <stddef.h>
#include <stdint.h>

#include "../../csrc/api/minidump_protocol.h"

/* cdef: begin */
/* One question: the region, and what MDC_EXT_REGION_FACTS adds to it. */
typedef struct mdc_bench_region {
    MINIDUMP_MEMORY_INFO info;
    mdc_region_facts facts;
} mdc_bench_region;

/* Calls the routine once per region, in order. gap_ns: busy work between two calls, as if the engine copied a region;
 * 0 none. latencies: NULL, or `count` entries that receive each call's duration in nanoseconds (the clock itself
 * costs some 30 ns of it). Returns nanoseconds per call, without the gaps; a negative number if a call answered
 * FALSE or Continue FALSE. */
double mdc_bench_loop(MINIDUMP_CALLBACK_ROUTINE routine, void *param, uint32_t extensions, size_t count,
                      const mdc_bench_region *regions, uint64_t gap_ns, uint64_t *latencies);
/* cdef: end */

#endif
