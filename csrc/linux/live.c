/* The live Linux process as a source (see live.h). */
#include "live.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/shortage.h"
#include "../source/arguments.h"
#include "../source/sigframe.h"
#include "corefilter.h"
#include "ending.h"
#include "filepages.h"
#include "handles.h"
#include "identity.h"
#include "mappings.h"
#include "memory.h"
#include "process.h"
#include "residency.h"
#include "threadinfo.h"
#include "tracer.h"
#include "view.h"

/* The longest time a second read of smaps may take for a small dump: in general, and where the memory of a
 * thread would be left out without it. */
static const uint64_t again_any_ns = 1000000;
static const uint64_t again_needed_ns = 50000000;
/* Between two looks at a target that another process traces; a short dump takes as long. */
static const uint64_t busy_pause_ns = 5000000;
/* How long the one of two that dump each other tries again which may. */
static const uint64_t mutual_ns = 5000000000;

typedef struct mdc_live {
    mdc_source source;
    mdc_live_options options;
    mdc_dump_control *control;
    mdc_identity identity;
    mdc_mappings mappings;
    mdc_residency residency;
    mdc_backing backing;
    mdc_memory memory;
    bool memory_open;
    mdc_proc_files texts;
    mdc_vec infos;   /* mdc_threadinfo, from before the stop */
    mdc_vec threads; /* mdc_thread */
    mdc_vec modules; /* mdc_module */
    mdc_vec copies;  /* mdc_copy */
    mdc_vec in_file; /* mdc_content: pages that only files of modules have, if requested */
    mdc_vec handles; /* mdc_handle: open descriptors, if requested */
    bool handles_known;
    mdc_system system;
    mdc_snapshot lists;
    mdc_tracer *tracer;
    uint64_t busy_until; /* 0: nothing else has traced the target yet */
    uint64_t probe;      /* an address in a stack of the target: shows whether its memory is still there */
} mdc_live;

static mdc_live *live_of(mdc_source *source) { return (mdc_live *)source; } /* source is its first member */

/* Every error that leaves here carries the pid. */
static mdc_status leave(const mdc_live *live, mdc_status status, mdc_error *err) {
    status = mdc_ending_explain(&live->identity, status, err);
    if (status != MDC_OK && err->pid == 0) err->pid = live->source.pid;
    return status;
}

/* Whether the memory that was opened before the stop is still that of a process. /proc/PID/mem reads as empty when the
 * address space is gone (mem_rw in fs/proc/base.c); an address that cannot be read is an error instead. */
static bool memory_there(const mdc_live *live) {
    uint8_t byte;
    return live->probe == 0 || pread(live->memory.mem, &byte, 1, (off_t)(live->probe & INT64_MAX)) != 0;
}

/* A tracer stops its target once. */
static mdc_status new_tracer(mdc_live *live, mdc_error *err) {
    mdc_tracer_free(live->tracer);
    live->tracer = mdc_tracer_new(&live->options, live->identity.pid, live->identity.pidfd, live->identity.directory,
                                  live->control, err);
    return live->tracer != NULL ? MDC_OK : err->code;
}

/* Whether to try again, after a pause, what failed because another process traces the target. */
static bool try_again(mdc_live *live, mdc_status *status, mdc_error *err) {
    uint64_t limit = live->options.busy_timeout_ns;
    if (live->tracer != NULL && mdc_tracer_goes_first(live->tracer)) limit = mdc_max_u64(limit, mutual_ns);
    if (*status != MDC_ERR_TARGET_BUSY || limit == 0) return false;
    uint64_t now = mdc_clock_ns();
    if (live->busy_until == 0 && !mdc_add_u64(now, limit, &live->busy_until)) live->busy_until = UINT64_MAX;
    if (now >= live->busy_until) return false;
    uint64_t pause = mdc_min_u64(busy_pause_ns, live->busy_until - now);
    nanosleep(&(struct timespec){0, (long)pause}, NULL);
    mdc_error_clear(err);
    *status = mdc_control_check(live->control, err);
    return *status == MDC_OK;
}

