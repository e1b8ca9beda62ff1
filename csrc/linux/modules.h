/* Images among the mappings, ELF (also in the middle of a file, which is an archive then) and the PE images of Wine:
 * base, size, path, identity, names; marks their regions MDC_KIND_IMAGE and MDC_MEM_IMAGE. Everything in their headers
 * is hostile: bounded and checked. */
#ifndef MDC_LINUX_MODULES_H
#define MDC_LINUX_MODULES_H

#include "mappings.h"
#include "memory.h"

/* modules: mdc_module; the main executable first, then by address. entry: AT_PHDR of the target (0 if not known). */
mdc_status mdc_modules_find(mdc_vec *modules, mdc_mappings *mappings, mdc_memory *memory, int proc, uint64_t phdr,
                            mdc_error *err);

#endif
