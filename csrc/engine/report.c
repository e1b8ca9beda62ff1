/* The report: what the dump is, counted from the plan and the gaps. */
#include "../base/clock.h"
#include "dump_state.h"

mdc_status mdc_report_fill(mdc_dump *dump, mdc_error *err) {
    const mdc_lists *lists = dump->lists;
    if (mdc_vec_push(&dump->report_threads, NULL, lists->thread_count, NULL, err) != MDC_OK ||
        mdc_vec_push(&dump->report_modules, NULL, lists->module_count, NULL, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < lists->thread_count; i++) {
        const mdc_thread_plan *plan = &mdc_vec_at(&dump->thread_plans, const mdc_thread_plan, i);
        uint32_t flags = lists->threads[i].flags & MDC_THREAD_NO_REGISTERS;
        if (flags != 0 && (plan->write & MDC_THREAD_WRITE_CONTEXT) != 0) dump->warnings |= MDC_WARN_NO_THREAD_REGISTERS;
        if (flags != 0 && (plan->write & MDC_THREAD_WRITE_STACK) != 0 && lists->threads[i].stack_pointer == 0)
            dump->warnings |= MDC_WARN_NO_THREAD_STACK;
        mdc_vec_at(&dump->report_threads, mdc_report_thread, i) = (mdc_report_thread){
            .tid = lists->threads[i].tid, .flags = plan->write == 0 ? flags | MDC_THREAD_EXCLUDED : flags};
    }
    for (size_t i = 0; i < lists->module_count; i++) {
        const mdc_module *module = &lists->modules[i];
        mdc_vec_at(&dump->report_modules, mdc_report_module, i) =
            (mdc_report_module){.base = module->base,
                                .size = module->size,
                                .path = module->path.offset,
                                .path_size = module->path.size,
                                .flags = mdc_vec_at(&dump->module_plans, const mdc_module_plan, i).write};
    }
    return MDC_OK;
}

static void count_memory(mdc_dump *dump) {
    mdc_report *report = &dump->report;
    mdc_report_region *regions = dump->report_regions.data;
    report->memory_bytes = report->stored_bytes = report->zero_bytes = 0;
    report->left_to_file = report->filtered_bytes = report->late_bytes = 0;
    for (size_t i = 0; i < dump->report_regions.count; i++) {
        regions[i].stored = 0;
        report->memory_bytes += regions[i].kept;
        report->left_to_file += regions[i].left_to_file;
        report->filtered_bytes += regions[i].filtered;
        report->zero_bytes += regions[i].zeros;
    }
    for (size_t i = 0; i < dump->extents.count; i++) {
        const mdc_extent *extent = &mdc_vec_at(&dump->extents, const mdc_extent, i);
        if ((extent->flags & MDC_EXTENT_LATE) != 0) report->late_bytes += extent->size;
        if ((extent->flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_HOLE)) == 0)
            regions[extent->region].stored += extent->size;
        else
            report->zero_bytes += extent->size;
    }
    for (size_t i = 0; i < dump->cut_count; i++)
        regions[mdc_vec_at(&dump->extents, const mdc_extent, dump->cuts[i].extent).region].stored -= dump->cuts[i].size;
    for (size_t i = 0; i < dump->report_regions.count; i++) {
        regions[i].stored -= regions[i].zeros;
        report->stored_bytes += regions[i].stored;
    }
}

void mdc_report_count(mdc_dump *dump) {
    mdc_report *report = &dump->report;
    report->dump_type = dump->options.dump_type;
    report->honoured_type = dump->options.dump_type & ~(dump->lists != NULL ? mdc_types_lost(dump) : 0);
    report->pid = dump->source->pid;
    report->warnings = dump->warnings;
    report->frozen_ns = dump->stop_time_ns;
    report->total_ns = mdc_clock_ns() - dump->monitor->started_ns;
    for (size_t i = 0; i < 32; i++) report->calls[i] = dump->calls.count[i];
    report->omitted_streams = dump->omitted_streams | dump->options.omit_streams;
    report->streams = (uint32_t)dump->stream_count;
    report->memory_ranges = dump->has_memory64 ? 0 : dump->memory_list.count;
    report->memory64_ranges = dump->has_memory64 ? dump->memory_list.count : 0;
    report->memory_info_count = dump->memory_info_list.count;
    report->read_failed_gaps = 0;
    for (size_t i = 0; i < dump->gap_count; i++)
        report->read_failed_gaps +=
            dump->gaps[i].reason != MDC_GAP_BEYOND_EOF && dump->gaps[i].reason != MDC_GAP_LEFT_TO_FILE;
    count_memory(dump);
    uint64_t planned = dump->tail_offset != 0 ? dump->tail_offset + sizeof(uint64_t) : 0;
    report->file_bytes = dump->sink != NULL && dump->sink->position > 0 ? dump->sink->position : planned;
    report->regions = dump->report_regions.data;
    report->region_count = dump->report_regions.count;
    report->threads = dump->report_threads.data;
    report->thread_count = dump->report_threads.count;
    report->modules = dump->report_modules.data;
    report->module_count = dump->report_modules.count;
    report->extents = dump->extents.data;
    report->extent_count = dump->extents.count;
    report->gaps = dump->gaps;
    report->gap_count = dump->gap_count;
    report->names = dump->names.data;
    report->names_size = dump->names.count;
}
