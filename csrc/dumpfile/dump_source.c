/* The operations of the source (see dump_source.h). */
#include "dump_source.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "../base/os_error.h"
#include "dump_file.h"

typedef struct dump_source {
    mdc_source base;
    mdc_input *input;
    mdc_dump_file file;
    mdc_snapshot lists;
    mdc_carried carried;
    mdc_dump_view view;
} dump_source;

static mdc_status read_exactly(mdc_source *source, uint64_t offset, void *buffer, size_t size, mdc_error *err) {
    return mdc_dump_get(&((dump_source *)source)->file, offset, buffer, size, "the dump", err);
}

static uint64_t file_run(mdc_source *source, uint64_t offset, uint64_t end, bool *hole) {
    return mdc_input_run(((const dump_source *)source)->input, offset, end, hole);
}

/* Of the first exception, if the thread it happened in is there. */
static mdc_source_crash crash_of(const mdc_dump_file *file) {
    mdc_source_crash crash = {.known = 0};
    if (file->exceptions.count == 0) return crash;
    const mdc_dump_exception *first = file->exceptions.data;
    for (size_t i = 0; i < file->listed; i++) {
        if (mdc_vec_at(&file->threads, const mdc_thread, i).tid != first->tid) continue;
        crash.known = 1;
        crash.thread = (uint32_t)i;
        break;
    }
    crash.signal = first->code;
    crash.code = first->flags;
    crash.address = first->address;
    crash.instruction_pointer = first->instruction_pointer;
    crash.parameter_count = (uint32_t)mdc_min_u64(first->parameter_count, 3);
    memcpy(crash.parameters, first->parameters, crash.parameter_count * sizeof *crash.parameters);
    return crash;
}

static void fill(dump_source *dump) {
    const mdc_dump_file *file = &dump->file;
    dump->carried = (mdc_carried){.streams = file->streams.data,
                                  .stream_count = file->streams.count,
                                  .runs = file->held.data,
                                  .run_count = file->held.count,
                                  .cut = file->cut.data,
                                  .cut_count = file->cut.count,
                                  .lists = file->lists,
                                  .version = file->header.version,
                                  .timestamp = file->header.time_date_stamp,
                                  .flags = file->header.flags,
                                  .file_size = file->size,
                                  .read = read_exactly,
                                  .run = file_run};
    dump->lists = (mdc_snapshot){.regions = file->regions.data,
                                 .region_count = file->regions.count,
                                 .threads = file->threads.data,
                                 .thread_count = file->threads.count,
                                 .modules = file->modules.data,
                                 .module_count = file->modules.count,
                                 .names = file->names.data,
                                 .name_count = file->names.count,
                                 .pool = file->pool.data,
                                 .pool_size = file->pool.count,
                                 .system = &file->system,
                                 .unloaded = file->unloaded.data,
                                 .unloaded_count = file->unloaded.count,
                                 .handles = file->handles.data,
                                 .handle_count = file->handles.count,
                                 .crash = crash_of(file),
                                 .cut_bytes = file->cut_bytes,
                                 .carried = &dump->carried};
    if (file->handles.count > 0) dump->lists.types |= MDC_TYPE_WITH_HANDLE_DATA;
    if (file->unloaded.count > 0) dump->lists.types |= MDC_TYPE_WITH_UNLOADED_MODULES;
    dump->view = (mdc_dump_view){.entries = file->entries.data,
                                 .entry_count = file->entries.count,
                                 .exceptions = file->exceptions.data,
                                 .exception_count = file->exceptions.count,
                                 .faults = file->faults.data,
                                 .fault_count = file->faults.count,
                                 .infos = file->infos.data,
                                 .info_count = file->infos.count,
                                 .mappings = file->mappings.data,
                                 .mapping_count = file->mappings.count,
                                 .process_known = file->process_known,
                                 .process_id = file->process_id,
                                 .system_known = file->system_known};
    memcpy(dump->view.lengths, file->lengths, sizeof dump->view.lengths);
}

static mdc_status prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    dump_source *dump = (dump_source *)source;
    if (mdc_dump_file_parse(&dump->file, control, err) != MDC_OK) return err->code;
    source->pid = (int32_t)dump->file.process_id;
    fill(dump);
    return MDC_OK;
}

static mdc_status stop(mdc_source *source, mdc_error *err) {
    (void)source;
    (void)err;
    return MDC_OK;
}

static const mdc_snapshot *snapshot(const mdc_source *source) { return &((const dump_source *)source)->lists; }

