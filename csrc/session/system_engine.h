/* The dump that an engine of the system writes instead of ours: MiniDumpWriteDump of dbghelp on Windows. Other systems
 * have none. */
#ifndef MDC_SESSION_SYSTEM_ENGINE_H
#define MDC_SESSION_SYSTEM_ENGINE_H

#include "../base/dump_control.h"
#include "../sink/sink.h"
#include "session.h"

typedef struct mdc_system_engine mdc_system_engine;

/* Copies the options with what they point at. On the caller's thread; the target is not touched. */
mdc_system_engine *mdc_system_engine_new(const mdc_dbghelp_options *options, mdc_error *err);
/* MDC_EXT_* that our callee may rely on. */
uint32_t mdc_system_engine_extensions(void);
/* On the worker, once. `spec` is the session's own: engine.callback is the callee, `process` a handle of the session or
 * 0. `fd` is what `sink` writes to, -1 for the other kinds of sink. *counters: of spec->callback if that is given, as
 * they were when the engine was done with it; also after a failure. */
mdc_status mdc_system_engine_run(mdc_system_engine *engine, const mdc_session_spec *spec, intptr_t fd, mdc_sink *sink,
                                 mdc_dump_control *control, mdc_callback_counters *counters, mdc_error *err);
/* After the run; what it points at lives as long as the engine. */
const mdc_report *mdc_system_engine_report(const mdc_system_engine *engine);
/* NULL is allowed. */
void mdc_system_engine_free(mdc_system_engine *engine);

#endif
