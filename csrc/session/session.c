/* One dump as Python runs it (see session.h).
 *
 * A session has two references: the caller's handle and the worker. The last one to release it frees it, so freeing the
 * handle while the worker hangs in a sink or a plug-in abandons the session instead of freeing memory in use.
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
#include "../filter/match.h"
#include "../sink/sink.h"
#include "../source/sanitized_source.h"
#include "session_budget.h"
#include "session_values.h"
#include "system_engine.h"
#include "target.h"

enum {
    /* bytes; hooks may run Python on it. Only touched pages cost anything. */
    WORKER_STACK = 1 << 20,
    /* what the engine of this package speaks */
    EXTENSIONS = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES,
    REDACTING = MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY
};

/* What FilterTriage leaves out: texts of the user, and paths. */
#define TRIAGE_STREAMS                                                                                                 \
    (MDC_STREAM_CMDLINE | MDC_STREAM_ENVIRON | MDC_STREAM_MAPS | MDC_STREAM_DSO_DEBUG | MDC_STREAM_THREAD_NAMES)
#define STALL_TIMEOUT_NS UINT64_C(30000000000)

struct mdc_session {
    _Atomic int32_t references;
    uint64_t owner; /* the process that created it */
    mdc_session_spec spec;
    mdc_dump_control control;
    intptr_t fd; /* our duplicate of spec.fd, or -1; the worker closes it, so that a pipe's reader sees the end */
    mdc_system_engine *system_engine; /* instead of source and dump: spec.dbghelp */
    mdc_source *source;
    mdc_sink *sink;
    mdc_dump *dump;
    mdc_callback_counters counters;
    bool veiled;               /* source hides texts, or variables of the environment */
    uint64_t hidden_variables; /* how many */
    mdc_learner learner;
    mdc_session_values values;
    mdc_session_rule_stats rules;
    mdc_session_budget budget;
    MINIDUMP_CALLBACK_INFORMATION foreign; /* a foreign callee; the engine calls it through call_foreign */
    _Atomic uint64_t inside;               /* calls of it << 8 | (type it is inside of + 1, or 0) */

    mdc_thread_start worker;
    mdc_lock lock; /* guards what follows */
    mdc_condition change;
    bool ended;
    bool closed;   /* the results are not wanted any more */
    bool acquired; /* spec.callback is ours now: mdc_session_cancel may speak to it */
    mdc_error error;
};

static bool is_ours(const mdc_session *session) { return session->owner == mdc_process_id(); }

static mdc_status fail_forked(mdc_error *err) {
    return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump was created in another process: start one here");
}

/* Frees the report and a dump in memory. */
static void free_results(mdc_session *session) {
    mdc_dump_free(session->dump);
    session->dump = NULL;
    mdc_system_engine_free(session->system_engine);
    session->system_engine = NULL;
    if (session->sink != NULL) session->sink->ops->free(session->sink);
    session->sink = NULL;
    mdc_session_rule_stats_fini(&session->rules);
    mdc_session_values_fini(&session->values);
    mdc_session_budget_fini(&session->budget);
}

static void destroy(mdc_session *session) {
    free_results(session);
    if (session->source != NULL) session->source->ops->free(session->source);
    mdc_output_close(session->fd);
    mdc_target_drop(&session->spec);
    if (session->acquired) mdc_callback_release(session->spec.callback);
    mdc_condition_fini(&session->change);
    mdc_lock_fini(&session->lock);
    mdc_dealloc(session);
}

static void let_go(mdc_session *session) {
    if (atomic_fetch_sub_explicit(&session->references, 1, memory_order_acq_rel) == 1) destroy(session);
}

/* -- foreign callees ----------------------------------------------------------------------------------------------- */

