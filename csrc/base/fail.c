/* Filling the one error struct (see fail.h). */
#include "fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
/* gcc cannot see that the callers' formats are checked by MDC_PRINTF. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#endif

void mdc_error_clear(mdc_error *err) {
    memset(err, 0, sizeof *err);
    err->callback_type = -1;
    err->index = -1;
}

static void append_errno(mdc_error *err, int32_t os_errno) {
    size_t used = strlen(err->message);
    char text[128];
    /* strerror is not safe between threads; the XSI and the GNU strerror_r differ in type. */
#if defined(_WIN32)
    if (strerror_s(text, sizeof text, os_errno) != 0) return;
    const char *name = text;
#elif defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *name = strerror_r(os_errno, text, sizeof text);
#else
    if (strerror_r(os_errno, text, sizeof text) != 0) return;
    const char *name = text;
#endif
    snprintf(err->message + used, sizeof err->message - used, ": %s (errno %d)", name, (int)os_errno);
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
                   : os_errno != 0           ? mdc_hresult_from_errno(os_errno)
                                             : 0x80004005u;
    vsnprintf(err->message, sizeof err->message, format, args);
    if (os_errno != 0) append_errno(err, os_errno);
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

uint32_t mdc_hresult_from_errno(int32_t os_errno) {
    /* HRESULT_FROM_WIN32 of the nearest Windows error; errno numbers differ between systems, so by name. */
    static const struct {
        int32_t from;
        uint32_t windows;
    } table[] = {
        {EPERM, 5},        /* ERROR_ACCESS_DENIED */
        {EACCES, 5},       /* ERROR_ACCESS_DENIED */
        {ENOENT, 2},       /* ERROR_FILE_NOT_FOUND */
        {ESRCH, 87},       /* ERROR_INVALID_PARAMETER: what OpenProcess says of a pid that is gone */
        {EINVAL, 87},      /* ERROR_INVALID_PARAMETER */
        {ENOMEM, 14},      /* ERROR_OUTOFMEMORY */
        {ENOSPC, 112},     /* ERROR_DISK_FULL */
        {EIO, 299},        /* ERROR_PARTIAL_COPY */
        {EFAULT, 998},     /* ERROR_NOACCESS */
        {EPIPE, 109},      /* ERROR_BROKEN_PIPE */
        {EBUSY, 170},      /* ERROR_BUSY */
        {ETIMEDOUT, 1460}, /* ERROR_TIMEOUT */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].from == os_errno) return 0x80070000u | table[i].windows;
    return 0x80004005u; /* E_FAIL */
}
