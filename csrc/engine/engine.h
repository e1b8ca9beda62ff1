/* Drives the protocol: capture -> plan -> layout -> write. Knows sources, sinks and the callback ABI; knows no filter.
 */
#ifndef MDC_ENGINE_ENGINE_H
#define MDC_ENGINE_ENGINE_H

#include "../api/engine.h"
#include "../base/dump_control.h"
#include "../sink/sink.h"
#include "../source/source.h"

typedef struct mdc_dump mdc_dump;

/* All state of one dump hangs on this. Options are copied. NULL with *err filled on failure. */
mdc_dump *mdc_dump_new(const mdc_engine_options *options, mdc_source *source, mdc_sink *sink, mdc_dump_control *control,
                       mdc_error *err);
/* The whole dump, on the calling thread. The target runs again when it returns, whatever it returns. */
mdc_status mdc_dump_run(mdc_dump *dump, mdc_error *err);
/* Valid after mdc_dump_run (also after a failure, as far as it came) until mdc_dump_free. */
const mdc_report *mdc_dump_report(const mdc_dump *dump);
void mdc_dump_free(mdc_dump *dump);

#endif