/* Stands between the engine and the callee so that a callee that does not come back can be named. */
static int32_t MDC_CALL call_foreign(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_session *session = param;
    uint64_t call = (atomic_load_explicit(&session->inside, memory_order_relaxed) >> 8) + 1;
    atomic_store_explicit(&session->inside, call << 8 | (uint8_t)(input->CallbackType + 1), memory_order_relaxed);
    int32_t answer = session->foreign.CallbackRoutine(session->foreign.CallbackParam, input, output);
    atomic_store_explicit(&session->inside, call << 8, memory_order_relaxed);
    return answer;
}

mdc_callee_state mdc_session_callee(const mdc_session *session) {
    uint64_t inside = atomic_load_explicit(&session->inside, memory_order_relaxed);
    return (mdc_callee_state){.call = inside >> 8, .type = (int32_t)(inside & 0xFF) - 1};
}

/* -- the worker ---------------------------------------------------------------------------------------------------- */

static bool drops(const void *context, const uint8_t *name, size_t size) {
    return mdc_filter_drops_variable(context, name, size);
}

static bool hides(const void *context, const uint8_t *name, size_t size) {
    return mdc_filter_hides_variable(context, name, size);
}

/* Puts before the source what hides texts that are left out, and values of variables, if anything is asked of it. */
static mdc_status sanitized(mdc_session *session, mdc_error *err) {
    const mdc_filter *filter = session->spec.callback != NULL ? mdc_callback_filter(session->spec.callback) : NULL;
    mdc_hiding hiding = {.streams = session->spec.engine.omit_streams & (MDC_STREAM_CMDLINE | MDC_STREAM_ENVIRON),
                         .context = filter,
                         .fill = filter != NULL ? mdc_filter_fill(filter) : 'X'};
    if (filter != NULL && mdc_filter_decides_environ(filter)) hiding.hides = hides;
    const mdc_redactor *redactor = filter != NULL ? mdc_filter_redactor(filter) : NULL;
    if (redactor != NULL && mdc_redact_everywhere(redactor)) {
        session->values.callback = session->spec.callback;
        session->learner = (mdc_learner){mdc_session_values_add, mdc_session_values_all, &session->values};
        hiding.learner = &session->learner;
        hiding.drops = drops;
    }
    if (hiding.streams == 0 && hiding.hides == NULL) return MDC_OK;
    mdc_source *sanitized = mdc_sanitized_source_new(session->source, &hiding, err);
    if (sanitized == NULL) return err->code;
    session->source = sanitized;
    session->veiled = true;
    return MDC_OK;
}

static mdc_status run_system_engine(mdc_session *session, mdc_error *err) {
    mdc_status status = mdc_system_engine_run(session->system_engine, &session->spec, session->fd, session->sink,
                                              &session->control, &session->counters, err);
    const mdc_report *report = mdc_system_engine_report(session->system_engine);
    if (session->spec.callback != NULL && report != NULL)
        mdc_session_rule_stats_count(&session->rules, session->spec.callback, report, &session->spec.engine);
    return status;
}

static mdc_status run(mdc_session *session, mdc_error *err) {
    if (session->system_engine != NULL) return run_system_engine(session, err);
    /* The live source here and not in mdc_session_start: its threads inherit the blocked signals of this one. */
    if (session->source == NULL) session->source = mdc_target_open(&session->spec, err);
    if (session->source == NULL) return err->code;
    if (sanitized(session, err) != MDC_OK) return err->code;
    if (session->spec.engine.max_bytes != 0) {
        session->spec.engine.choose_cut = mdc_session_budget_choose;
        session->spec.engine.cut_context = &session->budget;
    }
    if (session->spec.engine.truncate_ns != 0) {
        session->spec.engine.choose_order = mdc_session_budget_order;
        session->spec.engine.cut_context = &session->budget;
    }
    session->dump = mdc_dump_new(&session->spec.engine, session->source, session->sink, &session->control, err);
    if (session->dump == NULL) return err->code;
    mdc_status status = mdc_dump_run(session->dump, err);
    if (session->veiled) session->hidden_variables = mdc_sanitized_source_count(session->source);
    if (session->spec.callback == NULL) return status;
    /* While the callback still holds the module table of this dump. */
    session->counters = mdc_callback_read_counters(session->spec.callback);
    mdc_session_rule_stats_count(&session->rules, session->spec.callback, mdc_dump_report(session->dump),
                                 &session->spec.engine);
    /* An engine that got its answers does not know what the callee had no room for. */
    return status != MDC_OK ? status : mdc_callback_check(session->spec.callback, err);
}

