/* The live Windows process as a source (see win_live.h). */
#include "win_live.h"

#include <string.h>

#include <windows.h>

#include "../base/fail.h"
#include "../base/vec.h"
#include "win_handles.h"
#include "win_memory.h"
#include "win_modules.h"
#include "win_names.h"
#include "win_nt.h"
#include "win_paths.h"
#include "win_peb.h"
#include "win_process.h"
#include "win_regions.h"
#include "win_suspender.h"
#include "win_system.h"
#include "win_texts.h"
#include "win_threads.h"
#include "win_unloaded.h"

typedef struct mdc_win_live {
    mdc_source source;
    mdc_win_live_options options;
    mdc_dump_control *control;
    mdc_win_nt nt;
    mdc_win_process process;
    mdc_win_paths paths;
    mdc_win_names names;
    mdc_vec regions;  /* mdc_region */
    mdc_vec threads;  /* mdc_thread */
    mdc_vec modules;  /* mdc_module */
    mdc_vec sections; /* mdc_section */
    mdc_vec blocks;   /* mdc_span */
    mdc_vec copies;   /* mdc_copy */
    mdc_vec unloaded; /* mdc_unloaded */
    mdc_vec handles;  /* mdc_handle */
    uint64_t types;   /* MDC_TYPE_*, as in mdc_snapshot */
    mdc_system system;
    mdc_snapshot lists;
    mdc_win_suspender *suspender;
    uint64_t peb;
} mdc_win_live;

static mdc_win_live *live_of(mdc_source *source) { return (mdc_win_live *)source; } /* source is its first member */

/* Every error that leaves here carries the pid. */
static mdc_status leave(const mdc_win_live *live, mdc_status status, mdc_error *err) {
    if (status != MDC_OK && err->pid == 0) err->pid = live->source.pid;
    return status;
}

static mdc_status live_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    mdc_win_live *live = live_of(source);
    if (live->suspender != NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "prepared twice");
    live->control = control;
    mdc_win_open how = {
        .pid = live->options.pid, .process = live->options.process, .start_time = live->options.start_time};
    if ((live->options.types & MDC_TYPE_WITH_HANDLE_DATA) != 0) how.access = PROCESS_DUP_HANDLE;
    mdc_status status = mdc_win_process_open(&live->process, &how, err);
    if (status == MDC_ERR_ACCESS && how.access != 0) { /* then handles have neither types nor names */
        mdc_error_clear(err);
        how.access = 0;
        status = mdc_win_process_open(&live->process, &how, err);
    }
    if (status != MDC_OK) return leave(live, status, err);
    source->pid = live->process.pid;
    source->handle =
        live->options.shown_handle != 0 ? (void *)(intptr_t)live->options.shown_handle : live->process.handle;
    live->nt = mdc_win_nt_load();
    mdc_win_paths_init(&live->paths);
    status = mdc_win_names_init(&live->names, err);
    if (status == MDC_OK) {
        live->suspender = mdc_win_suspender_new(&live->process, live->options.stop_timeout_ns,
                                                live->options.max_stop_ns, live->control, err);
        if (live->suspender == NULL) status = err->code;
    }
    return leave(live, status, err);
}

/* The one that has lived longest is the main thread. */
static void main_first(mdc_vec *threads) {
    mdc_thread *all = threads->data;
    size_t oldest = 0;
    for (size_t i = 1; i < threads->count; i++)
        if (all[i].create_time != 0 && all[i].create_time < all[oldest].create_time) oldest = i;
    if (oldest == 0) return;
    mdc_thread first = all[oldest];
    memmove(all + 1, all, oldest * sizeof *all);
    all[0] = first;
}

static mdc_status list_threads(mdc_win_live *live, mdc_error *err) {
    size_t count;
    const mdc_win_held *held = mdc_win_suspender_threads(live->suspender, &count);
    uint32_t priority_class = GetPriorityClass(live->process.handle);
    mdc_status status = mdc_vec_reserve(&live->threads, count, err);
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        mdc_thread thread = {.tid = held[i].tid,
                             .flags = held[i].flags,
                             .stack_pointer = held[i].context->stack_pointer,
                             .instruction_pointer = held[i].context->instruction_pointer,
                             .context = held[i].context->bytes,
                             .context_size = sizeof held[i].context->bytes,
                             .priority_class = priority_class,
                             .suspend_count = held[i].suspend_count,
                             .handle = held[i].handle};
        if (held[i].handle != NULL)
            status = mdc_win_thread_describe(&thread, held[i].handle, &live->nt, &live->names, err);
        if (status == MDC_OK) status = mdc_vec_push(&live->threads, &thread, 1, NULL, err);
        uint64_t base = mdc_win_thread_stack_base(live->process.handle, thread.thread_pointer);
        if (base != 0) mdc_win_regions_mark(&live->regions, base - 1, MDC_KIND_STACK);
    }
    if (status == MDC_OK) main_first(&live->threads);
    return status;
}

