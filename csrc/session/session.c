/* One dump as Python runs it (see session.h).
 *
 * A job has two references: the caller's handle and the worker. The last one to release it frees it, so freeing the
 * handle while the worker hangs in a sink or a plug-in abandons the job instead of freeing memory in use.
 * What the caller may read (report, memory, rule bytes) is complete before `ended` is set, and does not change then.
 *
 * In a forked child there is no worker, and the locks may be held by threads that do not exist: every call there
 * refuses, and nothing is freed. */
#include "session.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/shortage.h"
#include "../base/thread.h"
#include "../base/vec.h"
#include "../callback/redaction.h"
#include "../engine/engine.h"
#include "../sink/sink.h"
#include "../source/sanitized_source.h"
#include "session_rule_stats.h"
#include "system_engine.h"
#include "target.h"

enum {
    /* bytes; hooks may run Python on it. Only touched pages cost anything. */
    WORKER_STACK = 1 << 20,
    /* what the engine of this package speaks */
    EXTENSIONS = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES,
    REDACTING = MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY
};

#define STALL_TIMEOUT_NS UINT64_C(30000000000)

struct mdc_job {
    _Atomic int32_t references;
    uint64_t owner; /* the process that created it */
    mdc_job_spec spec;
    mdc_monitor monitor;
    intptr_t fd; /* our duplicate of spec.fd, or -1; the worker closes it, so that a pipe's reader sees the end */
    mdc_system_engine *system_engine; /* instead of source and dump: spec.dbghelp */
    mdc_source *source;
    mdc_sink *sink;
    mdc_dump *dump;
    mdc_callback_counters counters;
    bool veiled;               /* source hides variables of the environment */
    uint64_t hidden_variables; /* how many */
    mdc_rule_bytes rules;
    MINIDUMP_CALLBACK_INFORMATION foreign; /* a foreign callee; the engine calls it through call_foreign */
    _Atomic uint64_t inside;               /* calls of it << 8 | (type it is inside of + 1, or 0) */

    mdc_thread_start worker;
    mdc_lock lock; /* guards what follows */
    mdc_condition change;
    bool ended;
    bool closed;   /* the results are not wanted any more */
    bool acquired; /* spec.callback is ours now: mdc_job_cancel may speak to it */
    mdc_error error;
};

static bool is_ours(const mdc_job *job) { return job->owner == mdc_process_id(); }

static mdc_status fail_forked(mdc_error *err) {
    return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump was created in another process: start one here");
}

/* Frees the report and a dump in memory. */
static void free_results(mdc_job *job) {
    mdc_dump_free(job->dump);
    job->dump = NULL;
    mdc_system_engine_free(job->system_engine);
    job->system_engine = NULL;
    if (job->sink != NULL) job->sink->ops->free(job->sink);
    job->sink = NULL;
    mdc_rule_bytes_fini(&job->rules);
}

static void destroy(mdc_job *job) {
    free_results(job);
    if (job->source != NULL) job->source->ops->free(job->source);
    mdc_output_close(job->fd);
    mdc_target_drop(&job->spec);
    if (job->acquired) mdc_callback_release(job->spec.callback);
    mdc_condition_fini(&job->change);
    mdc_lock_fini(&job->lock);
    mdc_dealloc(job);
}

static void let_go(mdc_job *job) {
    if (atomic_fetch_sub_explicit(&job->references, 1, memory_order_acq_rel) == 1) destroy(job);
}

/* -- foreign callees ----------------------------------------------------------------------------------------------- */

/* Stands between the engine and the callee so that a callee that does not come back can be named. */
static int32_t MDC_CALL call_foreign(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_job *job = param;
    uint64_t call = (atomic_load_explicit(&job->inside, memory_order_relaxed) >> 8) + 1;
    atomic_store_explicit(&job->inside, call << 8 | (uint8_t)(input->CallbackType + 1), memory_order_relaxed);
    int32_t answer = job->foreign.CallbackRoutine(job->foreign.CallbackParam, input, output);
    atomic_store_explicit(&job->inside, call << 8, memory_order_relaxed);
    return answer;
}