/* Closes what others wait for: the target's threads, descriptors, the reader of a pipe. The report owns what it shows,
 * and a dump in memory goes with the session. */
static void shut(mdc_session *session) {
    if (session->source != NULL)
        session->source->ops->free(session->source); /* also resumes the target if that is still to do */
    session->source = NULL;
    mdc_target_drop(&session->spec);
    if (session->spec.sink == MDC_SINK_MEMORY) return;
    session->sink->ops->free(session->sink);
    session->sink = NULL;
    mdc_output_close(session->fd);
    session->fd = -1;
}

static void work(void *argument) {
    mdc_session *session = argument;
    mdc_error err;
    mdc_error_clear(&err);
    if (run(session, &err) != MDC_OK && err.pid == 0) err.pid = session->spec.pid;
    shut(session);
    mdc_lock_enter(&session->lock);
    if (session->acquired) mdc_callback_release(session->spec.callback);
    session->acquired = false;
    session->error = err;
    session->ended = true;
    if (session->closed) free_results(session);
    mdc_condition_wake_all(&session->change);
    mdc_lock_leave(&session->lock);
    let_go(session);
}

/* -- the start ----------------------------------------------------------------------------------------------------- */

/* Of a source that another extension made nothing is touched before this has passed, not even its table. */
static mdc_status check_source(const mdc_session_spec *spec, mdc_error *err) {
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

static mdc_status check_spec(const mdc_session_spec *spec, mdc_error *err) {
    if (spec->sink != MDC_SINK_NONE && spec->sink != MDC_SINK_FD && spec->sink != MDC_SINK_MEMORY)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "there is no sink number %d", (int)spec->sink);
    if (spec->dbghelp != NULL && spec->engine.max_bytes != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "dbghelp does not say how much it will write");
    if (spec->dbghelp != NULL && spec->engine.truncate_ns != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "dbghelp does not end a stop before all is written");
    return spec->take_source != NULL ? check_source(spec, err) : mdc_target_check(spec, err);
}

static mdc_status open_sink(mdc_session *session, mdc_error *err) {
    const mdc_session_spec *spec = &session->spec;
    if (spec->sink == MDC_SINK_FD) {
        if (mdc_output_duplicate(spec->fd, &session->fd, err) != MDC_OK) return err->code;
        session->sink = mdc_sink_fd_new(session->fd, &session->control, err);
    } else if (spec->sink == MDC_SINK_MEMORY) {
        session->sink = mdc_sink_memory_new(spec->memory_limit != 0 ? spec->memory_limit : UINT64_MAX, err);
    } else {
        session->sink = mdc_sink_null_new(err);
    }
    return session->sink != NULL ? MDC_OK : err->code;
}

static void note_stack(void *context, uint64_t first, uint64_t end) { mdc_callback_note_stack(context, first, end); }

static void edit(void *context, uint64_t address, uint8_t *bytes, size_t size, uint32_t stored) {
    mdc_callback_edit(context, address, bytes, size, stored != 0);
}