static mdc_status live_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    mdc_live *live = live_of(source);
    if (live->tracer != NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "prepared twice");
    live->control = live->mappings.control = live->residency.control = control;
    mdc_status status;
    do status = mdc_identity_open(&live->identity, &live->options, err);
    while (try_again(live, &status, err));
    if (status != MDC_OK) return leave(live, status, err);
    source->pid = live->identity.pid;
    source->handle = (void *)(intptr_t)live->identity.pidfd;
    live->probe = live->identity.stat.start_stack;

    status = mdc_memory_open(&live->memory, live->identity.task, live->identity.tid, err);
    live->memory_open = status == MDC_OK;
    if (status == MDC_OK) status = mdc_threadinfo_list(&live->infos, live->identity.directory, err);
    if (status == MDC_OK && live->options.coredump_filter != 0)
        status = mdc_corefilter_read(live->identity.directory, &live->mappings.core_filter, err);
    if (status == MDC_OK) {
        mdc_error smaps;
        mdc_error_clear(&smaps);
        status = mdc_mappings_prepare(&live->mappings, live->identity.task, &smaps);
        if (status != MDC_OK && live->options.dontdump == MDC_DONTDUMP_IGNORE && !mdc_is_shortage(smaps.code))
            status = MDC_OK; /* then the do-not-dump marks are not needed */
        if (status != MDC_OK && err->code == MDC_OK) *err = smaps;
    }
    if (status == MDC_OK) status = new_tracer(live, err);
    return leave(live, status, err);
}

/* What it has in memory and in swap. Cheap: the kernel keeps the sums. */
static uint64_t live_footprint(mdc_source *source) {
    static const char *const names[] = {"\nVmRSS:", "\nVmSwap:", "\nHugetlbPages:"};
    uint64_t bytes = MDC_PAGE_SIZE;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        mdc_error ignored; /* it is an estimate */
        mdc_error_clear(&ignored);
        long kilobytes = 0;
        if (mdc_process_status_number(live_of(source)->identity.task, names[i], &kilobytes, &ignored) == MDC_OK &&
            kilobytes > 0)
            bytes += (uint64_t)kilobytes * 1024;
    }
    return bytes;
}

/* Is it the program that was prepared? */
static mdc_status check_same(mdc_live *live, mdc_error *err) {
    mdc_process_stat now;
    mdc_status status = mdc_identity_check(&live->identity, MDC_PHASE_STOP, err);
    if (status == MDC_OK) status = mdc_process_read_stat(live->identity.task, &now, err);
    if (status != MDC_OK) return status;
    bool other_stack = live->identity.stat.start_stack != 0 && now.start_stack != live->identity.stat.start_stack;
    live->identity.stat = now;
    if (now.state == 'Z' || now.state == 'X')
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_STOP, ESRCH, "process %d has ended",
                        (int)live->identity.pid);
    if (other_stack || !memory_there(live))
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_STOP, 0,
                        "process %d has become another program (exec) while it was being dumped: dump it again",
                        (int)live->identity.pid);
    return MDC_OK;
}

static void mark_stack(mdc_live *live, uint64_t address) {
    int64_t region = mdc_mappings_find(&live->mappings, address);
    if (region >= 0) mdc_vec_at(&live->mappings.regions, mdc_region, region).kinds |= MDC_KIND_STACK;
}

/* Of a thread that did not stop, as far as /proc shows them. */
static bool where(const mdc_live *live, const mdc_held *held, uint64_t *stack_pointer, uint64_t *instruction_pointer) {
    return (held->flags & MDC_THREAD_NO_REGISTERS) != 0 &&
           mdc_threadinfo_where(live->identity.directory, (int32_t)held->tid, stack_pointer, instruction_pointer);
}

static size_t content_of(const void *context, const mdc_region *region, uint64_t first, uint64_t end, mdc_content *runs,
                         size_t room, uint64_t *next) {
    return mdc_residency_content(context, region, first, end, runs, room, next);
}