static mdc_status mark_heaps(mdc_win_live *live, mdc_error *err) {
    mdc_vec heaps;
    mdc_vec_init(&heaps, sizeof(uint64_t));
    mdc_status status = mdc_win_peb_heaps(&heaps, live->process.handle, live->peb, err);
    for (size_t i = 0; status == MDC_OK && i < heaps.count; i++)
        mdc_win_regions_mark(&live->regions, mdc_vec_at(&heaps, const uint64_t, i), MDC_KIND_HEAP);
    mdc_vec_fini(&heaps);
    return status;
}

/* The loader's list begins with the main executable; what the target wrote into it need not. */
static void executable_first(mdc_win_live *live) {
    uint64_t base = mdc_win_peb_image(live->process.handle, live->peb);
    mdc_module *all = live->modules.data;
    for (size_t i = 1; base != 0 && i < live->modules.count; i++) {
        if (all[i].base != base) continue;
        mdc_module first = all[i];
        memmove(all + 1, all, i * sizeof *all);
        all[0] = first;
        mdc_section *sections = live->sections.data; /* with their modules' new places */
        for (size_t k = 0; k < live->sections.count; k++)
            sections[k].module = sections[k].module == i ? 0 : sections[k].module + (sections[k].module < i);
        return;
    }
}

/* What bits of the dump type ask for; live->types has those that are available. */
static mdc_status gather_types(mdc_win_live *live, mdc_error *err) {
    void *process = live->process.handle;
    uint64_t wanted = live->options.types;
    live->types = MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS;
    if ((wanted & MDC_TYPE_WITH_PROCESS_THREAD_DATA) != 0 && live->peb != 0) {
        live->types |= MDC_TYPE_WITH_PROCESS_THREAD_DATA;
        if (mdc_win_peb_blocks(&live->blocks, process, live->peb, err) != MDC_OK) return err->code;
    }
    if ((wanted & MDC_TYPE_WITH_UNLOADED_MODULES) != 0 &&
        mdc_win_unloaded_list(&live->unloaded, process, &live->names, err))
        live->types |= MDC_TYPE_WITH_UNLOADED_MODULES;
    if (err->code == MDC_OK && (wanted & MDC_TYPE_WITH_HANDLE_DATA) != 0 &&
        mdc_win_handles_list(&live->handles, process, live->process.pid, &live->names, err))
        live->types |= MDC_TYPE_WITH_HANDLE_DATA;
    return err->code;
}

/* Everything that is to be of one moment. */
static mdc_status capture_lists(mdc_win_live *live, mdc_error *err) {
    void *process = live->process.handle;
    mdc_status status = mdc_win_regions_list(&live->regions, process, &live->names, &live->paths, err);
    if (status == MDC_OK && live->regions.count == 0)
        status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_CAPTURE, 0, "the memory map of the target is not available");
    live->peb = mdc_win_peb_address(&live->nt, process);
    bool sections = (live->options.types & (MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS)) != 0;
    if (status == MDC_OK)
        status = mdc_win_modules_list(&live->modules, sections ? &live->sections : NULL, process, live->peb,
                                      &live->regions, &live->names, err);
    if (status == MDC_OK) status = mark_heaps(live, err);
    if (status == MDC_OK) status = list_threads(live, err);
    if (status == MDC_OK) status = mdc_win_texts_find(&live->copies, process, live->peb, sizeof(void *), err);
    if (status == MDC_OK) status = gather_types(live, err);
    executable_first(live);
    mdc_win_system_read(&live->system, process, &live->nt);
    mdc_win_misc_read(&live->system.misc, process, &live->nt);
    return status == MDC_OK ? mdc_win_misc_build(&live->system.misc, &live->modules, &live->names, err) : status;
}

static void publish(mdc_win_live *live) {
    live->lists = (mdc_snapshot){.regions = live->regions.data,
                                 .region_count = live->regions.count,
                                 .threads = live->threads.data,
                                 .thread_count = live->threads.count,
                                 .modules = live->modules.data,
                                 .module_count = live->modules.count,
                                 .names = live->names.names.data,
                                 .name_count = live->names.names.count,
                                 .pool = live->names.pool.data,
                                 .pool_size = live->names.pool.count,
                                 .system = &live->system,
                                 .types = live->types,
                                 .sections = live->sections.data,
                                 .section_count = live->sections.count,
                                 .copies = live->copies.data,
                                 .copy_count = live->copies.count,
                                 .blocks = live->blocks.data,
                                 .block_count = live->blocks.count,
                                 .unloaded = live->unloaded.data,
                                 .unloaded_count = live->unloaded.count,
                                 .handles = live->handles.data,
                                 .handle_count = live->handles.count,
                                 .warnings = MDC_WARN_NO_RESIDENCY};
}

