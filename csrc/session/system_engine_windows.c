/* A dump by MiniDumpWriteDump (see system_engine.h): dbghelp writes, what the filter excludes goes from the finished
 * file, and only then is the file handed out.
 *
 * Where the caller's file can be read back and cut, dbghelp writes to it; a dump for memory goes there through the Io
 * callbacks; everything else (pipes, hooks) gets the finished dump from a temporary file, in order. */
#include "system_engine.h"

#include <string.h>

#include "../base/fail.h"
#include "../callback/redaction.h"
#include "../dbghelp/caller_streams.h"
#include "../dbghelp/dbghelp_report.h"
#include "../dbghelp/scrub.h"
#include "../filter/match.h"

enum {
    COPY = 1 << 20,
    PATH_UNITS_MAX = 32768,
    TYPE_WITH_MEMORY_COMPRESSED = 0x04000000 /* newest SDK; what it writes is not documented */
};

struct mdc_system_engine {
    mdc_dbghelp_options options; /* dll and pss: allocated */
    mdc_staging_file store;
    mdc_dbghelp *dbghelp;
    mdc_dump_reader file;
    mdc_scrub scrub;
    mdc_dbghelp_report report;
};

/* -- options ------------------------------------------------------------------------------------------------------- */

static mdc_status copy_path(const uint16_t *path, const uint16_t **copied, mdc_error *err) {
    size_t units = 0;
    *copied = NULL;
    if (path == NULL) return MDC_OK;
    while (units < PATH_UNITS_MAX && path[units] != 0) units++;
    if (units == PATH_UNITS_MAX)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "the path of a library is longer than Windows allows");
    uint16_t *copy = mdc_alloc(units + 1, sizeof *copy, err); /* zeroed */
    if (copy == NULL) return err->code;
    memcpy(copy, path, units * sizeof *copy);
    *copied = copy;
    return MDC_OK;
}

mdc_system_engine *mdc_system_engine_new(const mdc_dbghelp_options *options, mdc_error *err) {
    mdc_system_engine *engine = mdc_alloc(1, sizeof *engine, err);
    if (engine == NULL) return NULL;
    engine->options.snapshot = options->snapshot;
    mdc_scrub_init(&engine->scrub);
    mdc_dbghelp_report_init(&engine->report);
    if (copy_path(options->dll, &engine->options.dll, err) == MDC_OK &&
        copy_path(options->pss, &engine->options.pss, err) == MDC_OK)
        return engine;
    mdc_system_engine_free(engine);
    return NULL;
}

/* That dbghelp asks again about the rest of a region was seen of 6.3.9600 and of 10.0.22621; where one does not, the
 * dump is taken once more (run_once). */
uint32_t mdc_system_engine_extensions(void) { return MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT; }

static mdc_status check(const mdc_session_spec *spec, mdc_error *err) {
    if (spec->callback == NULL) return MDC_OK;
    if ((spec->engine.dump_type & TYPE_WITH_MEMORY_COMPRESSED) != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                        "a filter cannot be enforced in compressed memory: leave out MiniDumpWithMemoryCompressed");
    if (mdc_filter_decides_environ(mdc_callback_filter(spec->callback)))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                        "dbghelp cannot hide variables of the environment: use the engine of this package");
    return MDC_OK;
}

/* -- the output ---------------------------------------------------------------------------------------------------- */

/* Who takes the bytes: MDC_PROXY_IO_*. The Io hooks of a callback of ours get the finished dump. */
static int io_of(const mdc_session_spec *spec) {
    bool ours = spec->callback != NULL;
    if (spec->sink == MDC_SINK_MEMORY) return ours ? MDC_PROXY_IO_MEMORY : MDC_PROXY_IO_CALLEE_MEMORY;
    return ours ? MDC_PROXY_IO_FILE : MDC_PROXY_IO_CALLEE;
}

/* Empties the caller's file if that can be used: not before the target is open. */
static mdc_status open_store(mdc_system_engine *engine, const mdc_session_spec *spec, intptr_t fd, mdc_error *err) {
    if (spec->sink == MDC_SINK_FD && mdc_staging_file_use(&engine->store, (HANDLE)fd)) return MDC_OK;
    mdc_status status = mdc_staging_file_open(&engine->store, err);
    engine->store.limit = spec->sink == MDC_SINK_MEMORY ? spec->memory_limit : 0;
    return status;
}