mdc_callee_state mdc_job_callee(const mdc_job *job) {
    uint64_t inside = atomic_load_explicit(&job->inside, memory_order_relaxed);
    return (mdc_callee_state){.call = inside >> 8, .type = (int32_t)(inside & 0xFF) - 1};
}

/* -- the worker ---------------------------------------------------------------------------------------------------- */

static bool hides(const void *context, const uint8_t *name, size_t size) {
    return mdc_filter_hides_variable(context, name, size);
}

/* Puts before the source what hides values of variables, if the filter asks for it. */
static mdc_status veil(mdc_job *job, mdc_error *err) {
    const mdc_filter *filter = job->spec.callback != NULL ? mdc_callback_filter(job->spec.callback) : NULL;
    if (filter == NULL || !mdc_filter_judges_environ(filter)) return MDC_OK;
    mdc_source *veil = mdc_veil_new(job->source, hides, filter, mdc_filter_fill(filter), err);
    if (veil == NULL) return err->code;
    job->source = veil;
    job->veiled = true;
    return MDC_OK;
}

static mdc_status run_system_engine(mdc_job *job, mdc_error *err) {
    mdc_status status =
        mdc_system_engine_run(job->system_engine, &job->spec, job->fd, job->sink, &job->monitor, &job->counters, err);
    const mdc_report *report = mdc_system_engine_report(job->system_engine);
    if (job->spec.callback != NULL && report != NULL)
        mdc_rule_bytes_count(&job->rules, job->spec.callback, report, &job->spec.engine);
    return status;
}

static mdc_status run(mdc_job *job, mdc_error *err) {
    if (job->system_engine != NULL) return run_system_engine(job, err);
    /* The live source here and not in mdc_job_start: its threads inherit the blocked signals of this one. */
    if (job->source == NULL) job->source = mdc_target_open(&job->spec, &job->monitor, err);
    if (job->source == NULL) return err->code;
    if (veil(job, err) != MDC_OK) return err->code;
    job->dump = mdc_dump_new(&job->spec.engine, job->source, job->sink, &job->monitor, err);
    if (job->dump == NULL) return err->code;
    mdc_status status = mdc_dump_run(job->dump, err);
    if (job->veiled) job->hidden_variables = mdc_veil_count(job->source);
    if (job->spec.callback == NULL) return status;
    /* While the callback still holds the module table of this dump. */
    job->counters = mdc_callback_read_counters(job->spec.callback);
    mdc_rule_bytes_count(&job->rules, job->spec.callback, mdc_dump_report(job->dump), &job->spec.engine);
    /* An engine that got its answers does not know what the callee had no room for. */
    return status != MDC_OK ? status : mdc_callback_check(job->spec.callback, err);
}

/* Closes what others wait for: the target's threads, descriptors, the reader of a pipe. The report owns what it shows,
 * and a dump in memory goes with the job. */
static void shut(mdc_job *job) {
    if (job->source != NULL) job->source->ops->free(job->source); /* also lets the target go if that is still to do */
    job->source = NULL;
    mdc_target_drop(&job->spec);
    if (job->spec.sink == MDC_SINK_MEMORY) return;
    job->sink->ops->free(job->sink);
    job->sink = NULL;
    mdc_output_close(job->fd);
    job->fd = -1;
}

static void work(void *argument) {
    mdc_job *job = argument;
    mdc_error err;
    mdc_error_clear(&err);
    if (run(job, &err) != MDC_OK && err.pid == 0) err.pid = job->spec.pid;
    shut(job);
    mdc_lock_enter(&job->lock);
    if (job->acquired) mdc_callback_release(job->spec.callback);
    job->acquired = false;
    job->error = err;
    job->ended = true;
    if (job->closed) free_results(job);
    mdc_condition_wake_all(&job->change);
    mdc_lock_leave(&job->lock);
    let_go(job);
}

