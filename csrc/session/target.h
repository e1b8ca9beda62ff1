/* The system-dependent parts of a session: its target and its output. */
#ifndef MDC_SESSION_TARGET_H
#define MDC_SESSION_TARGET_H

#include "../source/source.h"
#include "session.h"

/* Whether the spec names a process at all, and nothing that this system does not know. */
mdc_status mdc_target_check(const mdc_session_spec *spec, mdc_error *err);
/* Replaces spec->process, if there is one, by a duplicate of the session's own. On failure it is 0. */
mdc_status mdc_target_take(mdc_session_spec *spec, mdc_error *err);
/* Closes what mdc_target_take made; works twice. */
void mdc_target_drop(mdc_session_spec *spec);
/* The live process as a source; nothing is touched yet. */
mdc_source *mdc_target_open(const mdc_session_spec *spec, mdc_error *err);

/* A duplicate of a descriptor or HANDLE that no child process inherits; *own is -1 if that fails. */
mdc_status mdc_output_duplicate(int64_t fd, intptr_t *own, mdc_error *err);
/* -1 is allowed. */
void mdc_output_close(intptr_t own);

#endif
