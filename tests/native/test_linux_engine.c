/* A build either dumps processes of its own processor, or says that it has no engine for them. */
#include "linux_target.h"

#include "base/fail.h"
#include "linux/access.h"
#include "linux/live.h"

int main(void) {
    const mdc_live_options options = {.pid = (int32_t)getpid(), .pidfd = -1};
    mdc_error err;
    mdc_error_clear(&err);
    mdc_source *source = mdc_live_new(&options, &err);
    const char *missing = mdc_access_no_engine();
#if defined(__x86_64__)
    CHECK(missing == NULL);
#else
    CHECK(missing != NULL);
#endif
    CHECK((source != NULL) == (missing == NULL));
    if (missing == NULL) {
        source->ops->free(source);
        return 0;
    }
    CHECK(err.code == MDC_ERR_TARGET && err.phase == MDC_PHASE_OPEN);
    CHECK(strstr(err.message, missing) != NULL && strstr(err.message, "no engine") != NULL);
    return 0;
}
