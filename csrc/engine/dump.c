/* A dump from beginning to end: capture, plan, layout, write. The target runs again whatever happens. */
#include <time.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "dump_state.h"

#define BUFFER_MAX (UINT64_C(1) << 30) /* VmPreRead.Size has 32 bits */

void mdc_dump_phase(mdc_dump *dump, int32_t phase) { atomic_store(&dump->monitor->phase, phase); }

static void set_default(uint64_t *value, uint64_t otherwise) {
    if (*value == 0) *value = otherwise;
}

static mdc_status take_options(mdc_dump *dump, const mdc_engine_options *options, mdc_error *err) {
    mdc_engine_options *own = &dump->options;
    *own = *options;
    if (own->untouched > MDC_UNTOUCHED_OMIT || own->dontdump > MDC_DONTDUMP_IGNORE || own->coredump_filter > 1 ||
        own->file_pages > MDC_FILE_PAGES_RESIDENT || own->late_files > 1 || own->buffer_bytes % MDC_PAGE_SIZE != 0 ||
        own->buffer_bytes > BUFFER_MAX || own->limit32 > UINT64_C(1) << 32)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "an option of the engine is out of range");
    if (mdc_streams_user_check(own, err) != MDC_OK) return err->code;
    if (own->callback.CallbackRoutine == NULL) own->extensions = 0;
    if (own->plan_only) own->edit = NULL; /* nothing is stored */
    if (own->spare_slots == 0) own->spare_slots = 64;
    if (own->spare_slots > MDC_SPARE_MAX) own->spare_slots = MDC_SPARE_MAX;
    if (own->answers_max == 0) own->answers_max = 1 << 20;
    if (own->gaps_max == 0) own->gaps_max = 1 << 16;
    set_default(&own->limit32, UINT64_C(1) << 32);
    set_default(&own->stack_limit, UINT64_C(8) << 20);
    set_default(&own->buffer_bytes, UINT64_C(1) << 20);
    set_default(&own->hole_min, UINT64_C(64) << 10);
    set_default(&own->sparse_max, UINT64_C(64) << 30);
    return MDC_OK;
}