/* -- the start ----------------------------------------------------------------------------------------------------- */

/* Of a source that another extension made nothing is touched before this has passed, not even its table. */
static mdc_status check_source(const mdc_job_spec *spec, mdc_error *err) {
    const mdc_source *source = *spec->take_source;
    if (source == NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "the source has been dumped already: make a new one");
    if (!mdc_source_fits(source))
        return mdc_fail(
            err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
            "the source was built for another version of this package (%u.%u, this is %u.%u): build it again",
            source->version, source->layout, (unsigned)MDC_SOURCE_VERSION, MDC_SOURCE_LAYOUT);
    if (spec->dbghelp == NULL) return MDC_OK;
    return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "dbghelp dumps processes only, not a source");
}

static mdc_status check_spec(const mdc_job_spec *spec, mdc_error *err) {
    if (spec->sink != MDC_SINK_NONE && spec->sink != MDC_SINK_FD && spec->sink != MDC_SINK_MEMORY)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "there is no sink number %d", (int)spec->sink);
    return spec->take_source != NULL ? check_source(spec, err) : mdc_target_check(spec, err);
}

static mdc_status open_sink(mdc_job *job, mdc_error *err) {
    const mdc_job_spec *spec = &job->spec;
    if (spec->sink == MDC_SINK_FD) {
        if (mdc_output_duplicate(spec->fd, &job->fd, err) != MDC_OK) return err->code;
        job->sink = mdc_sink_fd_new(job->fd, &job->monitor, err);
    } else if (spec->sink == MDC_SINK_MEMORY) {
        job->sink = mdc_sink_memory_new(spec->memory_limit != 0 ? spec->memory_limit : UINT64_MAX, err);
    } else {
        job->sink = mdc_sink_null_new(err);
    }
    return job->sink != NULL ? MDC_OK : err->code;
}

static void note_stack(void *context, uint64_t first, uint64_t end) { mdc_callback_note_stack(context, first, end); }

static void edit(void *context, uint64_t address, uint8_t *bytes, size_t size) {
    mdc_callback_edit(context, address, bytes, size);
}

/* Makes engine and callback one pair for this dump; here only is known what both of them speak. */
static mdc_status pair(mdc_job *job, mdc_error *err) {
    mdc_callback *callback = job->spec.callback;
    if (callback == NULL) { /* foreign: engine.extensions as given */
        if (job->spec.engine.callback.CallbackRoutine == NULL) return MDC_OK;
        job->foreign = job->spec.engine.callback;
        job->spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){call_foreign, job};
        return MDC_OK;
    }
    if (mdc_callback_acquire(callback, err) != MDC_OK) return err->code;
    job->acquired = true;
    if (mdc_callback_reset(callback, err) != MDC_OK) return err->code;
    const mdc_filter *filter = mdc_callback_filter(callback);
    bool redacts = mdc_filter_redactor(filter) != NULL;
    uint32_t extensions = redacts ? EXTENSIONS | REDACTING : EXTENSIONS;
    if (job->system_engine != NULL) extensions = mdc_system_engine_extensions();
    if (mdc_callback_set_host(callback, extensions, err) != MDC_OK) return err->code;
    job->spec.engine.callback = *mdc_callback_information(callback);
    job->spec.engine.extensions = extensions;
    /* A file that has changed by then costs gaps, which a dump that reads it at once does not have; and a recording
     * holds what would be asked at once. */
    job->spec.engine.late_files = mdc_filter_tolerates(filter) && job->spec.recorder == NULL;
    if (redacts) {
        job->spec.engine.hold = mdc_filter_hold(filter);
        job->spec.engine.edit = edit;
        job->spec.engine.note_stack = note_stack;
        job->spec.engine.edit_context = callback;
    }
    return mdc_rule_bytes_reserve(&job->rules, callback, err);
}

