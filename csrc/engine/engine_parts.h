/* What every stage works with and none of them makes: the options, the source, the callee, dump control.
 *
 * A dump is made in stages, each a type of its own, and const for all that come after it:
 *
 *     mdc_capture -> mdc_plan -> mdc_layout -> mdc_writer
 *
 * All hang on one mdc_dump (dump.c), which no stage sees. */
#ifndef MDC_ENGINE_ENGINE_PARTS_H
#define MDC_ENGINE_ENGINE_PARTS_H

#include "engine.h"
#include "protocol_calls.h"

typedef struct mdc_engine {
    mdc_engine_options options; /* with the defaults filled in */
    mdc_source *source;
    mdc_dump_control *control;
    mdc_calls calls;
    bool measures;        /* what is laid out is not stored: only its size matters */
    bool full;            /* WithFullMemory; never of an existing dump */
    bool held;            /* all memory that an existing dump has */
    bool patchable;       /* of the output, known from mdc_capture_before_stop on; false without one */
    bool sparse;          /* likewise */
    uint32_t stop_reason; /* MDC_STOP_REASON_*: why MDC_STOP_MEMORY is not done */
    int32_t stop_errno;   /* beside it, 0: none */
    uint64_t copy_until;  /* mdc_clock_ns after which no memory is copied that needs the stop; 0: none */
} mdc_engine;

#endif