mdc_dump *mdc_dump_new(const mdc_engine_options *options, mdc_source *source, mdc_sink *sink, mdc_monitor *monitor,
                       mdc_error *err) {
    mdc_dump *dump = mdc_alloc(1, sizeof *dump, err);
    if (dump == NULL) return NULL;
    dump->directory_room = MDC_DIRECTORY_ROOM + options->user_stream_count;
    if (take_options(dump, options, err) == MDC_OK)
        dump->directory = mdc_alloc(dump->directory_room, sizeof *dump->directory, err);
    if (dump->directory == NULL) {
        mdc_dealloc(dump);
        return NULL;
    }
    dump->source = source;
    dump->sink = sink;
    dump->monitor = monitor;
    dump->full = (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    dump->resumed = true;
    mdc_calls_init(&dump->calls, &dump->options, (uint32_t)source->pid, source->handle, monitor);
    mdc_vec_init(&dump->queried, sizeof(mdc_region));
    mdc_vec_init(&dump->thread_plans, sizeof(mdc_thread_plan));
    mdc_vec_init(&dump->module_plans, sizeof(mdc_module_plan));
    mdc_vec_init(&dump->interrupted, sizeof(mdc_interrupted));
    mdc_vec_init(&dump->stacks, sizeof(mdc_stack));
    mdc_range_set_init(&dump->added);
    mdc_range_set_init(&dump->removed);
    mdc_vec_init(&dump->report_regions, sizeof(mdc_report_region));
    mdc_vec_init(&dump->report_threads, sizeof(mdc_report_thread));
    mdc_vec_init(&dump->report_modules, sizeof(mdc_report_module));
    mdc_vec_init(&dump->names, 1);
    mdc_vec_init(&dump->extents, sizeof(mdc_extent));
    mdc_vec_init(&dump->rest_extents, sizeof(mdc_extent));
    mdc_vec_init(&dump->small, 1);
    mdc_vec_init(&dump->parts, sizeof(mdc_part));
    mdc_vec_init(&dump->exception_context, 1);
    mdc_vec_init(&dump->dso_dynamic, 1);
    mdc_vec_init(&dump->dso_objects, sizeof(mdc_dso_object));
    mdc_vec_init(&dump->dso_names, 1);
    mdc_vec_init(&dump->edited, 1);
    mdc_vec_init(&dump->edited_at, sizeof(size_t));
    mdc_vec_init(&dump->edited_string, 1);
    return dump;
}

void mdc_dump_free(mdc_dump *dump) {
    if (dump == NULL) return;
    mdc_vec *vecs[] = {&dump->queried,        &dump->thread_plans,   &dump->module_plans,
                       &dump->stacks,         &dump->added,          &dump->removed,
                       &dump->report_regions, &dump->report_threads, &dump->report_modules,
                       &dump->names,          &dump->extents,        &dump->rest_extents,
                       &dump->small,          &dump->parts,          &dump->dso_dynamic,
                       &dump->dso_objects,    &dump->dso_names,      &dump->edited,
                       &dump->edited_at,      &dump->edited_string,  &dump->exception_context,
                       &dump->interrupted};
    for (size_t i = 0; i < sizeof vecs / sizeof vecs[0]; i++) mdc_vec_fini(vecs[i]);
    mdc_copy_fini(dump);
    mdc_dealloc(dump->directory);
    mdc_dealloc(dump->gaps);
    mdc_dealloc(dump->planned);
    mdc_dealloc(dump->cuts);
    if (dump->io_sink != NULL) dump->io_sink->ops->free(dump->io_sink);
    mdc_dealloc(dump);
}

mdc_status mdc_dump_resume(mdc_dump *dump, mdc_error *err) {
    if (dump->resumed) return MDC_OK;
    dump->resumed = true;
    mdc_status status = dump->source->ops->resume(dump->source, &dump->stop_time_ns, err);
    atomic_store(&dump->monitor->stopped, 0);
    return status;
}

static mdc_status capture(mdc_dump *dump, mdc_error *err) {
    mdc_dump_phase(dump, MDC_PHASE_OPEN);
    if (dump->source->ops->prepare(dump->source, err) != MDC_OK) return err->code;
    dump->calls.pid = (uint32_t)dump->source->pid; /* a live source knows its pidfd, and a pid to it, from here on */
    dump->calls.process = dump->source->handle;
    mdc_dump_phase(dump, MDC_PHASE_GATHER);
    if (mdc_capture_before_stop(dump, err) != MDC_OK) return err->code;
    dump->gaps = mdc_alloc(dump->options.gaps_max, sizeof *dump->gaps, err);
    if (dump->gaps == NULL || mdc_copy_init(dump, err) != MDC_OK) return err->code;
    mdc_dump_phase(dump, MDC_PHASE_STOP);
    if (dump->source->ops->stop(dump->source, err) != MDC_OK) return err->code;
    dump->resumed = false;
    atomic_store(&dump->monitor->stopped, 1);
    mdc_dump_phase(dump, MDC_PHASE_GATHER);
    /* The lists stay when the target runs on: a plan alone needs no more than the registers. */
    if (dump->options.plan_only && mdc_dump_resume(dump, err) != MDC_OK) return err->code;
    if (mdc_capture_lists(dump, err) != MDC_OK || mdc_capture_items(dump, err) != MDC_OK) return err->code;
    return mdc_report_fill(dump, err);
}

static mdc_status plan(mdc_dump *dump, mdc_error *err) {
    mdc_dump_phase(dump, MDC_PHASE_PLAN);
    dump->late = mdc_late_allowed(dump);
    mdc_status status = dump->full ? mdc_regions_plan_full(dump, err) : mdc_plan_normal(dump, err);
    if (status != MDC_OK || mdc_extents_finish(dump, err) != MDC_OK) return err->code;
    /* A plan reads the link map too, of a process that runs again: without it, it would be a stream short. */
    if (mdc_streams_dso_read(dump, err) != MDC_OK ||
        (!dump->options.plan_only && mdc_streams_exception_read(dump, err) != MDC_OK))
        return err->code;
    if (mdc_sanitized_make(dump, err) != MDC_OK) return err->code;
    dump->planned_gaps = dump->gap_count;
    dump->spare = dump->sink != NULL && dump->sink->patchable ? dump->options.spare_slots : 0;
    dump->cuts = mdc_alloc(dump->spare, sizeof *dump->cuts, err);
    dump->planned = mdc_alloc(dump->planned_gaps, sizeof *dump->planned, err);
    if (dump->cuts == NULL || dump->planned == NULL) return err->code;
    /* A copy: the stream of planned gaps is written again when lists are patched, and the table's last entry may have
     * become the hull of what found no room. */
    for (size_t i = 0; i < dump->planned_gaps; i++) dump->planned[i] = dump->gaps[i];
    return mdc_layout_build(dump, err);
}

static mdc_status run(mdc_dump *dump, mdc_error *err) {
    if (capture(dump, err) != MDC_OK || plan(dump, err) != MDC_OK || dump->options.plan_only) return err->code;
    mdc_dump_phase(dump, MDC_PHASE_WRITE);
    if (mdc_write_file(dump, err) != MDC_OK) return err->code;
    mdc_calls_kernel_minidump(&dump->calls);
    return MDC_OK;
}

mdc_status mdc_dump_run(mdc_dump *dump, mdc_error *err) {
    mdc_error_clear(err);
    dump->now = (int64_t)time(NULL);
    mdc_status status = run(dump, err);
    mdc_error ignored; /* after a failure, the first fault is the one that counts */
    mdc_error_clear(&ignored);
    mdc_status resumed = mdc_dump_resume(dump, &ignored);
    /* That the target is gone is often noticed here first; only the source knows why. */
    if (status == MDC_ERR_TARGET_GONE && err->os_errno == 0 &&
        (resumed == MDC_ERR_TARGET || (resumed == MDC_ERR_TARGET_GONE && ignored.os_errno != 0))) {
        ignored.phase = err->phase;
        *err = ignored;
        status = resumed;
    }
    if (status != MDC_OK && err->pid == 0) err->pid = dump->source->pid;
    if (status != MDC_OK && err->phase == MDC_PHASE_NONE) err->phase = atomic_load(&dump->monitor->phase);
    mdc_report_count(dump);
    return status;
}

const mdc_report *mdc_dump_report(const mdc_dump *dump) { return &dump->report; }
