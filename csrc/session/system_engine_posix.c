/* This system has no engine of its own (see system_engine.h). */
#include "system_engine.h"

#include "../base/fail.h"

mdc_system_engine *mdc_system_engine_new(const mdc_dbghelp_options *options, mdc_error *err) {
    (void)options;
    mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "dbghelp is a part of Windows: leave it NULL here");
    return NULL;
}

uint32_t mdc_system_engine_extensions(void) { return 0; }

mdc_status mdc_system_engine_run(mdc_system_engine *engine, const mdc_session_spec *spec, intptr_t fd, mdc_sink *sink,
                                 mdc_dump_control *control, mdc_callback_counters *counters, mdc_error *err) {
    (void)engine, (void)spec, (void)fd, (void)sink, (void)control, (void)counters;
    return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "this system has no engine of its own");
}

const mdc_report *mdc_system_engine_report(const mdc_system_engine *engine) {
    (void)engine;
    return NULL;
}

void mdc_system_engine_free(mdc_system_engine *engine) { (void)engine; }
