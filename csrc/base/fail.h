/* Filling the one error struct. Every filler returns the code, so that a function can `return mdc_fail(...)`. */
#ifndef MDC_BASE_FAIL_H
#define MDC_BASE_FAIL_H

#include "../api/error.h"

#if defined(__MINGW32__) && !defined(__clang__)
/* __USE_MINGW_ANSI_STDIO gives the printf of C99; plain "printf" means the one of msvcrt to this compiler. */
#define MDC_PRINTF(fmt, first) __attribute__((format(gnu_printf, fmt, first)))
#elif defined(__GNUC__)
#define MDC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define MDC_PRINTF(fmt, first)
#endif

/* An error that says nothing went wrong. */
void mdc_error_clear(mdc_error *err);

/* Fills code, phase and message; os_errno 0 or the system's error number of the call that failed (os_error.h; its text
 * is appended). Everything else is reset. The first fault stays: an err that already carries a code is left as it is,
 * and its code returned. */
mdc_status mdc_fail(mdc_error *err, mdc_status code, int32_t phase, int32_t os_errno, const char *format, ...)
    MDC_PRINTF(5, 6);

/* mdc_fail for a fault at the rule, range or thread with this number. */
mdc_status mdc_fail_at(mdc_error *err, mdc_status code, int32_t phase, int64_t index, const char *format, ...)
    MDC_PRINTF(5, 6);

/* MDC_ERR_CALLBACK for an answer of this callback type that the protocol forbids. */
mdc_status mdc_fail_callback(mdc_error *err, int32_t callback_type, uint64_t address, const char *format, ...)
    MDC_PRINTF(4, 5);

#endif
