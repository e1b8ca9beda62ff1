/* Pages of modules that only the file has: clean, not in the page table of the target, and to be found again by the
 * module's path. */
#ifndef MDC_LINUX_FILEPAGES_H
#define MDC_LINUX_FILEPAGES_H

#include "mappings.h"

/* Lists them, as sorted runs of MDC_CONTENT_IN_FILE. modules: mdc_module. With a kernel without PAGEMAP_SCAN there are
 * none, nor for a module without a build id, or whose path now leads to another file (device, inode) or to none. */
mdc_status mdc_filepages_find(mdc_vec *runs, int proc, const mdc_mappings *mappings, const mdc_vec *modules,
                              mdc_error *err);
/* Shortens a run of content() to what is alike in this respect, and says so. */
void mdc_filepages_cut(const mdc_vec *known, mdc_content *run);

#endif
