/* Where dbghelp reads for the Exception stream: it follows EXCEPTION_POINTERS in the target by itself, and asks nobody
 * about what lies there. */
#ifndef MDC_WINDOWS_DBGHELP_EXCEPTION_H
#define MDC_WINDOWS_DBGHELP_EXCEPTION_H

#include <stdbool.h>

#include "../api/engine.h"
#include "../source/source.h"

/* The pointers, the record and the registers, as far as they can be read; returns how many. 0 if there was no
 * exception, or if it is described in this process. */
size_t mdc_dbghelp_exception_find(const mdc_exception_info *info, void *process, mdc_span spans[3]);
/* False if it is described in this process and cannot be read there; *address is where. dbghelp looks without a check,
 * so that a wrong address would be the end of this process. */
bool mdc_dbghelp_exception_readable(const mdc_exception_info *info, uint64_t *address);

#endif
