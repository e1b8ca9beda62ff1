/* ELF images among the mappings: base, size, path, build id; marks their regions MDC_KIND_IMAGE and MDC_MEM_IMAGE.
 * Everything in an ELF header is hostile: bounded and checked. */
#ifndef MDC_LINUX_MODULES_H
#define MDC_LINUX_MODULES_H

#include "mappings.h"
#include "memory.h"

/* modules: mdc_module; the main executable first, then by address. entry: AT_PHDR of the target (0 if not known). */
mdc_status mdc_modules_find(mdc_vec *modules, mdc_mappings *mappings, mdc_memory *memory, int proc, uint64_t phdr,
                            mdc_error *err);

#endif
