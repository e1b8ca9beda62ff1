/* Asking for registers (see win_context.h). */
#include "win_context.h"

#include <stdatomic.h>
#include <string.h>
#include <windows.h>

#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/vec.h"

_Static_assert(sizeof(CONTEXT) == MDC_CONTEXT_SIZE, "CONTEXT of the build is the one of the protocol");

enum { ASKER_STACK = 64 * 1024, HANG_MS = 3000 };

/* Shared by the caller and the thread that waits for the answer; the last one frees it. */
struct mdc_win_asker {
    CONTEXT context; /* first: it wants an alignment of 16, which is that of a block */
    HANDLE go;       /* there is a question, or `over` */
    HANDLE answered;
    HANDLE thread; /* the target's; a handle of our own */
    BOOL read;
    _Atomic bool over;
    _Atomic int references;
};

static void let_go(mdc_win_asker *asker) {
    if (atomic_fetch_sub(&asker->references, 1) != 1) return;
    if (asker->go != NULL) CloseHandle(asker->go);
    if (asker->answered != NULL) CloseHandle(asker->answered);
    if (asker->thread != NULL) CloseHandle(asker->thread);
    mdc_dealloc(asker);
}

static DWORD WINAPI answer(void *argument) {
    mdc_win_asker *asker = argument;
    while (WaitForSingleObject(asker->go, INFINITE) == WAIT_OBJECT_0 && !atomic_load(&asker->over)) {
        memset(&asker->context, 0, sizeof asker->context);
        asker->context.ContextFlags = CONTEXT_ALL;
        if (MDC_FAILPOINT("regs:hang") != 0) Sleep(HANG_MS); /* as one that sits in a driver */
        asker->read = GetThreadContext(asker->thread, &asker->context);
        SetEvent(asker->answered);
    }
    let_go(asker);
    return 0;
}

static mdc_win_asker *asker_new(mdc_error *err) {
    mdc_win_asker *asker = mdc_alloc(1, sizeof *asker, err);
    if (asker == NULL) return NULL;
    atomic_init(&asker->references, 1);
    asker->go = CreateEventW(NULL, FALSE, FALSE, NULL);
    asker->answered = CreateEventW(NULL, FALSE, FALSE, NULL);
    HANDLE thread = NULL;
    if (asker->go != NULL && asker->answered != NULL) {
        atomic_store(&asker->references, 2);
        thread = CreateThread(NULL, ASKER_STACK, answer, asker, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (thread == NULL) atomic_store(&asker->references, 1);
    }
    if (thread == NULL) {
        mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_STOP, (int32_t)GetLastError(),
                 "cannot start the thread that reads registers");
        let_go(asker);
        return NULL;
    }
    CloseHandle(thread);
    return asker;
}

/* A context that says it holds nothing. */
static void empty(mdc_win_context *context) {
    CONTEXT nothing;
    memset(&nothing, 0, sizeof nothing);
    nothing.ContextFlags = CONTEXT_ALL & ~0xFFFFu;
    memset(context, 0, sizeof *context);
    memcpy(context->bytes, &nothing, sizeof nothing);
}

static void take(mdc_win_context *context, const CONTEXT *from) {
    CONTEXT clean = *from;
    clean.ContextFlags = CONTEXT_ALL; /* Windows adds bits of its own (CONTEXT_EXCEPTION_REPORTING and others) */
    memcpy(context->bytes, &clean, sizeof clean);
#if defined(__x86_64__) || defined(_M_X64)
    context->stack_pointer = from->Rsp;
    context->instruction_pointer = from->Rip;
#elif defined(__i386__) || defined(_M_IX86)
    context->stack_pointer = from->Esp;
    context->instruction_pointer = from->Eip;
#elif defined(__aarch64__) || defined(_M_ARM64)
    context->stack_pointer = from->Sp;
    context->instruction_pointer = from->Pc;
#else
#error "registers are known for x86, x64 and arm64 only"
#endif
}

mdc_status mdc_win_context_read(mdc_win_asker **asker, void *thread, uint64_t timeout_ns, mdc_win_context *context,
                                bool *read, mdc_error *err) {
    HANDLE self = GetCurrentProcess(), own = NULL;
    *read = false;
    empty(context);
    if (thread == NULL || MDC_FAILPOINT("regs:thread") != 0 ||
        !DuplicateHandle(self, thread, self, &own, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return MDC_OK;
    if (*asker == NULL) *asker = asker_new(err);
    if (*asker == NULL) {
        CloseHandle(own);
        return err->code;
    }
    if ((*asker)->thread != NULL) CloseHandle((*asker)->thread);
    (*asker)->thread = own;
    SetEvent((*asker)->go);
    uint64_t timeout_ms = timeout_ns / 1000000 + 1;
    if (WaitForSingleObject((*asker)->answered, timeout_ms < INFINITE ? (DWORD)timeout_ms : INFINITE - 1) !=
        WAIT_OBJECT_0) {
        mdc_win_asker_free(*asker); /* with its question: it ends when that is answered */
        *asker = NULL;
        return MDC_OK;
    }
    *read = (*asker)->read;
    if (*read) take(context, &(*asker)->context);
    return MDC_OK;
}

void mdc_win_asker_free(mdc_win_asker *asker) {
    if (asker == NULL) return;
    atomic_store(&asker->over, true);
    SetEvent(asker->go);
    let_go(asker);
}
