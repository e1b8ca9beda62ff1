/* futex(2) (see futexes.h). */
#include "futexes.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(_Atomic uint32_t) == 4, "a futex is a 32-bit word");

static int wait(const _Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
    if (syscall(SYS_futex, word, operation, value, timeout, NULL, 0) == 0) return 0;
    return errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT ? 0 : errno;
}

int mdc_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns) {
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000U), (long)(timeout_ns % 1000000000U)};
    return wait(word, FUTEX_WAIT_PRIVATE, value, &timeout); /* private: the key is the memory, which is shared */
}

void mdc_futex_wake(const _Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

int mdc_futex_wait_cleared(const _Atomic uint32_t *word) {
    int rc = 0;
    uint32_t value;
    /* Not private: the kernel wakes by the other kind of key (mm_release in kernel/fork.c). */
    while (rc == 0 && (value = atomic_load(word)) != 0) rc = wait(word, FUTEX_WAIT, value, NULL);
    return rc;
}
