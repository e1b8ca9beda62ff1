/* Windows has no such limits: only memory can run out (see shortage.h). */
#include "fail.h"
#include "shortage.h"

bool mdc_is_shortage(mdc_status status) { return status == MDC_ERR_NOMEM || status == MDC_ERR_LIMIT; }

mdc_status mdc_fail_short(mdc_error *err, int32_t phase, int32_t os_errno, const char *what) {
    return mdc_fail(err, MDC_ERR_NOMEM, phase, os_errno, "%s", what);
}

mdc_status mdc_fail_start(mdc_error *err, int32_t phase, int32_t os_errno, const char *what) {
    return mdc_fail_short(err, phase, os_errno, what);
}
