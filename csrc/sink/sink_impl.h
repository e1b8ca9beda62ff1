/* What the sinks of this room share: the fault that stays.
 *
 * An operation does its work only while `fault` is empty, fails into `fault`, and ends with mdc_sink_status(). So the
 * first fault of a sink is also the answer of every later call. */
#ifndef MDC_SINK_SINK_IMPL_H
#define MDC_SINK_SINK_IMPL_H

#include "sink.h"

typedef struct mdc_sink_base {
    mdc_sink sink; /* first: a mdc_sink * of ours is a mdc_sink_base * */
    mdc_error fault;
    bool finished; /* finish() has been called: it works once */
} mdc_sink_base;

void mdc_sink_setup(mdc_sink_base *base, const mdc_sink_ops *ops, bool patchable, bool sparse);
/* The fault as the answer of an operation. */
mdc_status mdc_sink_status(const mdc_sink_base *base, mdc_error *err);
/* true if `size` more bytes may be written; otherwise the fault says why not. */
bool mdc_sink_accepts(mdc_sink_base *base, uint64_t size);
/* true if [offset, offset + size) has been written already; otherwise the fault says so. */
bool mdc_sink_accepts_patch(mdc_sink_base *base, uint64_t offset, uint64_t size);
/* true the first time, while there is no fault. */
bool mdc_sink_finishes(mdc_sink_base *base);
/* MDC_ERR_SINK into the fault if the fail point of this name is armed; false then. */
#define mdc_sink_passes(base, name) mdc_sink_passed(base, MDC_FAILPOINT(name))
bool mdc_sink_passed(mdc_sink_base *base, int os_errno);

#endif