static mdc_status list_threads(mdc_live *live, mdc_error *err) {
    size_t count;
    const mdc_held *held = mdc_tracer_threads(live->tracer, &count);
    uint32_t context_size = mdc_tracer_layout(live->tracer)->context_size;
    mdc_sigframes frames;
    mdc_status status = mdc_vec_reserve(&live->threads, count, err);
    mdc_live_view view = {&live->mappings, &live->memory, live->identity.task};
    const mdc_target_view target = mdc_live_view_of(&view);
    if (status == MDC_OK) status = mdc_sigframes_init(&frames, &target, content_of, &live->residency, err);
    if (status != MDC_OK) return status;
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        mdc_control_advance(live->control);
        mdc_thread thread = {.tid = held[i].tid,
                             .flags = held[i].flags,
                             .stack_pointer = held[i].summary.stack_pointer,
                             .instruction_pointer = held[i].summary.instruction_pointer,
                             .thread_pointer = held[i].summary.thread_pointer,
                             .context = held[i].context,
                             .context_size = context_size};
        if (thread.stack_pointer == 0 && where(live, &held[i], &thread.stack_pointer, &thread.instruction_pointer)) {
            const mdc_registers_summary known = {.stack_pointer = thread.stack_pointer,
                                                 .instruction_pointer = thread.instruction_pointer};
            mdc_registers_where(held[i].context, &known);
        }
        /* Thread-local storage is at the top of a stack that a library made. */
        uint64_t own_stack = (int32_t)thread.tid == live->identity.pid ? 0 : thread.thread_pointer;
        status = mdc_sigframes_find(&frames, own_stack, &thread, err);
        if (status == MDC_OK)
            status = mdc_threadinfo_fill(&live->infos, live->identity.directory, &live->mappings, &thread, err);
        if (status == MDC_OK) status = mdc_vec_push(&live->threads, &thread, 1, NULL, err);
        if (thread.stack_pointer != 0) mark_stack(live, thread.stack_pointer);
        for (uint32_t k = 0; k < thread.interrupted_count; k++) mark_stack(live, thread.interrupted[k]);
    }
    mdc_sigframes_fini(&frames);
    return status;
}

/* Where a dump of little will read: the threads' stacks and instructions, and the main stack, which holds environment
 * and arguments. A thread pointer is at the top of the stack that a library made, which a signal handler may have
 * interrupted. */
static mdc_status wanted_addresses(const mdc_live *live, mdc_vec *addresses, mdc_error *err) {
    size_t count;
    const mdc_held *held = mdc_tracer_threads(live->tracer, &count);
    mdc_status status = mdc_vec_reserve(addresses, 3 * count + 1, err);
    if (status == MDC_OK) status = mdc_vec_push(addresses, &live->probe, 1, NULL, err);
    for (size_t i = 0; status == MDC_OK && i < count; i++) {
        const mdc_registers_summary *summary = &held[i].summary;
        uint64_t all[3] = {summary->stack_pointer, summary->instruction_pointer, summary->thread_pointer};
        (void)where(live, &held[i], &all[0], &all[1]);
        status = mdc_vec_push(addresses, all, 3, NULL, err);
    }
    return status;
}

static mdc_status list_mappings(mdc_live *live, mdc_error *err) {
    const uint32_t dontdump = live->options.dontdump;
    if (!live->options.little) return mdc_mappings_list(&live->mappings, live->identity.task, dontdump, NULL, err);
    mdc_vec addresses;
    mdc_vec_init(&addresses, sizeof(uint64_t));
    mdc_status status = wanted_addresses(live, &addresses, err);
    mdc_again again = {again_any_ns, again_needed_ns, addresses.data, addresses.count};
    if (status == MDC_OK) status = mdc_mappings_list(&live->mappings, live->identity.task, dontdump, &again, err);
    mdc_vec_fini(&addresses);
    return status;
}