/* Why a step during the stop failed, where the reason may be that the target was resumed or killed meanwhile. */
static mdc_status explain(mdc_win_live *live, mdc_status status, mdc_error *err) {
    mdc_error cause;
    mdc_error_clear(&cause);
    if (status != MDC_OK && !mdc_win_process_runs(&live->process))
        mdc_control_abort(live->control, MDC_ABORT_TARGET_GONE);
    if (mdc_control_check(live->control, &cause) == MDC_OK) return status;
    *err = cause;
    return cause.code;
}

static mdc_status live_stop(mdc_source *source, mdc_error *err) {
    mdc_win_live *live = live_of(source);
    if (live->suspender == NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "stop before prepare");
    mdc_status status = mdc_win_process_check(&live->process, MDC_PHASE_STOP, err);
    if (status == MDC_OK) status = mdc_win_suspender_stop(live->suspender, err);
    if (status != MDC_OK) return leave(live, status, err);
    status = capture_lists(live, err);
    status = explain(live, status, err);
    if (status == MDC_OK) {
        publish(live);
        return MDC_OK;
    }
    mdc_error ignored;
    uint64_t stop_time_ns;
    mdc_error_clear(&ignored);
    mdc_win_suspender_resume(live->suspender, &stop_time_ns, &ignored);
    return leave(live, status, err);
}

static const mdc_snapshot *live_lists(const mdc_source *source) { return &((const mdc_win_live *)source)->lists; }

/* Which pages were never touched could be asked of a process's working set, but only page by page, and a page that is
 * not in it may well be in the page file: so all that is committed counts as data. */
static size_t live_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    const mdc_win_live *live = live_of(source);
    *next = end;
    if (room == 0 || first >= end || region >= live->lists.region_count) return 0;
    bool closed = (live->lists.regions[region].flags & MDC_REGION_NEVER_READ) != 0;
    runs[0] = (mdc_content){first, end, closed ? MDC_CONTENT_UNAVAILABLE : MDC_CONTENT_DATA, 0};
    return 1;
}

static mdc_status live_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    mdc_win_live *live = live_of(source);
    uint32_t error = 0;
    *done = 0;
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_READ, -1, 0);
    mdc_control_name(live->control, "", 0);
    for (size_t i = 0; i < span_count && error == 0; i++) {
        (void)mdc_control_begin(live->control, MDC_DOING_READ, -1, spans[i].address);
        *done +=
            mdc_win_memory_read(live->process.handle, spans[i].address, buffer + *done, (size_t)spans[i].size, &error);
        mdc_control_step(live->control);
    }
    mdc_control_end(live->control, before);
    *os_errno = (int32_t)error;
    bool ended = atomic_load(&live->control->stop_ended) != 0; /* then it may be gone, and this read does not count */
    if (!ended && error != 0 && !mdc_win_process_runs(&live->process))
        mdc_control_abort(live->control, MDC_ABORT_TARGET_GONE);
    /* The watchdog sets the reason before it resumes the first thread: without one, what was read is of the stop. */
    return leave(live, mdc_control_check(live->control, err), err);
}

static mdc_status live_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    mdc_win_live *live = live_of(source);
    *stop_time_ns = 0;
    if (live->suspender == NULL) return MDC_OK;
    return leave(live, mdc_win_suspender_resume(live->suspender, stop_time_ns, err), err);
}

static void live_free(mdc_source *source) {
    mdc_win_live *live = live_of(source);
    mdc_win_suspender_free(live->suspender);
    mdc_win_process_close(&live->process);
    mdc_win_names_fini(&live->names);
    mdc_vec_fini(&live->regions);
    mdc_vec_fini(&live->threads);
    mdc_vec_fini(&live->modules);
    mdc_vec_fini(&live->sections);
    mdc_vec_fini(&live->blocks);
    mdc_vec_fini(&live->copies);
    mdc_vec_fini(&live->unloaded);
    mdc_vec_fini(&live->handles);
    mdc_dealloc(live);
}

static uint64_t live_footprint(mdc_source *source) { return mdc_win_process_memory(&live_of(source)->process); }

mdc_source *mdc_win_live_new(const mdc_win_live_options *options, mdc_error *err) {
    static const mdc_source_ops ops = {live_prepare, live_stop, live_lists, live_content,  live_read,
                                       live_resume,  live_free, NULL,       live_footprint};
    mdc_win_live *live = mdc_alloc(1, sizeof *live, err);
    if (live == NULL) return NULL;
    mdc_source_init(&live->source, &ops, options->pid);
    live->options = *options;
    mdc_vec_init(&live->regions, sizeof(mdc_region));
    mdc_vec_init(&live->threads, sizeof(mdc_thread));
    mdc_vec_init(&live->modules, sizeof(mdc_module));
    mdc_vec_init(&live->sections, sizeof(mdc_section));
    mdc_vec_init(&live->blocks, sizeof(mdc_span));
    mdc_vec_init(&live->copies, sizeof(mdc_copy));
    mdc_vec_init(&live->unloaded, sizeof(mdc_unloaded));
    mdc_vec_init(&live->handles, sizeof(mdc_handle));
    return &live->source;
}
