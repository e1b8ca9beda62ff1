/* The order in which memory is copied where the stop may end before all of it is: only with options.truncate_ns.
 *
 * Between the plan and its budget. options.choose_order says what matters most; extents are cut and sorted by that, and
 * what needs no stop (holes, what is left out, what is read late) follows. So whenever the copying ends, all that it
 * has not reached is the end of what needs the stop: mdc_truncate takes it out of the file when the target runs again.
 * Memory lists need no order of their own: Memory64List has the order of the file, the others are sorted when they are
 * written. */
#ifndef MDC_ENGINE_COPY_ORDER_H
#define MDC_ENGINE_COPY_ORDER_H

#include "cut_request.h"
#include "layout.h"
#include "report.h"

/* Of an extent, the bytes [first, end). */
typedef struct mdc_order_part {
    size_t extent; /* index into the extents of the request's plan */
    uint64_t first;
    uint64_t end;
} mdc_order_part;

struct mdc_order_list {
    mdc_vec parts; /* mdc_order_part: what matters most first; every byte of every extent once, but those left out */
};

/* layout: not built yet. */
mdc_status mdc_copy_order(mdc_plan *plan, mdc_report_rows *rows, const mdc_layout *layout, mdc_error *err);
/* Finds the chains of a plan in this order again, after extents were cut. */
mdc_status mdc_copy_order_find(mdc_plan *plan, mdc_error *err);
/* Takes out of the layout what was to be copied from this address of this extent on, and makes it gaps. */
void mdc_truncate(mdc_layout *layout, mdc_gaps *gaps, size_t extent, uint64_t address);

#endif
