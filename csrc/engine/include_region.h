/* Asking IncludeVmRegion: with facts about the mapping, again about the remainder if the callee understands that, and
 * about pieces of a Normal dump. */
#ifndef MDC_ENGINE_INCLUDE_REGION_H
#define MDC_ENGINE_INCLUDE_REGION_H

#include "capture.h"

/* What becomes of a kept part [first, end) of the region. context: that of mdc_include_region. */
typedef mdc_status (*mdc_keep)(void *context, size_t region, uint64_t first, uint64_t end, mdc_error *err);
/* Asks about [first, end) of the region, in parts if the callee is asked again, and keeps what it keeps. */
mdc_status mdc_include_region(const mdc_capture *capture, size_t region, uint64_t first, uint64_t end,
                              uint32_t fact_flags, mdc_keep keep, void *context, mdc_error *err);

#endif
