/* The report of a dump by dbghelp: what was asked and answered, joined with the content of the file. */
#ifndef MDC_DBGHELP_DBGHELP_REPORT_H
#define MDC_DBGHELP_DBGHELP_REPORT_H

#include "invocation.h"

typedef struct mdc_dbghelp_report {
    mdc_report report; /* points into what follows, and into the proxy's names */
    mdc_vec regions;   /* mdc_report_region */
    mdc_vec threads;
    mdc_vec modules;
    mdc_vec extents;
    mdc_vec runs; /* of memory in the file, while the extents are made */
} mdc_dbghelp_report;

/* Nothing but room: also the report of a dump that failed. */
void mdc_dbghelp_report_init(mdc_dbghelp_report *report);
void mdc_dbghelp_report_fini(mdc_dbghelp_report *report);
/* file: NULL if the callee took the bytes and there is nothing to read back. hidden: mdc_span, sorted by address and
 * disjoint: memory whose bytes in the file were overwritten, so that the dump does not answer for it. The proxy's
 * memory is used on until the report is not looked at any more. */
mdc_status mdc_dbghelp_report_fill(mdc_dbghelp_report *report, mdc_proxy *proxy, const mdc_dump_reader *file,
                                   const mdc_vec *hidden, const mdc_engine_options *options, mdc_error *err);

#endif
