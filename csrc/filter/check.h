/* Checks what a filter is made of before anything is compiled. */
#ifndef MDC_FILTER_CHECK_H
#define MDC_FILTER_CHECK_H

#include "../api/filter.h"

/* More rules, ranges, threads or module rules than this are refused. */
#define MDC_FILTER_RULES_MAX ((size_t)1 << 24)

/* MDC_OK, or MDC_ERR_FILTER naming the first rule, range or thread that can never mean anything. */
mdc_status mdc_filter_check(const mdc_filter_spec *spec, mdc_error *err);

#endif
