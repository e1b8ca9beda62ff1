/* The report: what the dump is, made of what the stages hold. No stage reads it.
 *
 * mdc_report_reserve once the lists are captured, so that nothing can fail when the dump is; mdc_report_make when the
 * dump has ended, however far it came. */
#ifndef MDC_ENGINE_REPORT_H
#define MDC_ENGINE_REPORT_H

#include "layout.h"

typedef struct mdc_report_rows {
    mdc_report report;
    mdc_report_region *regions;
    mdc_report_thread *threads;
    mdc_report_module *modules;
    uint8_t *names; /* the source's pool */
} mdc_report_rows;

mdc_status mdc_report_reserve(mdc_report_rows *rows, const mdc_capture *capture, mdc_error *err);
void mdc_report_fini(mdc_report_rows *rows);
/* zeros: by region, bytes that turned out to be holes; NULL: none. file_bytes: that were written; 0: those of the plan.
 */
void mdc_report_make(mdc_report_rows *rows, const mdc_layout *layout, const uint64_t *zeros, uint64_t file_bytes,
                     uint64_t stop_time_ns);

#endif