/* Everything that is to be of one moment. */
static mdc_status capture_lists(mdc_live *live, mdc_error *err) {
    int task = live->identity.task;
    mdc_status status = check_same(live, err);
    if (status == MDC_OK) status = list_mappings(live, err);
    mdc_region *regions = live->mappings.regions.data;
    size_t count = live->mappings.regions.count;
    if (status == MDC_OK && live->options.little)
        status = mdc_residency_begin(&live->residency, task, regions, count, err);
    else if (status == MDC_OK)
        status = mdc_residency_scan(&live->residency, task, regions, count, err);
    if (status == MDC_OK) status = mdc_system_read(&live->system, &live->mappings, &live->identity.stat, err);
    if (status == MDC_OK) status = mdc_backing_begin(&live->backing, task, &live->mappings, &live->residency, err);
    if (status == MDC_OK) live->memory.backing = &live->backing;
    const mdc_process_stat *stat = &live->identity.stat;
    if (status == MDC_OK) status = mdc_proc_files_read(&live->texts, task, stat, err);
    mdc_live_view view = {&live->mappings, &live->memory, task};
    const mdc_target_view target = mdc_live_view_of(&view);
    const mdc_start start = {.stack = stat->start_stack,
                             .arg_start = stat->arg_start,
                             .arg_end = stat->arg_end,
                             .env_start = stat->env_start,
                             .env_end = stat->env_end,
                             .random = live->texts.random,
                             .platform = live->texts.platform,
                             .execfn = live->texts.execfn};
    if (status == MDC_OK) status = mdc_arguments_find(&live->copies, &live->texts.texts, &start, &target, err);
    live->backing.wide = live->texts.phent == sizeof(Elf64_Phdr);
    if (status == MDC_OK) status = mdc_live_modules_find(&live->modules, &view, live->texts.phdr, err);
    if (status == MDC_OK) mdc_corefilter_heads(&live->mappings);
    if (status == MDC_OK && live->options.in_file != 0)
        status = mdc_filepages_find(&live->in_file, task, &live->mappings, &live->modules, err);
    if (status == MDC_OK) status = list_threads(live, err);
    if (status == MDC_OK && live->options.handles != 0) {
        live->handles_known = mdc_handles_list(&live->handles, task, &live->mappings, err);
        status = err->code;
    }
    return status;
}

static void publish(mdc_live *live) {
    const mdc_registers_layout *layout = mdc_tracer_layout(live->tracer);
    live->system.xstate_mask = layout->xstate_mask;
    live->system.xstate_size = layout->xstate_size;
    mdc_registers_xstate(layout, live->system.xstate_features);
    live->lists = (mdc_snapshot){.regions = live->mappings.regions.data,
                                 .region_count = live->mappings.regions.count,
                                 .threads = live->threads.data,
                                 .thread_count = live->threads.count,
                                 .modules = live->modules.data,
                                 .module_count = live->modules.count,
                                 .texts = live->texts.texts.data,
                                 .text_count = live->texts.texts.count,
                                 .copies = live->copies.data,
                                 .copy_count = live->copies.count,
                                 .names = live->mappings.names.data,
                                 .name_count = live->mappings.names.count,
                                 .pool = live->mappings.pool.data,
                                 .pool_size = live->mappings.pool.count,
                                 .system = &live->system,
                                 .types = layout->xstate_mask != 0 ? MDC_TYPE_WITH_AVX_XSTATE_CONTEXT : 0,
                                 .handles = live->handles.data,
                                 .handle_count = live->handles.count,
                                 .auxv_phdr = live->texts.phdr,
                                 .auxv_phnum = live->texts.phnum,
                                 .warnings = live->residency.known ? 0 : MDC_WARN_NO_RESIDENCY};
    if (live->handles_known) live->lists.types |= MDC_TYPE_WITH_HANDLE_DATA;
}

/* Why a step during the stop failed, where the reason may be that the target was resumed or killed meanwhile. */
static mdc_status explain(mdc_live *live, mdc_status status, mdc_error *err) {
    mdc_error cause;
    mdc_error_clear(&cause);
    if (status != MDC_ERR_TARGET_GONE && status != MDC_OK && !memory_there(live))
        mdc_control_abort(live->control, MDC_ABORT_TARGET_GONE);
    if (mdc_control_check(live->control, &cause) == MDC_OK) return status;
    *err = cause;
    return cause.code;
}

static bool all_stopped(const mdc_live *live) {
    size_t count, without = 0;
    const mdc_held *held = mdc_tracer_threads(live->tracer, &count);
    for (size_t i = 0; i < count; i++) without += (held[i].flags & MDC_THREAD_NO_REGISTERS) != 0;
    return without == 0;
}