/* Makes engine and callback one pair for this dump; here only is known what both of them speak. */
static mdc_status pair(mdc_session *session, const mdc_source *source, mdc_error *err) {
    mdc_callback *callback = session->spec.callback;
    if (callback == NULL) { /* foreign: engine.extensions as given */
        if (session->spec.engine.callback.CallbackRoutine == NULL) return MDC_OK;
        session->foreign = session->spec.engine.callback;
        session->spec.engine.callback = (MINIDUMP_CALLBACK_INFORMATION){call_foreign, session};
        return MDC_OK;
    }
    if (mdc_callback_acquire(callback, err) != MDC_OK) return err->code;
    session->acquired = true;
    if (mdc_callback_reset(callback, err) != MDC_OK) return err->code;
    const mdc_filter *filter = mdc_callback_filter(callback);
    bool redacts = mdc_filter_redactor(filter) != NULL;
    uint32_t extensions = redacts ? EXTENSIONS | REDACTING : EXTENSIONS;
    if (mdc_filter_adds(filter)) extensions |= MDC_EXT_OPTIONAL;
    if ((session->spec.engine.dump_type & MDC_TYPE_SCAN_MEMORY) != 0) extensions |= MDC_EXT_SCANNED;
    if (session->system_engine != NULL) extensions = mdc_system_engine_extensions();
    if (redacts && mdc_redact_sanitizes(mdc_filter_redactor(filter)))
        session->spec.engine.callee_types |= MDC_TYPE_FILTER_MEMORY;
    uint32_t target = 0;
    if (source != NULL && source->windows != 0) target |= MDC_EXT_WINDOWS_NAMES;
    if (source != NULL && source->narrow != 0) target |= MDC_EXT_NARROW_WORDS;
    if (mdc_callback_set_host(callback, extensions | target, err) != MDC_OK) return err->code;
    session->spec.engine.callback = *mdc_callback_information(callback);
    session->spec.engine.extensions = extensions;
    /* A file that has changed by then costs gaps, which a dump that reads it at once does not have; and a recording
     * holds what would be asked at once. */
    session->spec.engine.late_files = mdc_filter_tolerates(filter) && session->spec.recorder == NULL;
    if (redacts) {
        session->spec.engine.hold = mdc_filter_hold(filter);
        /* An engine holds back no more than its buffer takes. */
        uint64_t *buffer = &session->spec.engine.buffer_bytes;
        if (*buffer != 0 && *buffer < session->spec.engine.hold) *buffer = mdc_page_up(session->spec.engine.hold);
        session->spec.engine.edit = edit;
        session->spec.engine.note_stack = note_stack;
        session->spec.engine.edit_context = callback;
    }
    return mdc_session_rule_stats_reserve(&session->rules, callback, err);
}

/* The session owns the source in the slot from the moment it has a worker. */
static mdc_status spawn(mdc_session *session, mdc_source **slot, mdc_error *err) {
    int32_t os_errno = MDC_FAILPOINT("spawn:worker");
    if (os_errno == 0) {
        session->worker = (mdc_thread_start){work, session};
        session->source = slot != NULL ? *slot : NULL;
        atomic_fetch_add_explicit(&session->references, 1, memory_order_relaxed);
        os_errno = mdc_thread_run(&session->worker, WORKER_STACK);
        if (os_errno == 0) {
            if (slot != NULL) *slot = NULL;
            return MDC_OK;
        }
        atomic_fetch_sub_explicit(&session->references, 1, memory_order_relaxed);
        session->source = NULL;
    }
    return mdc_fail_start(err, MDC_PHASE_OPEN, os_errno, "cannot start the worker thread");
}

static mdc_status init_lock(mdc_session *session, mdc_error *err) {
    if (mdc_condition_init(&session->change, err) != MDC_OK) return err->code;
    if (mdc_lock_init(&session->lock, err) == MDC_OK) return MDC_OK;
    mdc_condition_fini(&session->change);
    return err->code;
}

