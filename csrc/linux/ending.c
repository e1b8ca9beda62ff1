/* How a target comes to its end (see ending.h). */
#include "ending.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "../base/fail.h"
#include "../base/shortage.h"

enum { NAME_MAX_BYTES = 24, SIGNAL_MASK = 0x7F };

/* Those of signal(7) that end a process with a core, and those that are used to kill one. */
static void signal_name(int32_t number, char name[NAME_MAX_BYTES]) {
    static const struct {
        int32_t number;
        const char *name;
    } known[] = {{SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGHUP, "SIGHUP"},
                 {SIGILL, "SIGILL"},   {SIGINT, "SIGINT"},   {SIGKILL, "SIGKILL"}, {SIGQUIT, "SIGQUIT"},
                 {SIGSEGV, "SIGSEGV"}, {SIGSYS, "SIGSYS"},   {SIGTERM, "SIGTERM"}, {SIGTRAP, "SIGTRAP"},
                 {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}};
    snprintf(name, NAME_MAX_BYTES, "signal %d", (int)number);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].number == number) snprintf(name, NAME_MAX_BYTES, "%s", known[i].name);
}

/* The code of a process that session control stopped is the signal that did (do_task_stat in fs/proc/array.c). */
static bool kills(int32_t number) {
    return number != 0 && number != SIGSTOP && number != SIGTSTP && number != SIGTTIN && number != SIGTTOU;
}

mdc_status mdc_ending_check_core(const mdc_identity *identity, int32_t phase, mdc_error *err) {
    long dumping = 0; /* Linux 4.15; without memory there is no such line */
    mdc_process_stat stat;
    char name[NAME_MAX_BYTES] = "a signal";
    mdc_error ignored;
    mdc_error_clear(&ignored);
    if (mdc_process_status_number(identity->task, "\nCoreDumping:", &dumping, &ignored) != MDC_OK) {
        if (mdc_is_shortage(ignored.code) && err->code == MDC_OK) *err = ignored;
        return err->code;
    }
    if (dumping != 1) return MDC_OK;
    /* From the first moment of a core on, the code of the whole process is the signal (zap_process in fs/coredump.c).
     */
    if (mdc_process_read_stat(identity->directory, &stat, &ignored) == MDC_OK && (stat.exit_code & SIGNAL_MASK) != 0)
        signal_name(stat.exit_code & SIGNAL_MASK, name);
    return mdc_fail(err, MDC_ERR_TARGET, phase, 0,
                    "process %d is dumping core after %s: its threads no longer have registers, and stopping them "
                    "would damage the core; use the core (see kernel.core_pattern)",
                    (int)identity->pid, name);
}

mdc_status mdc_ending_explain(const mdc_identity *identity, mdc_status status, mdc_error *err) {
    if (status != MDC_ERR_TARGET_GONE || identity->task < 0) return status;
    mdc_error better;
    mdc_process_stat stat;
    mdc_error_clear(&better);
    mdc_status found = mdc_ending_check_core(identity, err->phase, &better);
    if (found == MDC_OK && mdc_process_read_stat(identity->directory, &stat, &better) == MDC_OK &&
        kills(stat.exit_code & SIGNAL_MASK)) {
        char name[NAME_MAX_BYTES];
        signal_name(stat.exit_code & SIGNAL_MASK, name);
        found = mdc_fail(&better, MDC_ERR_TARGET_GONE, err->phase, ESRCH, "process %d was killed by %s",
                         (int)identity->pid, name);
    }
    if (found != MDC_ERR_TARGET && found != MDC_ERR_TARGET_GONE) return status;
    better.pid = err->pid;
    *err = better;
    return found;
}
