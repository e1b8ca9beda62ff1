/* A dump from beginning to end, stage by stage. The target runs again whatever happens. */
#include <time.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../format/caller_texts.h"
#include "budget.h"
#include "copy_order.h"
#include "crash_read.h"
#include "report.h"
#include "streams/stream.h"
#include "writer.h"

#define BUFFER_MAX (UINT64_C(1) << 30) /* VmPreRead.Size has 32 bits */

#define READ_RESERVE_NS UINT64_C(10000000)

enum { SPARE_MAX = 1024 }; /* spare slots per list at most */

struct mdc_dump {
    mdc_engine engine;
    mdc_capture capture;
    mdc_gaps gaps;
    mdc_reader reader;
    mdc_plan plan;
    mdc_layout layout;
    mdc_writer writer;
    mdc_report_rows report;
    mdc_sink *sink;    /* the caller's, or io_sink */
    mdc_sink *io_sink; /* ours; NULL unless the callee writes */
    bool resumed;      /* the target runs */
    uint64_t stop_time_ns;
};

static void set_phase(mdc_dump *dump, int32_t phase) { atomic_store(&dump->engine.control->phase, phase); }

static void set_default(uint64_t *value, uint64_t otherwise) {
    if (*value == 0) *value = otherwise;
}

static mdc_status take_options(mdc_dump *dump, const mdc_engine_options *options, mdc_error *err) {
    mdc_engine_options *own = &dump->engine.options;
    *own = *options;
    if (own->untouched > MDC_UNTOUCHED_OMIT || own->dontdump > MDC_DONTDUMP_IGNORE || own->coredump_filter > 1 ||
        own->file_pages > MDC_FILE_PAGES_RESIDENT || own->names > MDC_NAMES_ASCII ||
        own->module_names > MDC_MODULE_NAMES_SONAME || own->late_files > 1 || own->everything > 1 ||
        own->stop > MDC_STOP_SNAPSHOT || own->unknown_streams > MDC_UNKNOWN_KEEP ||
        own->buffer_bytes % MDC_PAGE_SIZE != 0 || own->buffer_bytes > BUFFER_MAX || own->limit32 > UINT64_C(1) << 32 ||
        (own->max_bytes != 0 && own->choose_cut == NULL) || (own->truncate_ns != 0 && own->choose_order == NULL))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "an option of the engine is out of range");
    if (mdc_user_streams_check(own, err) != MDC_OK || mdc_caller_texts_check(own, err) != MDC_OK) return err->code;
    if (own->callback.CallbackRoutine == NULL) own->extensions = 0;
    if (own->plan_only) own->stop = MDC_STOP_WHOLE;
    if (own->plan_only) own->truncate_ns = 0;
    if (own->spare_slots == 0) own->spare_slots = 64;
    if (own->spare_slots > SPARE_MAX) own->spare_slots = SPARE_MAX;
    if (own->answers_max == 0) own->answers_max = 1 << 20;
    if (own->gaps_max == 0) own->gaps_max = 1 << 16;
    set_default(&own->limit32, UINT64_C(1) << 32);
    set_default(&own->stack_limit, UINT64_C(8) << 20);
    set_default(&own->buffer_bytes, UINT64_C(1) << 20);
    set_default(&own->stop_memory, UINT64_C(2) << 30);
    set_default(&own->hole_min, UINT64_C(64) << 10);
    set_default(&own->sparse_max, UINT64_C(64) << 30);
    set_default(&own->referenced_max, UINT64_C(64) << 20);
    return MDC_OK;
}