/* The job owns the source in the slot from the moment it has a worker. */
static mdc_status spawn(mdc_job *job, mdc_source **slot, mdc_error *err) {
    int32_t os_errno = MDC_FAILPOINT("spawn:worker");
    if (os_errno == 0) {
        job->worker = (mdc_thread_start){work, job};
        job->source = slot != NULL ? *slot : NULL;
        atomic_fetch_add_explicit(&job->references, 1, memory_order_relaxed);
        os_errno = mdc_thread_run(&job->worker, WORKER_STACK);
        if (os_errno == 0) {
            if (slot != NULL) *slot = NULL;
            return MDC_OK;
        }
        atomic_fetch_sub_explicit(&job->references, 1, memory_order_relaxed);
        job->source = NULL;
    }
    return mdc_fail_start(err, MDC_PHASE_OPEN, os_errno, "cannot start the worker thread");
}

static mdc_status init_lock(mdc_job *job, mdc_error *err) {
    if (mdc_condition_init(&job->change, err) != MDC_OK) return err->code;
    if (mdc_lock_init(&job->lock, err) == MDC_OK) return MDC_OK;
    mdc_condition_fini(&job->change);
    return err->code;
}

mdc_status mdc_job_start(const mdc_job_spec *spec, mdc_job **started, mdc_error *err) {
    *started = NULL;
    if (check_spec(spec, err) != MDC_OK) return err->code;
    mdc_job *job = mdc_alloc(1, sizeof *job, err);
    if (job == NULL) return err->code;
    if (init_lock(job, err) != MDC_OK) {
        mdc_dealloc(job);
        return err->code;
    }
    atomic_init(&job->references, 1);
    atomic_init(&job->inside, 0);
    job->owner = mdc_process_id();
    job->spec = *spec;
    job->spec.take_source = NULL; /* the slot is borrowed for this call only */
    job->spec.dbghelp = NULL;
    job->fd = -1;
    mdc_error_clear(&job->error);
    mdc_rule_bytes_init(&job->rules);
    uint64_t deadline = 0;
    if (spec->deadline_ns != 0 && !mdc_add_u64(mdc_clock_ns(), spec->deadline_ns, &deadline)) deadline = 0;
    mdc_monitor_init(&job->monitor, deadline);
    job->monitor.stall_ns = spec->stall_timeout_ns == 0            ? STALL_TIMEOUT_NS
                            : spec->stall_timeout_ns == UINT64_MAX ? 0
                                                                   : spec->stall_timeout_ns;

    bool ready = mdc_target_take(&job->spec, err) == MDC_OK && open_sink(job, err) == MDC_OK;
    if (ready && spec->dbghelp != NULL) {
        job->system_engine = mdc_system_engine_new(spec->dbghelp, err);
        ready = job->system_engine != NULL;
    }
    ready = ready && pair(job, err) == MDC_OK;
    if (ready && spec->recorder != NULL)
        mdc_recorder_attach(spec->recorder, job->spec.engine.extensions, &job->spec.engine.callback);
    if (!ready || spawn(job, spec->take_source, err) != MDC_OK) {
        destroy(job);
        return err->code;
    }
    *started = job;
    return MDC_OK;
}

/* -- the waiting side ---------------------------------------------------------------------------------------------- */

int32_t mdc_job_wait(mdc_job *job, uint64_t timeout_ns) {
    if (job == NULL || !is_ours(job)) return 1; /* there is nothing to wait for; mdc_job_result says why */
    uint64_t until;
    if (!mdc_add_u64(mdc_clock_ns(), timeout_ns, &until)) until = UINT64_MAX;
    mdc_lock_enter(&job->lock);
    while (!job->ended && mdc_condition_wait(&job->change, &job->lock, until)) continue;
    int32_t ended = job->ended;
    mdc_lock_leave(&job->lock);
    return ended;
}

