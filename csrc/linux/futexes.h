/* Waiting on a word that another process changes, one that shares our memory and can be killed at any instruction: no
 * state but the word, so there is nothing that it could leave locked. See futex(2). */
#ifndef MDC_LINUX_FUTEXES_H
#define MDC_LINUX_FUTEXES_H

#include <stdatomic.h>
#include <stdint.h>

/* Waits while the word has this value, for timeout_ns at most. 0: look again (changed, woken, interrupted, time out);
 * else the kernel's error number: it does not wait. */
int mdc_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
/* Wakes all that wait. */
void mdc_futex_wake(const _Atomic uint32_t *word);
/* Waits until the kernel has cleared the word of CLONE_CHILD_CLEARTID. */
int mdc_futex_wait_cleared(const _Atomic uint32_t *word);

#endif
