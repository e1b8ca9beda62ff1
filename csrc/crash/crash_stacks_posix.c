/* Alternate stacks of threads (sigaltstack(2)); they go with their thread by a pthread key. */
#include "crash_posix.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* linux/auxvec.h: what the kernel puts on it, with all registers of this processor */
#endif

enum {
    USED_BYTES = 64 * 1024, /* by handlers: ours needs little, those that come after it walk stacks */
    SPARE = 16              /* stacks kept for the next threads: to map one takes longer than all else here */
};

struct mdc_crash_stacks {
    pthread_key_t key;
    size_t page; /* bytes of the guard */
    size_t size; /* with it */
    _Atomic int32_t count;
    uint8_t *_Atomic spare[SPARE];
};

/* The value of a covered thread. */
typedef struct covered_thread {
    mdc_crash_stacks *stacks;
    uint8_t *base; /* of the mapping, which begins with the guard page; NULL: the stack is another's */
} covered_thread;

static uint8_t *take_spare(mdc_crash_stacks *stacks) {
    for (int i = 0; i < SPARE; i++) {
        if (atomic_load_explicit(&stacks->spare[i], memory_order_relaxed) == NULL) continue;
        uint8_t *base = atomic_exchange(&stacks->spare[i], NULL);
        if (base != NULL) return base;
    }
    return NULL;
}

static void put_spare(mdc_crash_stacks *stacks, uint8_t *base) {
    for (int i = 0; i < SPARE; i++) {
        uint8_t *none = NULL;
        if (atomic_compare_exchange_strong(&stacks->spare[i], &none, base)) return;
    }
    munmap(base, stacks->size);
}

/* At the end of a thread. */
static void uncover(void *value) {
    covered_thread *thread = value;
    mdc_crash_stacks *stacks = thread->stacks;
    atomic_fetch_sub(&stacks->count, 1);
    if (thread->base != NULL) {
        stack_t last; /* another one may have taken its place */
        const stack_t none = {.ss_flags = SS_DISABLE};
        if (sigaltstack(&none, &last) == 0 && last.ss_sp != thread->base + stacks->page) sigaltstack(&last, NULL);
        put_spare(stacks, thread->base);
    }
    free(thread);
}

mdc_crash_stacks *mdc_crash_stacks_new(mdc_error *err) {
    mdc_crash_stacks *stacks = calloc(1, sizeof *stacks);
    if (stacks == NULL) {
        mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "no memory for the alternate stacks");
        return NULL;
    }
    stacks->page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t least = USED_BYTES + (size_t)getauxval(AT_MINSIGSTKSZ);
    stacks->size = stacks->page + (least + stacks->page - 1) / stacks->page * stacks->page;
    const int failpoint = MDC_FAILPOINT("crash:key");
    const int rc = failpoint != 0 ? failpoint : pthread_key_create(&stacks->key, uncover);
    if (rc != 0) {
        free(stacks);
        mdc_fail(err, MDC_ERR_LIMIT, MDC_PHASE_NONE, rc, "no more keys for data of threads");
        return NULL;
    }
    return stacks;
}

static uint8_t *map_stack(const mdc_crash_stacks *stacks) {
    const int failpoint = MDC_FAILPOINT("crash:stack");
    errno = failpoint;
    if (failpoint != 0) return NULL;
    uint8_t *base = mmap(NULL, stacks->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return NULL;
    mprotect(base, stacks->page, PROT_NONE); /* if refused, it works unguarded */
    return base;
}

static mdc_status give_stack(covered_thread *thread, mdc_error *err) {
    mdc_crash_stacks *stacks = thread->stacks;
    uint8_t *base = take_spare(stacks);
    if (base == NULL) base = map_stack(stacks);
    if (base == NULL) return mdc_fail_short(err, MDC_PHASE_NONE, errno, "cannot map an alternate stack for a thread");
    const stack_t stack = {.ss_sp = base + stacks->page, .ss_size = stacks->size - stacks->page};
    if (sigaltstack(&stack, NULL) != 0) {
        const int os_errno = errno;
        put_spare(stacks, base);
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, os_errno, "no alternate stack can be set");
    }
    thread->base = base;
    return MDC_OK;
}

mdc_status mdc_crash_stacks_cover(mdc_crash_stacks *stacks, mdc_error *err) {
    stack_t now;
    if (pthread_getspecific(stacks->key) != NULL) return MDC_OK;
    covered_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "no memory for an alternate stack");
    thread->stacks = stacks;
    if ((sigaltstack(NULL, &now) != 0 || (now.ss_flags & SS_DISABLE) != 0) && give_stack(thread, err) != MDC_OK) {
        free(thread);
        return err->code;
    }
    atomic_fetch_add(&stacks->count, 1);
    const int rc = pthread_setspecific(stacks->key, thread);
    if (rc != 0) {
        uncover(thread);
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, rc, "no memory for data of a thread");
    }
    return MDC_OK;
}

int32_t mdc_crash_stacks_count(const mdc_crash_stacks *stacks) { return atomic_load(&stacks->count); }

void mdc_crash_stacks_forked(mdc_crash_stacks *stacks) {
    atomic_store(&stacks->count, pthread_getspecific(stacks->key) != NULL);
}
