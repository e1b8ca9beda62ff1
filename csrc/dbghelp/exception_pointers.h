/* Where dbghelp reads for the Exception stream: it follows EXCEPTION_POINTERS in the target by itself, without
 * callbacks about that memory. */
#ifndef MDC_DBGHELP_EXCEPTION_POINTERS_H
#define MDC_DBGHELP_EXCEPTION_POINTERS_H

#include <stdbool.h>

#include "../api/engine.h"
#include "../source/source.h"

/* The pointers, the record and the registers, as far as they can be read; returns how many. 0 if there was no
 * exception, or if it is described in this process. */
size_t mdc_dbghelp_exception_find(const mdc_exception_info *info, void *process, mdc_span spans[3]);
/* False if it cannot be read where it is described; *address is where. In this process dbghelp looks without a check,
 * so that a wrong address would be the end of us, and of what it cannot read in the target it may write anything. */
bool mdc_dbghelp_exception_readable(const mdc_exception_info *info, void *process, uint64_t *address);

#endif