static mdc_status live_stop(mdc_source *source, mdc_error *err) {
    mdc_live *live = live_of(source);
    if (live->tracer == NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "stop before prepare");
    mdc_status status;
    bool again = false;
    do {
        status = mdc_identity_check(&live->identity, MDC_PHASE_STOP, err);
        if (status == MDC_OK) status = mdc_ending_check_core(&live->identity, MDC_PHASE_STOP, err);
        if (status == MDC_OK && again) status = new_tracer(live, err);
        if (status == MDC_OK) status = mdc_tracer_stop(live->tracer, err);
        again = try_again(live, &status, err);
    } while (again);
    if (status != MDC_OK) return leave(live, status, err);
    if (!all_stopped(live)) status = mdc_ending_check_core(&live->identity, MDC_PHASE_STOP, err);
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_LIST, -1, 0);
    if (status == MDC_OK) status = capture_lists(live, err);
    mdc_control_end(live->control, before);
    status = explain(live, status, err);
    if (status == MDC_OK) {
        publish(live);
        return MDC_OK;
    }
    mdc_error ignored;
    uint64_t stop_time_ns;
    mdc_error_clear(&ignored);
    mdc_tracer_resume(live->tracer, &stop_time_ns, &ignored);
    return leave(live, status, err);
}

static const mdc_snapshot *live_lists(const mdc_source *source) { return &((const mdc_live *)source)->lists; }

static size_t live_content(mdc_source *source, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    mdc_live *live = live_of(source);
    if (region >= live->lists.region_count) {
        *next = end;
        return 0;
    }
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_LIST, -1, 0);
    size_t count = 0;
    if (live->in_file.count == 0) {
        count = mdc_backing_content(&live->backing, region, first, end, runs, room, next);
    } else {
        for (*next = first; count < room && *next < end; count++) {
            if (mdc_backing_content(&live->backing, region, *next, end, &runs[count], 1, next) == 0) break;
            mdc_filepages_cut(&live->in_file, &runs[count]);
            *next = runs[count].end;
        }
    }
    mdc_control_end(live->control, before);
    mdc_control_advance(live->control);
    return count;
}

static const mdc_region *region_at(const mdc_live *live, uint64_t address) {
    int64_t found = mdc_mappings_find(&live->mappings, address);
    return found < 0 ? NULL : &mdc_vec_at(&live->mappings.regions, const mdc_region, found);
}

static bool of_file(const mdc_region *region) {
    return region != NULL && (region->flags & (uint32_t)MDC_REGION_FILE) != 0;
}

static void show_name(mdc_live *live, const mdc_region *region) {
    const mdc_name none = {0, 0};
    const mdc_name *name = region == NULL || region->name_id == 0 ? &none : &live->lists.names[region->name_id - 1];
    mdc_control_name(live->control, (const uint8_t *)live->lists.pool + name->offset, name->size);
}

/* How many of the spans are read at once, and their size: those of one mapped file, which alone hangs where its file
 * system does, or those of no file. */
static size_t begin_read(mdc_live *live, const mdc_span *spans, size_t count, size_t *bytes) {
    const mdc_region *first = region_at(live, spans[0].address), *region = first;
    size_t size = 0;
    do {
        *bytes += (size_t)spans[size].size;
        if (++size == count) break;
        uint64_t next = spans[size].address;
        if (region == NULL || next < region->base || next - region->base >= region->size)
            region = region_at(live, next);
    } while (region == first || (!of_file(first) && !of_file(region)));
    show_name(live, first);
    (void)mdc_control_begin(live->control, MDC_DOING_READ, -1, spans[0].address);
    return size;
}