static size_t content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs, size_t room,
                      uint64_t *next) {
    const mdc_dump_file *file = &((dump_source *)source)->file;
    const mdc_carried_run *held = file->held.data;
    const mdc_set_range *cut = file->cut.data;
    size_t i, k = mdc_range_set_find(&file->cut, first), count = 0;
    (void)region;
    mdc_lower_bound(i, 0, file->held.count, held[i].address + held[i].size <= first);
    while (first < end && count < room) {
        mdc_content run = {.first = first, .end = end, .what = MDC_CONTENT_ABSENT};
        while (k < file->cut.count && cut[k].end <= first) k++;
        if (i < file->held.count && held[i].address <= first) {
            run.end = mdc_min_u64(end, held[i].address + held[i].size);
            run.what = MDC_CONTENT_DATA;
        } else {
            if (i < file->held.count) run.end = mdc_min_u64(run.end, held[i].address);
            if (k < file->cut.count && cut[k].first <= first) {
                run.end = mdc_min_u64(run.end, cut[k].end);
                run.what = MDC_CONTENT_CUT;
            } else if (k < file->cut.count) {
                run.end = mdc_min_u64(run.end, cut[k].first);
            }
        }
        first = run.end;
        if (i < file->held.count && held[i].address + held[i].size <= first) i++;
        if (count > 0 && run.what == MDC_CONTENT_DATA && runs[count - 1].what == MDC_CONTENT_DATA)
            runs[count - 1].end = run.end;
        else
            runs[count++] = run;
    }
    *next = first;
    return count;
}

static mdc_status read_spans(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer,
                             size_t *done, int32_t *os_errno, mdc_error *err) {
    const mdc_dump_file *file = &((dump_source *)source)->file;
    (void)err;
    *done = 0;
    *os_errno = 0;
    for (size_t i = 0; i < span_count; i++) {
        size_t size = (size_t)spans[i].size;
        size_t got = mdc_dump_read_held(file, spans[i].address, buffer + *done, size, os_errno);
        *done += got;
        if (got == size) continue;
        if (*os_errno == 0) *os_errno = MDC_OS_FAULT;
        return MDC_OK;
    }
    return MDC_OK;
}

static mdc_status resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    (void)source;
    (void)err;
    *stop_time_ns = 0;
    return MDC_OK;
}

static void free_source(mdc_source *source) {
    dump_source *dump = (dump_source *)source;
    mdc_dump_file_fini(&dump->file);
    mdc_input_free(dump->input);
    mdc_dealloc(dump);
}

static const mdc_source_ops dump_ops = {.prepare = prepare,
                                        .stop = stop,
                                        .snapshot = snapshot,
                                        .content = content,
                                        .read = read_spans,
                                        .resume = resume,
                                        .free = free_source};

/* What a callee has to know of the target before the file is parsed. What is damaged is told then. */
static void look_ahead(const mdc_input *input, mdc_source *source) {
    enum { ENTRIES_MAX = 4096, ARCH_ARM = 5, PLATFORM_MAX = 3 }; /* other systems than Windows: from 0x8000 on */
    mdc_file_header header;
    mdc_file_system_info system;
    int32_t ignored;
    if (mdc_input_read(input, 0, &header, sizeof header, &ignored) < sizeof header) return;
    for (uint32_t i = 0; i < header.stream_count && i < ENTRIES_MAX; i++) {
        mdc_file_directory entry;
        uint64_t at = (uint64_t)header.directory_rva + (uint64_t)i * sizeof entry;
        if (mdc_input_read(input, at, &entry, sizeof entry, &ignored) < sizeof entry) return;
        if (entry.stream_type != MDC_STREAM_TYPE_SYSTEM_INFO) continue;
        if (mdc_input_read(input, entry.rva, &system, sizeof system, &ignored) < sizeof system) return;
        source->windows = system.platform_id <= PLATFORM_MAX;
        source->narrow =
            system.processor_architecture == MDC_FILE_ARCH_X86 || system.processor_architecture == ARCH_ARM;
        return;
    }
}

mdc_status mdc_dump_source_new(int64_t fd, const mdc_dump_source_options *options, mdc_source **slot, mdc_error *err) {
    *slot = NULL;
    dump_source *dump = mdc_alloc(1, sizeof *dump, err);
    if (dump == NULL) return err->code;
    dump->input = mdc_input_new(fd, err);
    if (dump->input == NULL) {
        mdc_dealloc(dump);
        return err->code;
    }
    mdc_dump_file_init(&dump->file, dump->input, options);
    mdc_source_init(&dump->base, &dump_ops, 0);
    dump->base.carries = 1;
    look_ahead(dump->input, &dump->base);
    *slot = &dump->base;
    return MDC_OK;
}

const mdc_dump_view *mdc_dump_source_view(const mdc_source *source) { return &((const dump_source *)source)->view; }
