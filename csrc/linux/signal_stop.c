#include "signal_stop.h"

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>

#include "../format/linux_signal.h"

_Static_assert(sizeof(siginfo_t) == MDC_SIGINFO_BYTES, "siginfo_t of 64-bit processes");

int32_t mdc_signal_of_tracee(int32_t tid, mdc_signal_info *info) {
    siginfo_t raw;
    uint8_t bytes[MDC_SIGINFO_BYTES];
    mdc_siginfo found;
    memset(&raw, 0, sizeof raw);
    if (ptrace(PTRACE_GETSIGINFO, tid, NULL, &raw) != 0) return 0; /* EINVAL in a group-stop */
    memcpy(bytes, &raw, sizeof bytes);
    mdc_siginfo_parse(bytes, &found);
    info->signal = (uint32_t)found.signal;
    info->code = found.code;
    info->address = found.address;
    info->parameter_count = found.parameter_count;
    memcpy(info->parameters, found.parameters, sizeof found.parameters);
    return 1;
}
