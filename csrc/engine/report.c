#include "report.h"

#include <string.h>

#include "../base/clock.h"
#include "file_ranges.h"
#include "streams/stream.h"

mdc_status mdc_report_reserve(mdc_report_rows *rows, const mdc_capture *capture, mdc_error *err) {
    const mdc_snapshot *lists = capture->lists;
    rows->regions = mdc_alloc_buffer(capture->region_count, sizeof *rows->regions, err); /* not touched in the stop */
    rows->threads = mdc_alloc(lists->thread_count, sizeof *rows->threads, err);
    rows->modules = mdc_alloc(lists->module_count, sizeof *rows->modules, err);
    rows->names = mdc_alloc(lists->pool_size, 1, err);
    if (rows->regions == NULL || rows->threads == NULL || rows->modules == NULL || rows->names == NULL)
        return err->code;
    if (lists->pool_size > 0) memcpy(rows->names, lists->pool, lists->pool_size); /* the source may be freed first */
    rows->report.region_count = capture->region_count;
    rows->report.names_size = lists->pool_size;
    return MDC_OK;
}

void mdc_report_fini(mdc_report_rows *rows) {
    mdc_dealloc(rows->regions);
    mdc_dealloc(rows->threads);
    mdc_dealloc(rows->modules);
    mdc_dealloc(rows->names);
}

static void make_regions(mdc_report_rows *rows, const mdc_layout *layout, const uint64_t *zeros) {
    const mdc_capture *capture = layout->capture;
    mdc_report *report = &rows->report;
    for (size_t i = 0; i < report->region_count; i++) {
        const mdc_region *region = &capture->regions[i];
        const mdc_region_outcome none = {0};
        const mdc_region_outcome *outcome = layout->plan->outcomes != NULL ? &layout->plan->outcomes[i] : &none;
        bool readable = region->state == MDC_MEM_COMMIT && (region->flags & MDC_REGION_NEVER_READ) == 0;
        mdc_name name = mdc_region_name(capture, i);
        rows->regions[i] = (mdc_report_region){.base = region->base,
                                               .size = region->size,
                                               .kept = outcome->kept,
                                               .untouched = outcome->untouched,
                                               .left_to_file = outcome->left_to_file,
                                               .filtered = readable ? region->filtered : 0,
                                               .zeros = zeros != NULL ? zeros[i] : 0,
                                               .over_budget = outcome->over_budget,
                                               .state = region->state,
                                               .protect = region->protect,
                                               .type = region->type,
                                               .kinds = capture->kinds[i],
                                               .flags = region->flags | outcome->flags,
                                               .name = name.offset,
                                               .name_size = name.size};
        report->memory_bytes += rows->regions[i].kept;
        report->left_to_file += rows->regions[i].left_to_file;
        report->filtered_bytes += rows->regions[i].filtered;
        report->zero_bytes += rows->regions[i].zeros;
        report->over_budget += rows->regions[i].over_budget;
    }
}

static void make_threads(mdc_report_rows *rows, const mdc_layout *layout) {
    const mdc_capture *capture = layout->capture;
    for (size_t i = 0; i < rows->report.thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        uint32_t write = capture->threads[i].write, flags = thread->flags & MDC_THREAD_NO_REGISTERS;
        if (flags != 0 && (write & MDC_THREAD_WRITE_CONTEXT) != 0)
            rows->report.warnings |= MDC_WARN_NO_THREAD_REGISTERS;
        if (flags != 0 && (write & MDC_THREAD_WRITE_STACK) != 0 && thread->stack_pointer == 0)
            rows->report.warnings |= MDC_WARN_NO_THREAD_STACK;
        mdc_file_range stack = {0};
        bool placed = layout->tail_offset != 0;
        if (placed && !mdc_ranges_of_thread(layout, i, &stack)) flags |= MDC_THREAD_NO_STACK;
        rows->threads[i] = (mdc_report_thread){.tid = thread->tid,
                                               .flags = write == 0 ? flags | MDC_THREAD_EXCLUDED : flags,
                                               .stack_base = stack.address,
                                               .stack_size = stack.size};
    }
}

static void make_modules(mdc_report_rows *rows, const mdc_capture *capture) {
    for (size_t i = 0; i < rows->report.module_count; i++) {
        const mdc_module *module = &capture->lists->modules[i];
        rows->modules[i] = (mdc_report_module){.base = module->base,
                                               .size = module->size,
                                               .path = module->path.offset,
                                               .path_size = module->path.size,
                                               .flags = capture->modules[i].write};
    }
}