static mdc_status live_read(mdc_source *source, const mdc_span *spans, size_t span_count, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    mdc_live *live = live_of(source);
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_READ, -1, 0);
    mdc_status status = MDC_OK;
    *done = 0;
    *os_errno = 0;
    for (size_t at = 0, size; status == MDC_OK && at < span_count; at += size) {
        size_t wanted = 0, got = 0;
        size = begin_read(live, spans + at, span_count - at, &wanted);
        status = mdc_memory_read(&live->memory, &live->mappings, spans + at, size, buffer + *done, &got, os_errno, err);
        if (got > 0) mdc_control_step(live->control);
        *done += got;
        if (got < wanted) break;
    }
    mdc_control_end(live->control, before);
    if (status == MDC_ERR_TARGET_GONE || (*os_errno != 0 && !memory_there(live)))
        mdc_control_abort(live->control, MDC_ABORT_TARGET_GONE);
    /* The tracer sets the reason before it resumes the first thread: without one, what was read is of the stop. */
    if (status == MDC_OK) status = mdc_control_check(live->control, err);
    return leave(live, status, err);
}

static uint64_t live_late_end(mdc_source *source, size_t region) {
    mdc_live *live = live_of(source);
    if (region >= live->lists.region_count) return 0;
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_OPEN, -1, live->lists.regions[region].base);
    uint64_t end = mdc_backing_late_end(&live->backing, region);
    mdc_control_end(live->control, before);
    return end;
}

/* Files only: it does not matter whether the target still exists. */
static void live_late_read(mdc_source *source, size_t region, uint64_t address, size_t size, uint8_t *buffer,
                           size_t *done, int32_t *os_errno) {
    mdc_live *live = live_of(source);
    show_name(live, &live->lists.regions[region]);
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_READ, -1, address);
    *done = mdc_latefiles_read(&live->backing.late, &live->lists.regions[region], address, size, buffer, os_errno);
    if (*done > 0) mdc_control_step(live->control);
    mdc_control_end(live->control, before);
}

static int32_t live_late_check(mdc_source *source, size_t region) {
    mdc_live *live = live_of(source);
    return mdc_latefiles_check(&live->backing.late, &live->lists.regions[region]);
}

static mdc_status live_resume(mdc_source *source, uint64_t *stop_time_ns, mdc_error *err) {
    mdc_live *live = live_of(source);
    *stop_time_ns = 0;
    if (live->tracer == NULL) return MDC_OK;
    return leave(live, mdc_tracer_resume(live->tracer, stop_time_ns, err), err);
}

static void live_free(mdc_source *source) {
    mdc_live *live = live_of(source);
    mdc_tracer_free(live->tracer);
    if (live->memory_open) mdc_memory_close(&live->memory);
    mdc_identity_close(&live->identity);
    mdc_proc_files_fini(&live->texts);
    mdc_backing_fini(&live->backing);
    mdc_residency_fini(&live->residency);
    mdc_mappings_fini(&live->mappings);
    mdc_vec_fini(&live->infos);
    mdc_vec_fini(&live->threads);
    mdc_vec_fini(&live->modules);
    mdc_vec_fini(&live->copies);
    mdc_vec_fini(&live->in_file);
    mdc_vec_fini(&live->handles);
    mdc_dealloc(live);
}

mdc_source *mdc_live_new(const mdc_live_options *options, mdc_error *err) {
    static const mdc_late_ops late = {live_late_end, live_late_read, live_late_check};
    static const mdc_source_ops ops = {live_prepare, live_stop, live_lists, live_content,  live_read,
                                       live_resume,  live_free, &late,      live_footprint};
    mdc_live *live = mdc_alloc(1, sizeof *live, err);
    if (live == NULL) return NULL;
    mdc_source_init(&live->source, &ops, options->pid);
    live->options = *options;
    live->identity.pidfd = live->identity.directory = live->identity.task = -1;
    mdc_mappings_init(&live->mappings);
    mdc_residency_init(&live->residency);
    mdc_backing_init(&live->backing);
    mdc_proc_files_init(&live->texts);
    mdc_vec_init(&live->infos, sizeof(mdc_threadinfo));
    mdc_vec_init(&live->threads, sizeof(mdc_thread));
    mdc_vec_init(&live->modules, sizeof(mdc_module));
    mdc_vec_init(&live->copies, sizeof(mdc_copy));
    mdc_vec_init(&live->in_file, sizeof(mdc_content));
    mdc_vec_init(&live->handles, sizeof(mdc_handle));
    return &live->source;
}