mdc_status mdc_session_start(const mdc_session_spec *spec, mdc_session **started, mdc_error *err) {
    *started = NULL;
    if (check_spec(spec, err) != MDC_OK) return err->code;
    mdc_session *session = mdc_alloc(1, sizeof *session, err);
    if (session == NULL) return err->code;
    if (init_lock(session, err) != MDC_OK) {
        mdc_dealloc(session);
        return err->code;
    }
    atomic_init(&session->references, 1);
    atomic_init(&session->inside, 0);
    session->owner = mdc_process_id();
    session->spec = *spec;
    session->spec.take_source = NULL; /* the slot is borrowed for this call only */
    session->spec.dbghelp = NULL;
    if (spec->dbghelp == NULL && (spec->engine.dump_type & MDC_TYPE_FILTER_TRIAGE) != 0)
        session->spec.engine.omit_streams |= TRIAGE_STREAMS;
    session->fd = -1;
    mdc_error_clear(&session->error);
    mdc_session_rule_stats_init(&session->rules);
    mdc_session_values_init(&session->values);
    mdc_session_budget_init(&session->budget, spec->callback, &session->spec.engine, spec->priorities,
                            spec->priority_count);
    uint64_t deadline = 0;
    if (spec->deadline_ns != 0 && !mdc_add_u64(mdc_clock_ns(), spec->deadline_ns, &deadline)) deadline = 0;
    mdc_control_init(&session->control, deadline);
    session->control.stall_ns = spec->stall_timeout_ns == 0            ? STALL_TIMEOUT_NS
                                : spec->stall_timeout_ns == UINT64_MAX ? 0
                                                                       : spec->stall_timeout_ns;

    bool ready = mdc_target_take(&session->spec, err) == MDC_OK && open_sink(session, err) == MDC_OK;
    if (ready && spec->dbghelp != NULL) {
        session->system_engine = mdc_system_engine_new(spec->dbghelp, err);
        ready = session->system_engine != NULL;
    }
    ready = ready && pair(session, spec->take_source != NULL ? *spec->take_source : NULL, err) == MDC_OK;
    if (ready && spec->recorder != NULL)
        mdc_recorder_attach(spec->recorder, session->spec.engine.extensions, &session->spec.engine.callback);
    if (!ready || spawn(session, spec->take_source, err) != MDC_OK) {
        destroy(session);
        return err->code;
    }
    *started = session;
    return MDC_OK;
}

/* -- the waiting side ---------------------------------------------------------------------------------------------- */

int32_t mdc_session_wait(mdc_session *session, uint64_t timeout_ns) {
    if (session == NULL || !is_ours(session)) return 1; /* there is nothing to wait for; mdc_session_result says why */
    uint64_t until;
    if (!mdc_add_u64(mdc_clock_ns(), timeout_ns, &until)) until = UINT64_MAX;
    mdc_lock_enter(&session->lock);
    while (!session->ended && mdc_condition_wait(&session->change, &session->lock, until)) continue;
    int32_t ended = session->ended;
    mdc_lock_leave(&session->lock);
    return ended;
}

void mdc_session_cancel(mdc_session *session, int32_t code) {
    if (session == NULL || !is_ours(session)) return;
    mdc_control_abort(&session->control, code == MDC_ERR_DEADLINE ? MDC_ABORT_DEADLINE : MDC_ABORT_CANCEL);
    /* Only while it serves this dump: after that it may serve another. */
    mdc_lock_enter(&session->lock);
    if (session->acquired) mdc_callback_cancel(session->spec.callback);
    mdc_lock_leave(&session->lock);
}

mdc_progress mdc_session_progress(const mdc_session *session) { return mdc_control_read(&session->control); }

mdc_activity mdc_session_doing(const mdc_session *session, char *text, size_t size) {
    const mdc_dump_control *control = &session->control;
    mdc_activity doing =
        atomic_load(&control->abort) == MDC_ABORT_STALL ? control->stalled : mdc_control_doing(control);
    mdc_activity_describe(&doing, text, size);
    return doing;
}

/* Ended, and in this process. Taking the lock also makes visible what the worker left. */
static bool is_over(const mdc_session *session) {
    if (!is_ours(session)) return false;
    mdc_session *locked = (mdc_session *)(uintptr_t)session; /* const does not cover the lock */
    mdc_lock_enter(&locked->lock);
    bool ended = locked->ended;
    mdc_lock_leave(&locked->lock);
    return ended;
}

