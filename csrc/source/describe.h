/* A region as IncludeVmRegion describes it: MINIDUMP_MEMORY_INFO, and the facts of MDC_EXT_REGION_FACTS. One place for
 * the engine's question, for the same question asked again after a dump, and for what is added to dbghelp's. */
#ifndef MDC_SOURCE_DESCRIBE_H
#define MDC_SOURCE_DESCRIBE_H

#include "../api/minidump_protocol.h"
#include "source.h"

/* The whole region. */
MINIDUMP_MEMORY_INFO mdc_describe_info(const mdc_region *region);
/* Writes every member, in place: it may be the input of the next call, in which a callee has left anything. name: in
 * the pool, that of region->name_id, not looked at if that is 0. The pool has to live as long as the facts. */
void mdc_describe_facts(const mdc_region *region, const uint8_t *pool, mdc_name name, mdc_region_facts *facts);

#endif