void mdc_job_cancel(mdc_job *job, int32_t code) {
    if (job == NULL || !is_ours(job)) return;
    mdc_monitor_abort(&job->monitor, code == MDC_ERR_DEADLINE ? MDC_ABORT_DEADLINE : MDC_ABORT_CANCEL);
    /* Only while it serves this dump: after that it may serve another. */
    mdc_lock_enter(&job->lock);
    if (job->acquired) mdc_callback_cancel(job->spec.callback);
    mdc_lock_leave(&job->lock);
}

mdc_progress mdc_job_progress(const mdc_job *job) { return mdc_monitor_read(&job->monitor); }

mdc_activity mdc_job_doing(const mdc_job *job, char *text, size_t size) {
    const mdc_monitor *monitor = &job->monitor;
    mdc_activity doing =
        atomic_load(&monitor->abort) == MDC_ABORT_STALL ? monitor->stalled : mdc_monitor_doing(monitor);
    mdc_activity_describe(&doing, text, size);
    return doing;
}

/* Ended, and in this process. Taking the lock also makes visible what the worker left. */
static bool is_over(const mdc_job *job) {
    if (!is_ours(job)) return false;
    mdc_job *locked = (mdc_job *)(uintptr_t)job; /* const does not cover the lock */
    mdc_lock_enter(&locked->lock);
    bool ended = locked->ended;
    mdc_lock_leave(&locked->lock);
    return ended;
}

mdc_status mdc_job_result(const mdc_job *job, mdc_error *err) {
    if (!is_ours(job)) return fail_forked(err);
    if (!is_over(job)) return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump is not finished");
    if (job->error.code != MDC_OK && err->code == MDC_OK) *err = job->error;
    return job->error.code;
}

const mdc_report *mdc_job_report(const mdc_job *job) {
    if (!is_over(job)) return NULL;
    if (job->system_engine != NULL) return mdc_system_engine_report(job->system_engine);
    return job->dump != NULL ? mdc_dump_report(job->dump) : NULL;
}

mdc_callback_counters mdc_job_counters(const mdc_job *job) {
    mdc_callback_counters none;
    memset(&none, 0, sizeof none);
    return is_over(job) ? job->counters : none;
}

uint64_t mdc_job_hidden_variables(const mdc_job *job) { return is_over(job) ? job->hidden_variables : 0; }

mdc_status mdc_job_rule_bytes(const mdc_job *job, uint64_t *kept, uint64_t *excluded, size_t entries, mdc_error *err) {
    if (!is_ours(job)) return fail_forked(err);
    if (!is_over(job) || job->closed) return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump is not finished");
    if (job->spec.callback == NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "only a filter has rules to count bytes for");
    return mdc_rule_bytes_add(&job->rules, kept, excluded, entries, err);
}

const uint8_t *mdc_job_memory(const mdc_job *job, size_t *size) {
    *size = 0;
    if (!is_over(job) || job->closed || job->spec.sink != MDC_SINK_MEMORY) return NULL;
    return mdc_sink_memory_data(job->sink, size);
}

void mdc_job_close(mdc_job *job) {
    if (job == NULL || !is_ours(job)) return;
    mdc_lock_enter(&job->lock);
    bool first = !job->closed;
    job->closed = true;
    if (first && job->ended) free_results(job);
    bool ended = job->ended;
    mdc_lock_leave(&job->lock);
    if (!ended) mdc_job_cancel(job, MDC_ERR_CANCELLED);
}

void mdc_job_free(mdc_job *job) {
    if (job == NULL || !is_ours(job)) return;
    mdc_job_close(job);
    let_go(job);
}

void mdc_job_drop(mdc_job **job) {
    mdc_job *dropped = *job;
    *job = NULL;
    mdc_job_free(dropped);
}

/* -- the version --------------------------------------------------------------------------------------------------- */
