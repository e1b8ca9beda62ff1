/* Filling the one error struct (see fail.h). */
#include "fail.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "os_error.h"

#if defined(__GNUC__) && !defined(__clang__)
/* gcc cannot see that the callers' formats are checked by MDC_PRINTF. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#endif

void mdc_error_clear(mdc_error *err) {
    memset(err, 0, sizeof *err);
    err->callback_type = -1;
    err->index = -1;
}

static void append_os_error(mdc_error *err, int32_t os_errno) {
    size_t used = strlen(err->message);
    char text[256];
    mdc_os_error_text(os_errno, text, sizeof text);
    snprintf(err->message + used, sizeof err->message - used, ": %s", text);
}

static mdc_status fill(mdc_error *err, mdc_status code, int32_t phase, int32_t os_errno, const char *format,
                       va_list args) {
    if (err->code != MDC_OK) return err->code;
    mdc_error_clear(err);
    err->code = code;
    err->phase = phase;
    err->os_errno = os_errno;
    err->hresult = code == MDC_ERR_CANCELLED ? 0x800704C7u
                   : code == MDC_ERR_NOMEM   ? 0x8007000Eu
                   : os_errno != 0           ? mdc_os_error_hresult(os_errno)
                                             : 0x80004005u;
    vsnprintf(err->message, sizeof err->message, format, args);
    if (os_errno != 0) append_os_error(err, os_errno);
    return code;
}

mdc_status mdc_fail(mdc_error *err, mdc_status code, int32_t phase, int32_t os_errno, const char *format, ...) {
    va_list args;
    va_start(args, format);
    mdc_status status = fill(err, code, phase, os_errno, format, args);
    va_end(args);
    return status;
}

mdc_status mdc_fail_at(mdc_error *err, mdc_status code, int32_t phase, int64_t index, const char *format, ...) {
    bool first = err->code == MDC_OK;
    va_list args;
    va_start(args, format);
    mdc_status status = fill(err, code, phase, 0, format, args);
    va_end(args);
    if (first) err->index = index;
    return status;
}

mdc_status mdc_fail_callback(mdc_error *err, int32_t callback_type, uint64_t address, const char *format, ...) {
    bool first = err->code == MDC_OK;
    va_list args;
    va_start(args, format);
    mdc_status status = fill(err, MDC_ERR_CALLBACK, MDC_PHASE_NONE, 0, format, args);
    va_end(args);
    if (first) {
        err->callback_type = callback_type;
        err->address = address;
        err->hresult = 0x80070057u; /* E_INVALIDARG, as an engine answers a wrong output */
    }
    return status;
}
