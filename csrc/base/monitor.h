/* The flags and figures that the threads of one dump share. All fields are lock-free atomics; whoever creates the
 * monitor keeps it alive until every thread of the dump has left it. */
#ifndef MDC_BASE_MONITOR_H
#define MDC_BASE_MONITOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../api/engine.h"

/* mdc_monitor.abort: why the dump has to end. The first reason stays. */
enum {
    MDC_ABORT_NONE = 0,
    MDC_ABORT_CANCEL = 1,
    MDC_ABORT_DEADLINE = 2,
    MDC_ABORT_MAX_STOP = 3,
    MDC_ABORT_TARGET_GONE = 4,
    MDC_ABORT_TRACER = 5 /* what holds the target cannot do so any longer */
};

typedef struct mdc_monitor {
    _Atomic int32_t abort;
    _Atomic int32_t phase;
    _Atomic int32_t stopped;
    _Atomic uint64_t bytes_done;
    _Atomic uint64_t bytes_total;
    uint64_t started_ns;  /* set before the threads start */
    uint64_t deadline_ns; /* absolute, 0: none */
} mdc_monitor;

void mdc_monitor_init(mdc_monitor *monitor, uint64_t deadline_ns);
/* true if this call set the reason. */
bool mdc_monitor_abort(mdc_monitor *monitor, int32_t reason);
/* Why the dump has to end, MDC_ABORT_NONE if it need not. Also notices that the deadline passed. */
int32_t mdc_monitor_reason(mdc_monitor *monitor);
/* MDC_OK, or fills the error that belongs to the abort reason (MDC_ERR_CANCELLED with hresult 0x800704C7,
 * MDC_ERR_DEADLINE, MDC_ERR_TARGET_GONE). Cheap enough to ask per chunk. */
mdc_status mdc_monitor_check(mdc_monitor *monitor, mdc_error *err);
mdc_progress mdc_monitor_read(const mdc_monitor *monitor);

#endif
