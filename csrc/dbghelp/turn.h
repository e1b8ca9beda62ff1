/* dbghelp is single-threaded, in all of a process: calls wait for their turn.
 *
 * A kernel mutex by a name with our pid in it, and not a lock of this library: a process can hold two copies of it
 * (two extension modules, a C program's own), which do not know each other. It belongs to the thread that took
 * it, and one that is abandoned goes to the next. */
#ifndef MDC_DBGHELP_TURN_H
#define MDC_DBGHELP_TURN_H

#include <windows.h>

#include "../base/dump_control.h"

/* Waits until the turn is ours, the dump control is aborted or its deadline passes. The thread that takes it gives it
 * back.
 */
mdc_status mdc_dbghelp_turn_take(HANDLE *turn, mdc_dump_control *control, mdc_error *err);
/* NULL is allowed. */
void mdc_dbghelp_turn_give(HANDLE turn);

#endif
