/* An engine in C that is not ours, built against the installed headers alone: it knows a process of one module and
 * a list of regions, and asks a callback about them as dbghelp does. */
#ifndef MDC_SUPPORT_ENGINE_DOUBLE_H
#define MDC_SUPPORT_ENGINE_DOUBLE_H

#include <stddef.h>
#include <stdint.h>

#include <minidump_cffi/callback.h>

/* cdef: begin */
/* One dump, from IsProcessSnapshot to the last region. A region that is left out has the size 0 afterwards, another one
 * the range that stays of it. Returns how many stay; *module_flags: ModuleWriteFlags of libsecret.so. */
size_t mdc_double_drive(const MINIDUMP_CALLBACK_INFORMATION *callee, MINIDUMP_MEMORY_INFO *regions, size_t count,
                        uint32_t *module_flags);
/* One callback with nothing in it: the answer. */
int32_t mdc_double_ask(const MINIDUMP_CALLBACK_INFORMATION *callee, uint32_t type);
/* What the compiler of this file makes of the headers: bytes of MINIDUMP_CALLBACK_INPUT, MINIDUMP_CALLBACK_OUTPUT and
 * mdc_engine_options. */
void mdc_double_sizes(size_t sizes[3]);
/* cdef: end */

#endif
