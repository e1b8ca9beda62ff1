/* One dump as Python runs it: pairs callback and engine, owns the worker thread, joins the reports.
 *
 * A session has its worker thread with all signals blocked and no Python in it (except hooks). The caller waits in
 * slices. A session that is freed while its worker hangs (a stalled sink, a plug-in) is abandoned: the worker frees it
 * when it returns; the tracer has resumed the target long before.
 * In a forked child every call fails with MDC_ERR_BUSY (or answers nothing), and mdc_session_free does nothing.
 *
 * Who owns what, and which thread may touch it:
 * - The session is counted: one reference is the caller's (until mdc_session_free), one is the worker's. Any thread may
 * wait for it, cancel it, ask for its progress or close it, as long as the caller's reference lasts. Results (report,
 * rule bytes, memory) are read by one thread, which is also the one that closes the session.
 * - What the specification points at (callback, recorder, user streams, a foreign callee and its parameter) is borrowed
 *   until mdc_session_wait returns 1, also if the session has been closed before. The caller keeps it alive.
 * - Descriptors and handles are duplicated by mdc_session_start, and closed by the worker when it ends.
 * - A source that the caller made (take_source) is the session's as soon as mdc_session_start has returned MDC_OK: it
 * is taken out of the caller's slot, and the worker frees it. Until then it is the caller's.
 * - The callback serves this session alone from mdc_session_start until it has ended (mdc_callback_acquire). */
#ifndef MDC_SESSION_SESSION_H
#define MDC_SESSION_SESSION_H

#include "../api/callback.h"
#include "../api/dbghelp.h"
#include "../api/engine.h"
#include "../source/source.h"
#include "../trace/recorder.h"

/* cdef: begin */
/* mdc_session_spec.sink */
enum { MDC_SINK_NONE = 0, MDC_SINK_FD = 1, MDC_SINK_MEMORY = 2 };

typedef struct mdc_session_spec {
    mdc_engine_options engine;          /* callback and extensions are filled in from `callback` if that is given */
    mdc_callback *callback;             /* ours, or NULL: engine.callback as it is */
    mdc_source **take_source;           /* NULL, or what holds a source that is dumped instead of a process: it holds
                                           NULL once the session has started. Not with `dbghelp` */
    const mdc_dbghelp_options *dbghelp; /* NULL: the engine of this package; copied. Windows only */
    int32_t pid;
    int32_t pidfd;        /* Linux: -1: none; stays the caller's and must outlive the session */
    int64_t process;      /* Windows: 0, or a HANDLE of the target (`pid` may be 0 then); duplicated by the session */
    int64_t shown_handle; /* Windows: set by the session: `process` as given, which callbacks see as ProcessHandle */
    uint64_t start_time;  /* 0, or the start time the process must have: field 22 of /proc/PID/stat, on Windows the
                             FILETIME of its creation */
    uint64_t deadline_ns; /* from now; 0: none */
    uint64_t max_stop_ns; /* 0: none */
    uint64_t stop_timeout_ns;  /* 0: default */
    uint64_t stall_timeout_ns; /* how long the target may be stopped without progress; 0: 30 s, UINT64_MAX: for ever */
    uint64_t busy_timeout_ns;  /* Linux: how long to wait while another process traces the target; 0: not at all */
    int32_t sink;              /* MDC_SINK_* */
    int32_t reserved;
    int64_t fd;                /* MDC_SINK_FD: a descriptor, on Windows a HANDLE; duplicated by the session */
    uint64_t memory_limit;     /* MDC_SINK_MEMORY: bytes */
    const int32_t *priorities; /* NULL, or of each rule of `callback` and its default, -1: none; for engine.max_bytes */
    size_t priority_count;
    mdc_recorder *recorder; /* NULL, or between engine and callee; must outlive the session */
} mdc_session_spec;

typedef struct mdc_session mdc_session;

/* The session is in *session when this returns, NULL if it failed: a caller that may be interrupted on the way back
 * gives a slot that has an owner already. */
mdc_status mdc_session_start(const mdc_session_spec *spec, mdc_session **session, mdc_error *err);
/* 1 if the session has ended or is NULL, 0 after timeout_ns. Never call with the GIL held (cffi releases it). */
int32_t mdc_session_wait(mdc_session *session, uint64_t timeout_ns);
/* Asks it to end; reason as MDC_ERR_CANCELLED or MDC_ERR_DEADLINE. NULL is allowed. Safe from any thread. */
void mdc_session_cancel(mdc_session *session, int32_t code);
mdc_progress mdc_session_progress(const mdc_session *session);
/* What the worker does now, or what hung where the target was resumed for that, and the words for it. */
mdc_activity mdc_session_doing(const mdc_session *session, char *text, size_t size);
/* The current call of a foreign callee (engine.callback of the spec). If repeated reads give the same call, it
 * hangs. */
typedef struct mdc_callee_state {
    uint64_t call; /* number of the last call, from 1 */
    int32_t type;  /* MDC_CB_* it is inside of, or -1 */
    int32_t reserved;
} mdc_callee_state;
mdc_callee_state mdc_session_callee(const mdc_session *session);
/* After it has ended: how. */
mdc_status mdc_session_result(const mdc_session *session, mdc_error *err);
/* After it has ended, until mdc_session_free. */
const mdc_report *mdc_session_report(const mdc_session *session);
mdc_callback_counters mdc_session_counters(const mdc_session *session);
/* Variables of the environment whose values were hidden (counted once for each place they are in), and of what a filter
 * hides everywhere how many distinct values were searched for, and how many are too short for that. */
typedef struct mdc_hidden {
    uint64_t variables;
    uint64_t searched;
    uint64_t shorter;
    uint64_t unknown; /* 1: values could not be read, so that they were not searched for */
} mdc_hidden;
mdc_hidden mdc_session_hidden(const mdc_session *session);
/* Bytes of the target's mappings by the rule that decided: kept[i] and excluded[i] are added to for rule i, index
 * rule_count is the default. Both have rule_count + 1 entries. Only with a callback of ours. */
mdc_status mdc_session_rule_stats_get(const mdc_session *session, uint64_t *kept, uint64_t *excluded, size_t entries,
                                      mdc_error *err);
/* Of kept, the bytes that max_bytes has left no room for. */
mdc_status mdc_session_over_budget(const mdc_session *session, uint64_t *over_budget, size_t entries, mdc_error *err);
/* Result, report and, if entries is not 0, the bytes of the rules in one call. NULL if it failed. */
const mdc_report *mdc_session_outcome(const mdc_session *session, uint64_t *kept, uint64_t *excluded,
                                      uint64_t *over_budget, size_t entries, mdc_error *err);
/* MDC_SINK_MEMORY: the dump. */
const uint8_t *mdc_session_memory(const mdc_session *session, size_t *size);
/* The results are not wanted any more: frees them, at once or when the session ends, and asks it to end. The session
 * itself stays valid, for other threads that wait for it or cancel it. 1 if it has ended, or is NULL. Safe from any
 * thread. */
int32_t mdc_session_close(mdc_session *session);
/* Closes it, and gives the caller's reference back: no thread may touch it any more. NULL is allowed. */
void mdc_session_free(mdc_session *session);
/* The same for what is in the slot, which is NULL then. */
void mdc_session_drop(mdc_session **session);
/* cdef: end */

#endif