static void count_extents(mdc_report_rows *rows, const mdc_layout *layout) {
    const mdc_extents *extents = &layout->plan->extents;
    mdc_report *report = &rows->report;
    for (size_t i = 0; i < extents->count; i++) {
        const mdc_extent *extent = &extents->all[i];
        if ((extent->flags & MDC_EXTENT_LATE) != 0) report->late_bytes += extent->size;
        if ((extent->flags & MDC_EXTENT_TRUNCATED) != 0) continue;
        if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_HOLE)) == 0)
            rows->regions[extent->region].stored += extent->size;
        else
            report->zero_bytes += extent->size;
    }
    for (size_t i = 0; i < layout->excised_count; i++)
        rows->regions[extents->all[layout->excised[i].extent].region].stored -= layout->excised[i].size;
    for (size_t i = 0; i < report->region_count; i++) {
        rows->regions[i].stored -= rows->regions[i].zeros;
        report->stored_bytes += rows->regions[i].stored;
    }
}

/* How long the threads were stopped, in words: as requested, or why not. */
static void take_stop(mdc_report *report, const mdc_capture *capture) {
    const mdc_engine_options *options = &capture->engine->options;
    const mdc_snapshot *lists = capture->lists;
    if (options->plan_only) return;
    report->stop = options->stop == MDC_STOP_SNAPSHOT ? MDC_STOP_WHOLE : options->stop;
    if (options->stop == MDC_STOP_MEMORY && capture->engine->stop_reason != MDC_STOP_REASON_NONE) {
        report->warnings |= MDC_WARN_STOP;
        report->stop = MDC_STOP_WHOLE;
        report->stop_reason = capture->engine->stop_reason;
        report->stop_errno = capture->engine->stop_errno;
    }
    if (options->stop != MDC_STOP_SNAPSHOT || lists == NULL) return;
    if (lists->frozen != 0) {
        report->stop = MDC_STOP_SNAPSHOT;
        report->warnings |= lists->warnings & MDC_WARN_ZOMBIE;
    } else {
        report->warnings |= MDC_WARN_STOP;
        report->stop_reason = lists->stop_reason != 0 ? lists->stop_reason : MDC_STOP_REASON_SOURCE;
        report->stop_errno = lists->stop_errno;
    }
}

void mdc_report_make(mdc_report_rows *rows, const mdc_layout *layout, const uint64_t *zeros, uint64_t file_bytes,
                     uint64_t stop_time_ns) {
    const mdc_capture *capture = layout->capture;
    const mdc_engine *engine = capture->engine;
    const mdc_plan *plan = layout->plan;
    mdc_report *report = &rows->report;
    /* Sums: it may have been made before, of the plan. */
    report->memory_bytes = report->stored_bytes = report->zero_bytes = report->left_to_file = 0;
    report->filtered_bytes = report->late_bytes = report->over_budget = 0;
    report->read_failed_gaps = 0;
    report->dump_type = engine->held && capture->lists != NULL ? capture->type : engine->options.dump_type;
    report->honoured_type = report->dump_type & ~(capture->lists != NULL ? mdc_type_lost(capture) : 0);
    report->pid = engine->source->pid;
    report->warnings = capture->warnings | plan->warnings | layout->warnings;
    if (plan->gaps->full) report->warnings |= MDC_WARN_GAP_TABLE_FULL;
    report->stop_time_ns = stop_time_ns;
    take_stop(report, capture);
    report->total_ns = mdc_clock_ns() - engine->control->started_ns;
    for (size_t i = 0; i < 32; i++) report->calls[i] = engine->calls.count[i];
    report->omitted_streams = plan->omitted_streams | layout->omitted_streams | engine->options.omit_streams;
    report->cut_bytes = capture->lists != NULL ? capture->lists->cut_bytes : 0;
    report->streams = (uint32_t)layout->stream_count;
    report->memory_ranges = mdc_streams_place_of(layout, MDC_STREAM_TYPE_MEMORY_LIST)->count;
    report->memory64_ranges = mdc_streams_place_of(layout, MDC_STREAM_TYPE_MEMORY64_LIST)->count;
    report->memory_info_count = layout->memory_info_count;
    report->dropped_count = layout->dropped.count;
    memcpy(report->dropped, layout->dropped.types, sizeof report->dropped);
    for (size_t i = 0; i < plan->gaps->count; i++)
        report->read_failed_gaps +=
            plan->gaps->all[i].reason != MDC_GAP_BEYOND_EOF && plan->gaps->all[i].reason != MDC_GAP_LEFT_TO_FILE;
    if (plan->outcomes != NULL) { /* the callee has been asked about all items */
        report->thread_count = capture->lists->thread_count;
        report->module_count = capture->lists->module_count;
    }
    make_regions(rows, layout, zeros);
    make_threads(rows, layout);
    make_modules(rows, capture);
    count_extents(rows, layout);
    uint64_t planned = layout->tail_offset != 0 ? mdc_layout_planned_end(layout) : 0;
    report->file_bytes = file_bytes > 0 ? file_bytes : planned;
    report->regions = rows->regions;
    report->threads = rows->threads;
    report->modules = rows->modules;
    report->extents = plan->extents.all;
    report->extent_count = plan->extents.count;
    report->gaps = plan->gaps->all;
    report->gap_count = plan->gaps->count;
    report->cut = plan->cut.data;
    report->cut_count = plan->cut.count;
    report->names = rows->names;
}
