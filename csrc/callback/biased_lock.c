/* The slow side of the lock (see biased_lock.h). */
#include "biased_lock.h"

#if defined(_WIN32)
#include <windows.h>
static bool barrier_prepare(void) { return true; }
static bool barrier_all(void) {
    FlushProcessWriteBuffers();
    return true;
}
#elif defined(__linux__)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
/* Since Linux 4.14; a seccomp filter may refuse it. Registering twice is harmless. */
static bool barrier_prepare(void) {
    return syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
static bool barrier_all(void) { return syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0; }
#else
static bool barrier_prepare(void) { return false; }
static bool barrier_all(void) { return false; }
#endif

void mdc_biased_lock_init(mdc_biased_lock *lock) {
    atomic_init(&lock->bias, MDC_BIASED_LOCK_NONE);
    atomic_init(&lock->lock, 0);
    for (int i = 0; i < MDC_BIASED_LOCK_FLAGS; i++) atomic_init(&lock->flag[i], 0);
    lock->next_flag = 0;
    lock->barrier = barrier_prepare();
}

static bool any_flag(const mdc_biased_lock *lock) {
    for (int i = 0; i < MDC_BIASED_LOCK_FLAGS; i++)
        if (atomic_load_explicit(&lock->flag[i], memory_order_acquire) != 0) return true;
    return false;
}

bool mdc_biased_lock_enter_slow(mdc_biased_lock *lock) {
    if (atomic_exchange_explicit(&lock->lock, 1, memory_order_acquire) != 0) return false;
    bool alone = true;
    /* Acquire: a thread that shut the lock from inside raised its flag before. */
    if (atomic_load_explicit(&lock->bias, memory_order_acquire) != MDC_BIASED_LOCK_NONE) {
        atomic_store_explicit(&lock->bias, MDC_BIASED_LOCK_NONE, memory_order_seq_cst);
        alone = barrier_all(); /* refused after all: nothing is known about the owner of the bias */
        if (!alone) lock->barrier = false;
    }
    /* Also without a bias to revoke: its last owner may still be inside. */
    if (alone && !any_flag(lock)) return true;
    atomic_store_explicit(&lock->lock, 0, memory_order_release);
    return false;
}

void mdc_biased_lock_leave_slow(mdc_biased_lock *lock, bool bias) {
    uint64_t self = mdc_biased_lock_self();
    if (bias && lock->barrier && self != 0 && self % MDC_BIASED_LOCK_FLAGS == 0) {
        lock->next_flag = (lock->next_flag + 1) % MDC_BIASED_LOCK_FLAGS;
        atomic_store_explicit(&lock->bias, self | lock->next_flag, memory_order_relaxed);
    }
    atomic_store_explicit(&lock->lock, 0, memory_order_release);
}