static mdc_status copy_out(const mdc_system_engine *engine, mdc_sink *sink, bool flush, mdc_dump_control *control,
                           mdc_error *err) {
    const mdc_staging_file *store = &engine->store;
    uint8_t *buffer = mdc_alloc(COPY, 1, err);
    if (buffer == NULL) return err->code;
    mdc_status status = MDC_OK;
    for (uint64_t done = 0; status == MDC_OK && done < store->size;) {
        size_t part = store->size - done < COPY ? (size_t)(store->size - done) : COPY;
        status = mdc_control_check(control, err);
        if (status == MDC_OK) status = mdc_staging_file_read(store, done, buffer, part, err);
        if (status == MDC_OK) status = sink->ops->write(sink, buffer, part, err);
        done += part;
    }
    if (status == MDC_OK) status = sink->ops->finish(sink, flush, err);
    mdc_dealloc(buffer);
    return status;
}

/* IoStart, of a dump that is finished: true if the callee takes the bytes. */
static bool callee_takes(mdc_system_engine *engine, const MINIDUMP_CALLBACK_INFORMATION *callee) {
    mdc_proxy *proxy = mdc_dbghelp_proxy(engine->dbghelp);
    MINIDUMP_CALLBACK_OUTPUT output;
    if (callee->CallbackRoutine == NULL) return false;
    MINIDUMP_CALLBACK_INPUT *input = &proxy->input;
    memset(input, 0, sizeof *input);
    memset(&output, 0, sizeof output);
    input->CallbackType = MDC_CB_IO_START;
    output.Status = (int32_t)MDC_E_NOTIMPL;
    proxy->calls[MDC_CB_IO_START]++;
    return callee->CallbackRoutine(callee->CallbackParam, input, &output) != 0 && output.Status == MDC_S_FALSE;
}

static mdc_status hand_out(mdc_system_engine *engine, const mdc_session_spec *spec, mdc_sink *sink,
                           mdc_dump_control *control, mdc_error *err) {
    mdc_proxy *proxy = mdc_dbghelp_proxy(engine->dbghelp);
    bool flush = spec->engine.fsync != 0;
    if (proxy->callee_io) return MDC_OK; /* it has the dump already */
    if (spec->sink == MDC_SINK_FD && !engine->store.owned) {
        if (mdc_staging_file_leave(&engine->store, flush)) return MDC_OK;
        return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_FINISH, (int32_t)GetLastError(), "cannot finish the dump's file");
    }
    /* A callee that was not asked before, since it is to see the finished dump, or since dbghelp never asks. */
    bool asked = spec->callback == NULL && proxy->calls[MDC_CB_IO_START] != 0;
    if (spec->sink != MDC_SINK_NONE || asked || !callee_takes(engine, &spec->engine.callback))
        return copy_out(engine, sink, flush, control, err);
    mdc_sink *io = mdc_sink_io_new(&spec->engine.callback, NULL, proxy->calls, err);
    if (io == NULL) return err->code;
    mdc_status status = copy_out(engine, io, flush, control, err);
    io->ops->free(io);
    return status;
}

/* -- the dump ------------------------------------------------------------------------------------------------------ */

