/* One call at a time, without the 5 ns of a locked instruction per call: a lock that is biased towards the thread that
 * used it last.
 *
 * The owner of the bias raises a flag of its own with a plain store, checks that the bias is still its own, and is in.
 * Any other thread takes the lock, revokes the bias, has the kernel put a memory barrier into every running thread
 * of the process (membarrier(2), FlushProcessWriteBuffers on Windows), and only then looks at the flag: either it sees
 * the flag, or the former owner sees that the bias was revoked. When it leaves, the bias is its own. An engine
 * calls from one thread, so this happens about once per dump. Without such a barrier there is no bias and
 * each call takes the lock. Never waits: a second call inside is refused. */
#ifndef MDC_CALLBACK_BIASED_LOCK_H
#define MDC_CALLBACK_BIASED_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

/* A flag per bias granted, reused in turn: a thread that lost the bias between two instructions lowers its old
 * flag, not its successor's. */
enum { MDC_BIASED_LOCK_FLAGS = 16 };
#define MDC_BIASED_LOCK_NONE UINT64_MAX

typedef struct mdc_biased_lock {
    _Atomic uint64_t bias; /* thread mark | number of its flag, or MDC_BIASED_LOCK_NONE */
    atomic_uint lock;
    atomic_uint flag[MDC_BIASED_LOCK_FLAGS];
    uint32_t next_flag; /* only under the lock */
    bool barrier;       /* there is one */
} mdc_biased_lock;

void mdc_biased_lock_init(mdc_biased_lock *lock);
/* false: a call is inside, or about to enter. */
bool mdc_biased_lock_enter_slow(mdc_biased_lock *lock);
/* bias: the calling thread is likely to come again. */
void mdc_biased_lock_leave_slow(mdc_biased_lock *lock, bool bias);

/* Unlike for each live thread, and a multiple of MDC_BIASED_LOCK_FLAGS. The thread pointer costs one instruction where
 * a thread-local variable of a loaded library costs a call. */
static inline uint64_t mdc_biased_lock_self(void) {
#if defined(__GNUC__) && defined(__x86_64__) && !defined(_WIN32)
    uint64_t self;
    __asm__("movq %%fs:0, %0" : "=r"(self)); /* the ABI keeps the thread pointer's own address there */
    return self;
#elif defined(__GNUC__) && defined(__aarch64__) && !defined(_WIN32)
    uint64_t self;
    __asm__("mrs %0, tpidr_el0" : "=r"(self));
    return self;
#elif defined(__GNUC__) && defined(__x86_64__)
    uint64_t self;
    __asm__("movq %%gs:0x30, %0" : "=r"(self)); /* NT_TIB.Self: the thread's own TEB */
    return self;
#elif defined(__GNUC__) && defined(__i386__) && defined(_WIN32)
    uint32_t self;
    __asm__("movl %%fs:0x18, %0" : "=r"(self)); /* the same of 32 bits */
    return self;
#elif defined(_MSC_VER) && defined(_M_X64) && !defined(__clang__)
    return __readgsqword(0x30); /* the thread's own TEB */
#else
    return 0; /* no bias */
#endif
}

/* The flag to lower again, or NULL: the bias is not ours, mdc_biased_lock_enter_slow decides. */
static inline atomic_uint *mdc_biased_lock_enter(mdc_biased_lock *lock) {
    uint64_t bias = atomic_load_explicit(&lock->bias, memory_order_relaxed);
    uint64_t number = bias ^ mdc_biased_lock_self();
    if (number >= MDC_BIASED_LOCK_FLAGS) return NULL;
    atomic_uint *flag = &lock->flag[number];
    atomic_store_explicit(flag, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the barrier itself is the other side's business */
    if (atomic_load_explicit(&lock->bias, memory_order_acquire) == bias) return flag;
    atomic_store_explicit(flag, 0, memory_order_release);
    return NULL;
}

/* Called by the thread inside, before it calls something that may call back: its bias would let that call in. */
static inline void mdc_biased_lock_shut(mdc_biased_lock *lock) {
    atomic_store_explicit(&lock->bias, MDC_BIASED_LOCK_NONE, memory_order_release);
}

static inline void mdc_biased_lock_leave(atomic_uint *flag) { atomic_store_explicit(flag, 0, memory_order_release); }

#endif
