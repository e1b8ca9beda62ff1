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
#include "../base/shortage.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* linux/auxvec.h: what the kernel puts on it, with all registers of this processor */
#endif

enum { USED_BYTES = 64 * 1024 }; /* by handlers: ours needs little, those that come after it walk stacks */

struct mdc_crash_stacks {
    pthread_key_t key;
    _Atomic int32_t count;
};

/* The value of a covered thread. */
typedef struct covered_thread {
    mdc_crash_stacks *stacks;
    uint8_t *base; /* of the mapping, which begins with the guard page; NULL: the stack is another's */
    size_t size;
} covered_thread;

/* At the end of a thread. */
static void uncover(void *value) {
    covered_thread *thread = value;
    atomic_fetch_sub(&thread->stacks->count, 1);
    if (thread->base != NULL) {
        stack_t now, none = {.ss_flags = SS_DISABLE};
        if (sigaltstack(NULL, &now) == 0 && (uint8_t *)now.ss_sp > thread->base &&
            (uint8_t *)now.ss_sp < thread->base + thread->size)
            sigaltstack(&none, NULL);
        munmap(thread->base, thread->size);
    }
    free(thread);
}

mdc_crash_stacks *mdc_crash_stacks_new(mdc_error *err) {
    mdc_crash_stacks *stacks = malloc(sizeof *stacks);
    if (stacks == NULL) {
        mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_NONE, 0, "no memory for the alternate stacks");
        return NULL;
    }
    atomic_init(&stacks->count, 0);
    const int rc = pthread_key_create(&stacks->key, uncover);
    if (rc != 0) {
        free(stacks);
        mdc_fail(err, MDC_ERR_LIMIT, MDC_PHASE_NONE, rc, "no more keys for data of threads");
        return NULL;
    }
    return stacks;
}

static mdc_status give_stack(covered_thread *thread, mdc_error *err) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t size = (USED_BYTES + (size_t)getauxval(AT_MINSIGSTKSZ) + page - 1) / page * page;
    uint8_t *base =
        mmap(NULL, page + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return mdc_fail_short(err, MDC_PHASE_NONE, errno, "cannot map an alternate stack for a thread");
    mprotect(base, page, PROT_NONE); /* if refused, it works unguarded */
    const stack_t stack = {.ss_sp = base + page, .ss_size = size};
    if (sigaltstack(&stack, NULL) != 0) {
        const int os_errno = errno;
        munmap(base, page + size);
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, os_errno, "no alternate stack can be set");
    }
    thread->base = base;
    thread->size = page + size;
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
