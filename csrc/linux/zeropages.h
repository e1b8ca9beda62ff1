/* Memory that was read and never written maps the kernel's page of zeros: present, and nothing is stored there. */
#ifndef MDC_LINUX_ZEROPAGES_H
#define MDC_LINUX_ZEROPAGES_H

#include "../base/dump_control.h"
#include "../base/vec.h"
#include "../source/source.h"

/* Runs of 64 KiB of that page and more become MDC_CONTENT_ZERO in `runs` (sorted runs of the regions); shorter ones
 * stay DATA. pagemap is asked only where more is DATA than smaps called resident: that page does not count as
 * resident in any process, and the query makes a scan 3.6 times slower. A kernel without support is not an error.
 * dump control: as that of mdc_pagemap_query. */
mdc_status mdc_zeropages_find(mdc_vec *runs, int pagemap, const mdc_region *regions, size_t count,
                              mdc_dump_control *control, mdc_error *err);

#endif
