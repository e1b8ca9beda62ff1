/* The filter (see crash_windows.h). */
#include "crash_windows.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <windows.h>

#include "../base/fail.h"

enum {
    STACK_BYTES = 64 * 1024, /* for the filter and those that come after it */
    PAUSE_MS = 10,
    NS_PER_MS = 1000000
};

typedef void(__cdecl *abort_handler)(int);
typedef abort_handler(__cdecl *set_signal)(int, abort_handler);

/* The one state outside a dump: a filter is given nothing but the exception, and a process has one. It is written
 * before `armed` is, which says that it is valid. */
static struct {
    mdc_crash_spec spec;
    LPTOP_LEVEL_EXCEPTION_FILTER previous;
    set_signal set_signal; /* of the C run-time that Python uses, which need not be ours; NULL: it has none */
    abort_handler previous_abort;
    _Atomic int32_t armed;
    _Atomic uint32_t crashed; /* the thread that crashed first, 0: none */
    _Atomic int32_t dumps;
    _Atomic int32_t told; /* it has its answer, or will have none */
} state;

static void say(const char *reason) {
    static const char head[] = "minidump_cffi: no dump of this crash: ";
    char line[sizeof head + sizeof state.spec.exchange->message];
    size_t size = sizeof head - 1, length = strnlen(reason, sizeof state.spec.exchange->message);
    DWORD written;
    memcpy(line, head, size);
    memcpy(line + size, reason, length);
    size += length;
    line[size++] = '\n';
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), line, (DWORD)size, &written, NULL);
}

static void tell(EXCEPTION_POINTERS *pointers) {
    mdc_crash_exchange *exchange = state.spec.exchange;
    HANDLE waits[] = {state.spec.answered, state.spec.helper};
    exchange->tid = GetCurrentThreadId();
    exchange->code = pointers->ExceptionRecord->ExceptionCode;
    exchange->pointers = (uint64_t)(uintptr_t)pointers;
    if (!SetEvent(state.spec.asked)) {
        say("the program has closed the handle for it");
        return;
    }
    switch (WaitForMultipleObjects(2, waits, FALSE, (DWORD)(state.spec.wait_ns / NS_PER_MS))) {
    case WAIT_OBJECT_0:
        exchange->message[sizeof exchange->message - 1] = 0;
        if (exchange->failed)
            say(exchange->message);
        else
            atomic_fetch_add(&state.dumps, 1);
        return;
    case WAIT_OBJECT_0 + 1:
        say("the process that takes it has ended");
        return;
    default:
        say("the process that takes it does not answer");
        return;
    }
}

/* One dump, of what crashed first; other threads wait, since the process is to end as that one makes it end. */
static void dump(EXCEPTION_POINTERS *pointers) {
    uint32_t own = GetCurrentThreadId(), expected = 0;
    if (!atomic_load(&state.armed)) return;
    if (atomic_compare_exchange_strong(&state.crashed, &expected, own)) {
        tell(pointers);
        atomic_store(&state.told, 1);
    } else if (expected != own) {
        uint64_t left = state.spec.wait_ns / NS_PER_MS / PAUSE_MS + 100;
        while (!atomic_load(&state.told) && left-- > 0) Sleep(PAUSE_MS);
        Sleep(1000);
    }
}

/* What was told is over: the process goes on, and may crash again. */
static void survived(void) {
    atomic_store(&state.told, 0);
    atomic_store(&state.crashed, 0);
}

static LONG WINAPI on_exception(EXCEPTION_POINTERS *pointers) {
    dump(pointers);
    LPTOP_LEVEL_EXCEPTION_FILTER previous = state.previous;
    LONG answer = state.spec.chain && previous != NULL ? previous(pointers) : EXCEPTION_CONTINUE_SEARCH;
    if (answer == EXCEPTION_CONTINUE_EXECUTION) survived();
    return answer;
}

/* abort() raises no exception that a filter sees. The one that is told has its code and the registers of this call. */
static void __cdecl on_abort(int number) {
    CONTEXT context;
    RtlCaptureContext(&context);
    EXCEPTION_RECORD record = {.ExceptionCode = STATUS_FATAL_APP_EXIT,
                               .ExceptionFlags = EXCEPTION_NONCONTINUABLE,
                               .ExceptionAddress = __builtin_return_address(0)};
    EXCEPTION_POINTERS pointers = {&record, &context};
    dump(&pointers);
    abort_handler previous = state.previous_abort;
    if (state.spec.chain && previous != NULL && previous != SIG_DFL && previous != SIG_IGN) previous(number);
}

/* signal() of ucrtbase, the run-time that all Pythons for Windows use since 3.5. */
static void hook_abort(void) {
    HMODULE runtime = GetModuleHandleW(L"ucrtbase.dll");
    if (runtime == NULL) return;
    FARPROC found = GetProcAddress(runtime, "signal");
    if (found == NULL) return;
    memcpy(&state.set_signal, &found, sizeof found);
    abort_handler previous = state.set_signal(SIGABRT, on_abort);
    if (previous != on_abort) state.previous_abort = previous;
}

mdc_status mdc_crash_arm(const mdc_crash_spec *spec, mdc_error *err) {
    if (atomic_load(&state.armed))
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0,
                        "crashes of this process are dumped already, for another interpreter of it");
    state.spec = *spec;
    survived();
    atomic_store(&state.armed, 1);
    /* Ours may be there still, put back by another that had saved it: then what it had found counts. */
    LPTOP_LEVEL_EXCEPTION_FILTER previous = SetUnhandledExceptionFilter(on_exception);
    if (previous != on_exception) state.previous = previous;
    hook_abort();
    return MDC_OK;
}

void mdc_crash_disarm(void) {
    if (!atomic_exchange(&state.armed, 0)) return;
    LPTOP_LEVEL_EXCEPTION_FILTER installed = SetUnhandledExceptionFilter(state.previous);
    if (installed != on_exception) SetUnhandledExceptionFilter(installed);
    if (state.set_signal == NULL) return;
    abort_handler handler = state.set_signal(SIGABRT, state.previous_abort);
    if (handler != on_abort) state.set_signal(SIGABRT, handler);
}

int32_t mdc_crash_dumps(void) { return atomic_load(&state.dumps); }

int32_t mdc_crash_cover_thread(void) {
    ULONG bytes = STACK_BYTES;
    return SetThreadStackGuarantee(&bytes) != 0;
}

int32_t mdc_crash_wait(void *asked, void *process) {
    HANDLE waits[] = {asked, process};
    return WaitForMultipleObjects(2, waits, FALSE, INFINITE) == WAIT_OBJECT_0;
}

void mdc_crash_answer(void *answered) { SetEvent(answered); }