mdc_dump *mdc_dump_new(const mdc_engine_options *options, mdc_source *source, mdc_sink *sink, mdc_dump_control *control,
                       mdc_error *err) {
    mdc_dump *dump = mdc_alloc(1, sizeof *dump, err);
    if (dump == NULL) return NULL;
    if (take_options(dump, options, err) != MDC_OK) {
        mdc_dealloc(dump);
        return NULL;
    }
    mdc_engine *engine = &dump->engine;
    engine->source = source;
    engine->control = control;
    engine->measures = engine->options.plan_only != 0;
    if (engine->options.everything != 0 && source->carries == 0) engine->options.dump_type |= MDC_TYPE_WITH_FULL_MEMORY;
    bool all = engine->options.everything != 0 || (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    engine->full = all && source->carries == 0;
    engine->held = all && source->carries != 0;
    if (source->carries != 0) engine->options.truncate_ns = 0; /* it is not stopped */
    mdc_calls_init(&engine->calls, &engine->options, (uint32_t)source->pid, source->handle, control);
    dump->sink = sink;
    dump->resumed = true;
    mdc_capture_init(&dump->capture, engine);
    mdc_plan_init(&dump->plan, &dump->capture, &dump->reader, &dump->gaps);
    mdc_layout_init(&dump->layout, &dump->plan);
    return dump;
}

void mdc_dump_free(mdc_dump *dump) {
    if (dump == NULL) return;
    mdc_writer_fini(&dump->writer);
    mdc_layout_fini(&dump->layout);
    mdc_streams_free(&dump->plan);
    mdc_plan_fini(&dump->plan);
    mdc_reader_fini(&dump->reader);
    mdc_gaps_fini(&dump->gaps);
    mdc_capture_fini(&dump->capture);
    mdc_report_fini(&dump->report);
    if (dump->io_sink != NULL) dump->io_sink->ops->free(dump->io_sink);
    mdc_dealloc(dump);
}

/* Lets the target run, once. What was read counts only if this succeeds. */
static mdc_status resume(mdc_dump *dump, mdc_error *err) {
    mdc_source *source = dump->engine.source;
    if (dump->resumed) return MDC_OK;
    dump->resumed = true;
    mdc_status status = source->ops->resume(source, &dump->stop_time_ns, err);
    atomic_store(&dump->engine.control->stopped, 0);
    return status;
}

/* When the copying ends so that the target runs again in time: what is being read when max_stop passes does not count.
 * A snapshot lets it run already. */
static void limit_copying(mdc_dump *dump, uint64_t asked) {
    mdc_engine *engine = &dump->engine;
    const uint64_t limit = engine->options.truncate_ns, since = atomic_load(&engine->control->stopped_since);
    if (limit == 0 || engine->source->ops->snapshot(engine->source)->frozen != 0) return;
    uint64_t reserve = mdc_min_u64(limit / 8, READ_RESERVE_NS);
    if (!mdc_add_u64(since != 0 ? since : asked, limit - reserve, &engine->copy_until)) engine->copy_until = 0;
}

/* Memory that was not reached is taken out of lists that are written already. */
static mdc_status check_output(const mdc_dump *dump, mdc_error *err) {
    if (dump->engine.options.truncate_ns == 0 || dump->engine.patchable) return MDC_OK;
    return mdc_fail(err, MDC_ERR_SINK, MDC_PHASE_OPEN, 0,
                    "on_limit=\"truncate\": an output that is no regular file cannot be corrected when the stop ends: "
                    "write to a file, or to an object with write() that is spooled");
}

static mdc_status capture(mdc_dump *dump, mdc_error *err) {
    mdc_engine *engine = &dump->engine;
    mdc_source *source = engine->source;
    set_phase(dump, MDC_PHASE_OPEN);
    if (source->ops->prepare(source, engine->control, err) != MDC_OK) return err->code;
    engine->calls.pid = (uint32_t)source->pid; /* a live source knows its pidfd, and a pid to it, from here on */
    engine->calls.process = source->handle;
    set_phase(dump, MDC_PHASE_CAPTURE);
    if (mdc_capture_before_stop(&dump->capture, &dump->sink, &dump->io_sink, err) != MDC_OK ||
        check_output(dump, err) != MDC_OK || mdc_gaps_init(&dump->gaps, &dump->capture, err) != MDC_OK ||
        mdc_reader_init(&dump->reader, &dump->capture, &dump->plan.extents, &dump->plan.over_budget, err) != MDC_OK ||
        mdc_writer_init(&dump->writer, &dump->reader, &dump->layout, &dump->gaps, err) != MDC_OK)
        return err->code;
    set_phase(dump, MDC_PHASE_STOP);
    const uint64_t asked = mdc_clock_ns();
    if (source->ops->stop(source, err) != MDC_OK) return err->code;
    dump->resumed = false;
    limit_copying(dump, asked);
    atomic_store(&engine->control->stopped, source->ops->snapshot(source)->frozen == 0);
    set_phase(dump, MDC_PHASE_CAPTURE);
    /* The lists stay when the target runs on: a plan alone needs no more than the registers, unless it chooses by what
     * the stacks point to. */
    if ((engine->options.plan_only && engine->options.max_bytes == 0 && resume(dump, err) != MDC_OK) ||
        mdc_capture_lists(&dump->capture, err) != MDC_OK ||
        mdc_crash_read(&dump->capture, &dump->reader, err) != MDC_OK ||
        mdc_report_reserve(&dump->report, &dump->capture, err) != MDC_OK)
        return err->code;
    return mdc_capture_items(&dump->capture, &dump->reader, err);
}

static mdc_status plan(mdc_dump *dump, mdc_error *err) {
    mdc_plan *plan = &dump->plan;
    set_phase(dump, MDC_PHASE_PLAN);
    if (mdc_plan_begin(plan, err) != MDC_OK ||
        (dump->engine.full   ? mdc_plan_full(plan, err)
         : dump->engine.held ? mdc_plan_held(plan, err)
                             : mdc_plan_normal(plan, err)) != MDC_OK ||
        mdc_plan_finish(plan, err) != MDC_OK || mdc_streams_read(plan, err) != MDC_OK)
        return err->code;
    return MDC_OK;
}

/* The place of everything, in the order in which it is copied, after what is over the budget was taken out of the plan.
 */
static mdc_status lay_out(mdc_dump *dump, mdc_error *err) {
    if (dump->engine.copy_until != 0 && mdc_copy_order(&dump->plan, &dump->report, &dump->layout, err) != MDC_OK)
        return err->code;
    if (dump->engine.options.max_bytes != 0 &&
        mdc_budget_fit(&dump->plan, &dump->gaps, &dump->report, dump->layout.now, err) != MDC_OK)
        return err->code;
    if (mdc_gaps_plan_ends(&dump->gaps, err) != MDC_OK ||
        mdc_layout_build(&dump->layout, dump->plan.all.data, err) != MDC_OK)
        return err->code;
    return mdc_budget_check(&dump->layout, &dump->gaps, err);
}

static mdc_status write_file(mdc_dump *dump, mdc_error *err) {
    if (mdc_writer_memory(&dump->writer, dump->sink, err) != MDC_OK || resume(dump, err) != MDC_OK) return err->code;
    return mdc_writer_finish(&dump->writer, err);
}

static mdc_status run(mdc_dump *dump, mdc_error *err) {
    if (capture(dump, err) != MDC_OK || plan(dump, err) != MDC_OK || lay_out(dump, err) != MDC_OK ||
        dump->engine.options.plan_only)
        return err->code;
    set_phase(dump, MDC_PHASE_WRITE);
    /* Reads and callbacks are inside of it; between them only the output can hang. */
    mdc_doing_before before = mdc_control_begin(dump->engine.control, MDC_DOING_WRITE, -1, 0);
    mdc_status status = write_file(dump, err);
    mdc_control_end(dump->engine.control, before);
    if (status == MDC_OK) mdc_calls_kernel_minidump(&dump->engine.calls);
    return status;
}

mdc_status mdc_dump_run(mdc_dump *dump, mdc_error *err) {
    mdc_error_clear(err);
    dump->layout.now = (int64_t)time(NULL);
    mdc_status status = run(dump, err);
    mdc_error ignored; /* after a failure, the first fault is the one that counts */
    mdc_error_clear(&ignored);
    mdc_status resumed = resume(dump, &ignored);
    /* That the target is gone is often noticed here first; only the source knows why. */
    if (status == MDC_ERR_TARGET_GONE && err->os_errno == 0 &&
        (resumed == MDC_ERR_TARGET || (resumed == MDC_ERR_TARGET_GONE && ignored.os_errno != 0))) {
        ignored.phase = err->phase;
        *err = ignored;
        status = resumed;
    }
    if (status != MDC_OK && err->pid == 0) err->pid = dump->engine.source->pid;
    if (status != MDC_OK && err->phase == MDC_PHASE_NONE) err->phase = atomic_load(&dump->engine.control->phase);
    uint64_t written = dump->sink != NULL ? dump->sink->position : 0;
    mdc_report_make(&dump->report, &dump->layout, dump->writer.output.zeros, written, dump->stop_time_ns);
    return status;
}

const mdc_report *mdc_dump_report(const mdc_dump *dump) { return &dump->report.report; }