/* Takes what the filter excludes from the file. The counters are those of the dump, and not of the second look. */
static mdc_status scrub(mdc_system_engine *engine, const mdc_session_spec *spec, mdc_dump_control *control,
                        mdc_callback_counters *counters, mdc_error *err) {
    mdc_proxy *proxy = mdc_dbghelp_proxy(engine->dbghelp);
    bool full = (spec->engine.dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    if (spec->callback == NULL) return MDC_OK;
    if (mdc_scrub_run(&engine->scrub, spec->callback, proxy, &engine->file, &engine->store, full,
                      spec->engine.omit_streams, control, err) != MDC_OK)
        return err->code;
    mdc_callback_counters now = mdc_callback_read_counters(spec->callback);
    /* The file was looked through across the borders of reads: what counts are those that are left there. */
    counters->uncovered_borders = now.uncovered_borders - counters->uncovered_borders;
    if (proxy->calls[MDC_CB_VM_POST_READ] == 0) { /* all that was hidden was hidden now */
        counters->scrubbed_bytes = now.scrubbed_bytes;
        counters->scrubbed_hits = now.scrubbed_hits;
        counters->sanitized_words = now.sanitized_words;
    }
    counters->scrubbed_bytes += engine->scrub.hidden_bytes;
    return mdc_callback_check(spec->callback, err);
}

/* Of what dbghelp has not asked, that which a filter of ours had something to say about. */
static uint32_t relevant(const mdc_session_spec *spec, uint32_t warnings) {
    size_t added, removed;
    if (spec->callback == NULL) return warnings;
    const mdc_filter *filter = mdc_callback_filter(spec->callback);
    (void)mdc_filter_memory_list(filter, false, &added);
    (void)mdc_filter_memory_list(filter, true, &removed);
    if (added == 0) warnings &= ~(uint32_t)MDC_WARN_NO_MEMORY_CALLBACKS;
    if (removed == 0 && mdc_filter_rule_count(filter) == 0) warnings &= ~(uint32_t)MDC_WARN_NO_REGION_CALLBACKS;
    if (mdc_filter_redactor(filter) == NULL) warnings &= ~(uint32_t)MDC_WARN_NO_VM_CALLBACKS;
    return warnings;
}

static mdc_status look_through(mdc_system_engine *engine, const mdc_session_spec *spec, mdc_dump_control *control,
                               mdc_callback_counters *counters, mdc_error *err) {
    mdc_proxy *proxy = mdc_dbghelp_proxy(engine->dbghelp);
    if (proxy->callee_io) /* a foreign callee has the bytes */
        return mdc_dbghelp_report_fill(&engine->report, proxy, NULL, &engine->scrub.hidden, &spec->engine, err);
    if (mdc_dump_reader_read(&engine->file, &engine->store, &proxy->map.names, err) != MDC_OK ||
        mdc_dump_reader_fit_lists(&engine->file, &engine->store, err) != MDC_OK ||
        mdc_caller_streams_settle(&spec->engine, &engine->file, &engine->store, err) != MDC_OK ||
        scrub(engine, spec, control, counters, err) != MDC_OK ||
        mdc_dbghelp_report_fill(&engine->report, proxy, &engine->file, &engine->scrub.hidden, &spec->engine, err) !=
            MDC_OK)
        return err->code;
    if (spec->callback != NULL && !mdc_filter_tolerates(mdc_callback_filter(spec->callback)) &&
        proxy->gaps.count != 0) { /* dbghelp goes on without a region that is gone when it comes to write it */
        const mdc_gap *gap = &mdc_vec_at(&proxy->gaps, const mdc_gap, 0);
        mdc_fail(err, MDC_ERR_READ, MDC_PHASE_FINISH, gap->os_errno,
                 "%llu bytes of the target at 0x%llX could not be read, and the filter does not tolerate read failures",
                 (unsigned long long)gap->size, (unsigned long long)gap->address);
        err->address = gap->address;
        return err->code;
    }
    mdc_report *report = &engine->report.report;
    report->file_bytes = engine->store.size;
    report->warnings = relevant(spec, report->warnings);
    if (engine->scrub.hidden.count != 0 || engine->scrub.left_out ||
        (engine->scrub.edited_bytes != 0 && proxy->calls[MDC_CB_VM_POST_READ] == 0))
        report->warnings |= MDC_WARN_FILLED;
    return MDC_OK;
}

/* An error in the callee is the reason why dbghelp failed, unless it was cancelled. Holes that it had not reached are
 * not a reason: nothing of this dump is handed out. A finished dump is searched first. */
static mdc_status callback_fault(mdc_callback *callback, mdc_status status, mdc_error *err) {
    mdc_error fault;
    mdc_error_clear(&fault);
    if (status == MDC_OK || status == MDC_ERR_CANCELLED || status == MDC_ERR_DEADLINE) return status;
    mdc_callback_settle(callback);
    if (mdc_callback_check(callback, &fault) == MDC_OK) return status;
    fault.hresult = err->hresult;
    *err = fault;
    return err->code;
}

/* Once more for a dbghelp that does not ask again about the rest of a region: the answers are hulls then, and what is
 * excluded in them is overwritten. */
static mdc_status run_once(mdc_system_engine *engine, const mdc_session_spec *spec, mdc_dbghelp_request *request,
                           mdc_dump_control *control, mdc_error *err) {
    mdc_dbghelp_free(engine->dbghelp);
    engine->dbghelp = NULL;
    mdc_staging_file_cut(&engine->store);
    engine->store.in_memory = false;
    request->asks_once = true;
    if (mdc_callback_set_host(spec->callback, MDC_EXT_REGION_FACTS, err) != MDC_OK) return err->code;
    engine->dbghelp = mdc_dbghelp_new(request, &engine->store, control, err);
    return engine->dbghelp != NULL ? mdc_dbghelp_run(engine->dbghelp, err) : err->code;
}

/* A dump that ends for another reason stays ended. */
static bool asks_once(const mdc_system_engine *engine) {
    const mdc_proxy *proxy = mdc_dbghelp_proxy(engine->dbghelp);
    return proxy->asks_once && proxy->error.code == MDC_OK;
}

mdc_status mdc_system_engine_run(mdc_system_engine *engine, const mdc_session_spec *spec, intptr_t fd, mdc_sink *sink,
                                 mdc_dump_control *control, mdc_callback_counters *counters, mdc_error *err) {
    memset(counters, 0, sizeof *counters);
    if (check(spec, err) != MDC_OK) return err->code;
    bool ours = spec->callback != NULL;
    mdc_dbghelp_request request = {.options = &engine->options,
                                   .engine = &spec->engine,
                                   .pid = spec->pid,
                                   .process = spec->process,
                                   .shown_handle = spec->shown_handle,
                                   .start_time = spec->start_time,
                                   .io = io_of(spec),
                                   .ours = ours,
                                   .own_io = spec->sink == MDC_SINK_NONE,
                                   .tolerates = ours && mdc_filter_tolerates(mdc_callback_filter(spec->callback))};
    engine->dbghelp = mdc_dbghelp_new(&request, &engine->store, control, err);
    if (engine->dbghelp == NULL || open_store(engine, spec, fd, err) != MDC_OK) return err->code;
    mdc_status status = mdc_dbghelp_run(engine->dbghelp, err);
    if (asks_once(engine)) status = run_once(engine, spec, &request, control, err);
    if (engine->dbghelp == NULL) return status;
    if (spec->callback != NULL) {
        *counters = mdc_callback_read_counters(spec->callback);
        status = callback_fault(spec->callback, status, err);
    }
    if (status == MDC_OK) status = look_through(engine, spec, control, counters, err);
    if (status == MDC_OK) status = hand_out(engine, spec, sink, control, err);
    mdc_report *report = &engine->report.report;
    report->pid = mdc_dbghelp_pid(engine->dbghelp);
    report->stop_time_ns = mdc_dbghelp_stop_time_ns(engine->dbghelp);
    report->stop = engine->options.snapshot != 0 ? MDC_STOP_SNAPSHOT : MDC_STOP_WHOLE;
    report->total_ns = mdc_control_read(control).elapsed_ns;
    memcpy(report->calls, mdc_dbghelp_proxy(engine->dbghelp)->calls, sizeof report->calls);
    if (status != MDC_OK) mdc_staging_file_cut(&engine->store); /* nothing of it stays in the caller's file */
    /* The temporary file and the bytes in memory: the sink has them. */
    mdc_staging_file_fini(&engine->store);
    return status;
}

const mdc_report *mdc_system_engine_report(const mdc_system_engine *engine) {
    return engine->dbghelp != NULL ? &engine->report.report : NULL;
}

void mdc_system_engine_free(mdc_system_engine *engine) {
    if (engine == NULL) return;
    mdc_dbghelp_report_fini(&engine->report);
    mdc_scrub_fini(&engine->scrub);
    mdc_dump_reader_fini(&engine->file);
    mdc_dbghelp_free(engine->dbghelp);
    mdc_staging_file_fini(&engine->store);
    mdc_dealloc((void *)(uintptr_t)engine->options.dll);
    mdc_dealloc((void *)(uintptr_t)engine->options.pss);
    mdc_dealloc(engine);
}
