/* Whether /proc is that of our own pid namespace (see procfs.h). */
#include "procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "process.h"

enum { STATUS_BYTES = 1 << 20, PROC_MAGIC = 0x9FA0 }; /* PROC_SUPER_MAGIC of linux/magic.h */

/* Our numbers as /proc shows them, from its own namespace down to ours; 0 if it does not (before Linux 4.1). */
static mdc_status own_numbers(int self, long *first, size_t *count, mdc_error *err) {
    mdc_vec text;
    bool cut;
    *count = 0;
    mdc_vec_init(&text, 1);
    mdc_status status = mdc_process_read_text(self, "status", STATUS_BYTES, &text, &cut, err);
    if (status == MDC_OK) status = mdc_vec_push(&text, "", 1, NULL, err); /* a string */
    char *at = status == MDC_OK ? strstr(text.data, "\nNSpid:") : NULL;
    if (at != NULL) {
        char *end;
        at += strlen("\nNSpid:");
        at[strcspn(at, "\n")] = '\0';
        for (long number = strtol(at, &end, 10); end != at; number = strtol(at, &end, 10)) {
            if ((*count)++ == 0) *first = number;
            at = end;
        }
    }
    mdc_vec_fini(&text);
    return status;
}

mdc_status mdc_procfs_check(mdc_error *err) {
    struct statfs about;
    int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self < 0) {
        int saved = errno;
        if (saved != ENOENT && saved != ENOTDIR && saved != ESRCH)
            return mdc_fail_short(err, MDC_PHASE_OPEN, saved, "cannot open /proc/self");
        if (statfs("/proc", &about) != 0 || about.f_type != PROC_MAGIC)
            return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, saved,
                            "/proc is not mounted here: mount it (mount -t proc proc /proc)");
        return mdc_fail(
            err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
            "/proc is that of another pid namespace, in which this process does not exist: mount the one of "
            "this one (mount -t proc proc /proc)");
    }
    long shown = 0;
    size_t count = 0;
    mdc_status status = own_numbers(self, &shown, &count, err);
    close(self);
    if (status != MDC_OK) return status;
    if (count == 0) { /* without the numbers of all namespaces: the one that the link has, which may agree by chance */
        char link[16] = "";
        ssize_t size = readlink("/proc/self", link, sizeof link - 1);
        shown = size > 0 ? strtol(link, NULL, 10) : 0;
        count = shown == (long)getpid() ? 1 : 2;
    }
    if (count == 1) return MDC_OK;
    return mdc_fail(
        err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
        "/proc is that of another pid namespace (this process is %ld there and %ld here): one number means "
        "two processes; mount the one of this namespace (mount -t proc proc /proc), or run in the other one",
        shown, (long)getpid());
}
