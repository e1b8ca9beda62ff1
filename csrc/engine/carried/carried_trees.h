/* Streams whose parts point at further parts. */
#ifndef MDC_ENGINE_CARRIED_TREES_H
#define MDC_ENGINE_CARRIED_TREES_H

#include "carried_tables.h"

/* CrashpadInfo. Modules have the numbers of ModuleList: those that are left out take their annotations with them, and
 * the others get new numbers. */
mdc_status mdc_crashpad_move(mdc_relocation *relocation, const mdc_carried_stream *stream, mdc_error *err);

/* LinuxDsoDebug of Breakpad. *kept is false if the callee leaves out the memory of the dynamic section that it shows.
 */
mdc_status mdc_dso_debug_move(mdc_relocation *relocation, const mdc_carried_stream *stream, bool *kept, mdc_error *err);

#endif
