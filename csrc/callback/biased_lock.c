/* The slow side of the gate (see biased_lock.h). */
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

void mdc_gate_init(mdc_gate *gate) {
    atomic_init(&gate->favour, MDC_GATE_NOBODY);
    atomic_init(&gate->lock, 0);
    for (int i = 0; i < MDC_GATE_FLAGS; i++) atomic_init(&gate->flag[i], 0);
    gate->next_flag = 0;
    gate->barrier = barrier_prepare();
}

static bool any_flag(const mdc_gate *gate) {
    for (int i = 0; i < MDC_GATE_FLAGS; i++)
        if (atomic_load_explicit(&gate->flag[i], memory_order_acquire) != 0) return true;
    return false;
}

bool mdc_gate_enter_slow(mdc_gate *gate) {
    if (atomic_exchange_explicit(&gate->lock, 1, memory_order_acquire) != 0) return false;
    bool alone = true;
    /* Acquire: a thread that shut the gate from inside raised its flag before. */
    if (atomic_load_explicit(&gate->favour, memory_order_acquire) != MDC_GATE_NOBODY) {
        atomic_store_explicit(&gate->favour, MDC_GATE_NOBODY, memory_order_seq_cst);
        alone = barrier_all(); /* refused after all: nothing can be known about the favoured thread */
        if (!alone) gate->barrier = false;
    }
    /* Also without a favour to withdraw: the last favoured thread may still be inside. */
    if (alone && !any_flag(gate)) return true;
    atomic_store_explicit(&gate->lock, 0, memory_order_release);
    return false;
}

void mdc_gate_leave_slow(mdc_gate *gate, bool favour) {
    uint64_t self = mdc_gate_self();
    if (favour && gate->barrier && self != 0 && self >> 60 == 0) {
        gate->next_flag = (gate->next_flag + 1) % MDC_GATE_FLAGS;
        atomic_store_explicit(&gate->favour, self << 4 | gate->next_flag, memory_order_relaxed);
    }
    atomic_store_explicit(&gate->lock, 0, memory_order_release);
}