mdc_status mdc_session_result(const mdc_session *session, mdc_error *err) {
    if (!is_ours(session)) return fail_forked(err);
    if (!is_over(session)) return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump is not finished");
    if (session->error.code != MDC_OK && err->code == MDC_OK) *err = session->error;
    return session->error.code;
}

const mdc_report *mdc_session_report(const mdc_session *session) {
    if (!is_over(session)) return NULL;
    if (session->system_engine != NULL) return mdc_system_engine_report(session->system_engine);
    return session->dump != NULL ? mdc_dump_report(session->dump) : NULL;
}

mdc_callback_counters mdc_session_counters(const mdc_session *session) {
    mdc_callback_counters none;
    memset(&none, 0, sizeof none);
    return is_over(session) ? session->counters : none;
}

mdc_hidden mdc_session_hidden(const mdc_session *session) {
    mdc_hidden none = {0, 0, 0, 0};
    if (!is_over(session)) return none;
    const mdc_session_values *values = &session->values;
    return (mdc_hidden){session->hidden_variables, values->searched, values->shorter, values->unknown};
}

mdc_status mdc_session_rule_stats_get(const mdc_session *session, uint64_t *kept, uint64_t *excluded, size_t entries,
                                      mdc_error *err) {
    if (!is_ours(session)) return fail_forked(err);
    if (!is_over(session) || session->closed)
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump is not finished");
    if (session->spec.callback == NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "only a filter has rules to count bytes for");
    return mdc_session_rule_stats_add(&session->rules, kept, excluded, entries, err);
}

mdc_status mdc_session_over_budget(const mdc_session *session, uint64_t *over_budget, size_t entries, mdc_error *err) {
    if (!is_ours(session)) return fail_forked(err);
    if (!is_over(session) || session->closed)
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the dump is not finished");
    if (session->rules.error.code != MDC_OK) {
        *err = session->rules.error;
        return err->code;
    }
    if (session->spec.callback == NULL || entries != session->rules.entries)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "there are %zu rules, with the default",
                        session->rules.entries);
    for (size_t i = 0; i < entries; i++) over_budget[i] += session->rules.over_budget[i];
    return MDC_OK;
}

const mdc_report *mdc_session_outcome(const mdc_session *session, uint64_t *kept, uint64_t *excluded,
                                      uint64_t *over_budget, size_t entries, mdc_error *err) {
    if (mdc_session_result(session, err) != MDC_OK) return NULL;
    if (entries != 0 && (mdc_session_rule_stats_get(session, kept, excluded, entries, err) != MDC_OK ||
                         mdc_session_over_budget(session, over_budget, entries, err) != MDC_OK))
        return NULL;
    return mdc_session_report(session);
}

const uint8_t *mdc_session_memory(const mdc_session *session, size_t *size) {
    *size = 0;
    if (!is_over(session) || session->closed || session->spec.sink != MDC_SINK_MEMORY) return NULL;
    return mdc_sink_memory_data(session->sink, size);
}

int32_t mdc_session_close(mdc_session *session) {
    if (session == NULL || !is_ours(session)) return 1;
    mdc_lock_enter(&session->lock);
    bool first = !session->closed;
    session->closed = true;
    if (first && session->ended) free_results(session);
    bool ended = session->ended;
    mdc_lock_leave(&session->lock);
    if (!ended) mdc_session_cancel(session, MDC_ERR_CANCELLED);
    return ended;
}

void mdc_session_free(mdc_session *session) {
    if (session == NULL || !is_ours(session)) return;
    mdc_session_close(session);
    let_go(session);
}

void mdc_session_drop(mdc_session **session) {
    mdc_session *dropped = *session;
    *session = NULL;
    mdc_session_free(dropped);
}

/* -- the version --------------------------------------------------------------------------------------------------- */
