/* One dump as Python runs it: pairs callback and engine, owns the worker thread, joins the reports.
 *
 * A job has its worker thread with all signals blocked and no Python in it (except hooks). The caller waits in
 * slices. A job that is freed while its worker hangs (a stalled sink, a plug-in) is abandoned: the worker frees it
 * when it returns; the holder has resumed the target long before.
 * In a forked child every call fails with MDC_ERR_BUSY (or answers nothing), and mdc_job_free does nothing.
 *
 * Who owns what, and which thread may touch it:
 * - The job is counted: one reference is the caller's (until mdc_job_free), one is the worker's. Any thread may wait
 * for it, cancel it, ask for its progress or close it, as long as the caller's reference lasts. Results (report, rule
 *   bytes, memory) are read by one thread, which is also the one that closes the job.
 * - What the specification points at (callback, recorder, user streams, a foreign callee and its parameter) is borrowed
 *   until mdc_job_wait returns 1, also if the job has been closed before. The caller keeps it alive.
 * - Descriptors and handles are duplicated by mdc_job_start, and closed by the worker when it ends.
 * - A source that the caller made (take_source) is the job's as soon as mdc_job_start has returned MDC_OK: it is taken
 *   out of the caller's slot, and the worker frees it. Until then it is the caller's.
 * - The callback serves this job alone from mdc_job_start until it has ended (mdc_callback_acquire). */
#ifndef MDC_SESSION_SESSION_H
#define MDC_SESSION_SESSION_H

#include "../api/callback.h"
#include "../api/dbghelp.h"
#include "../api/engine.h"
#include "../source/source.h"
#include "../trace/recorder.h"

/* cdef: begin */
/* mdc_job_spec.sink */
enum { MDC_SINK_NONE = 0, MDC_SINK_FD = 1, MDC_SINK_MEMORY = 2 };

typedef struct mdc_job_spec {
    mdc_engine_options engine;          /* callback and extensions are filled in from `callback` if that is given */
    mdc_callback *callback;             /* ours, or NULL: engine.callback as it is */
    mdc_source **take_source;           /* NULL, or what holds a source that is dumped instead of a process: it holds
                                           NULL once the job has started. Not with `dbghelp` */
    const mdc_dbghelp_options *dbghelp; /* NULL: the engine of this package; copied. Windows only */
    int32_t pid;
    int32_t pidfd;             /* Linux: -1: none; stays the caller's and must outlive the job */
    int64_t process;           /* Windows: 0, or a HANDLE of the target (`pid` may be 0 then); duplicated by the job */
    int64_t told;              /* Windows: set by the job: `process` as given, which callbacks see as ProcessHandle */
    uint64_t start_time;       /* 0, or the start time the process must have: field 22 of /proc/PID/stat, on Windows the
                                  FILETIME of its creation */
    uint64_t deadline_ns;      /* from now; 0: none */
    uint64_t max_stop_ns;      /* 0: none */
    uint64_t stop_timeout_ns;  /* 0: default */
    uint64_t stall_timeout_ns; /* how long the target may be stopped without progress; 0: 30 s, UINT64_MAX: for ever */
    uint64_t busy_timeout_ns;  /* Linux: how long to wait while another process traces the target; 0: not at all */
    int32_t sink;              /* MDC_SINK_* */
    int32_t reserved;
    int64_t fd;             /* MDC_SINK_FD: a descriptor, on Windows a HANDLE; duplicated by the job */
    uint64_t memory_limit;  /* MDC_SINK_MEMORY: bytes */
    mdc_recorder *recorder; /* NULL, or between engine and callee; must outlive the job */
} mdc_job_spec;

typedef struct mdc_job mdc_job;

/* The job is in *job when this returns, NULL if it failed: a caller that may be interrupted on the way back gives a
 * slot that has an owner already. */
mdc_status mdc_job_start(const mdc_job_spec *spec, mdc_job **job, mdc_error *err);
/* 1 if the job has ended or is NULL, 0 after timeout_ns. Never call with the GIL held (cffi releases it). */
int32_t mdc_job_wait(mdc_job *job, uint64_t timeout_ns);
/* Asks it to end; reason as MDC_ERR_CANCELLED or MDC_ERR_DEADLINE. NULL is allowed. Safe from any thread. */
void mdc_job_cancel(mdc_job *job, int32_t code);
mdc_progress mdc_job_progress(const mdc_job *job);
/* What the worker does now, or what hung where the target was resumed for that, and the words for it. */
mdc_activity mdc_job_doing(const mdc_job *job, char *text, size_t size);
/* The current call of a foreign callee (engine.callback of the spec). If repeated reads give the same call, it
 * hangs. */
typedef struct mdc_callee_state {
    uint64_t call; /* number of the last call, from 1 */
    int32_t type;  /* MDC_CB_* it is inside of, or -1 */
    int32_t reserved;
} mdc_callee_state;
mdc_callee_state mdc_job_callee(const mdc_job *job);
/* After it has ended: how. */
mdc_status mdc_job_result(const mdc_job *job, mdc_error *err);
/* After it has ended, until mdc_job_free. */
const mdc_report *mdc_job_report(const mdc_job *job);
mdc_callback_counters mdc_job_counters(const mdc_job *job);
/* Variables of the environment whose values were hidden. */
uint64_t mdc_job_hidden_variables(const mdc_job *job);
/* Bytes of the target's mappings by the rule that decided: kept[i] and excluded[i] are added to for rule i, index
 * rule_count is the default. Both have rule_count + 1 entries. Only with a callback of ours. */
mdc_status mdc_job_rule_bytes(const mdc_job *job, uint64_t *kept, uint64_t *excluded, size_t entries, mdc_error *err);
/* MDC_SINK_MEMORY: the dump. */
const uint8_t *mdc_job_memory(const mdc_job *job, size_t *size);
/* The results are not wanted any more: frees them, at once or when the job ends, and asks it to end. The job itself
 * stays valid, for other threads that wait for it or cancel it. NULL is allowed. Safe from any thread. */
void mdc_job_close(mdc_job *job);
/* Closes it, and gives the caller's reference back: no thread may touch it any more. NULL is allowed. */
void mdc_job_free(mdc_job *job);
/* The same for what is in the slot, which is NULL then. */
void mdc_job_drop(mdc_job **job);
/* cdef: end */

#endif
