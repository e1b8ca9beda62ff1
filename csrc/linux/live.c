/* The live Linux process as a source (see live.h). */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/arith.h"
#include "../base/clock.h"
#include "../base/fail.h"
#include "../base/shortage.h"
#include "access.h"
#include "corefilter.h"
#include "ending.h"
#include "filepages.h"
#include "live_state.h"
#include "proc_maps.h"
#include "threadinfo.h"

/* Between two looks at a target that another process traces; a short dump takes as long. */
static const uint64_t busy_pause_ns = 5000000;
/* How long the one of two that dump each other tries again which may. */
static const uint64_t mutual_ns = 5000000000;

static mdc_live *live_of(mdc_source *source) { return (mdc_live *)source; } /* source is its first member */

/* Every error that leaves here carries the pid. */
static mdc_status leave(const mdc_live *live, mdc_status status, mdc_error *err) {
    if (live->child_directory < 0) {
        status = mdc_ending_explain(&live->identity, status, err);
    } else if (status == MDC_ERR_TARGET_GONE) {
        const int32_t phase = err->phase;
        mdc_error_clear(err);
        status =
            mdc_fail(err, MDC_ERR_TARGET_GONE, phase, 0,
                     "the snapshot of process %d was killed, perhaps for lack of memory: dump it again, or without "
                     "a snapshot",
                     (int)live->identity.pid);
    }
    if (status != MDC_OK && err->pid == 0) err->pid = live->source.pid;
    return status;
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

/* Whether to try again, at most *rounds times, what failed although the process is there. */
static bool outlived(const mdc_live *live, mdc_status *status, mdc_error *err, int *rounds) {
    if (*rounds == 0 || !mdc_identity_outlives(&live->identity, *status)) return false;
    mdc_error_clear(err);
    *status = MDC_OK;
    --*rounds;
    return true;
}

/* What is prepared of a program. */
static void init_program(mdc_live *live) {
    mdc_fork_plan_init(&live->plan);
    mdc_mappings_init(&live->mappings);
    mdc_proc_files_init(&live->texts);
    mdc_vec_init(&live->infos, sizeof(mdc_threadinfo));
}

static void fini_program(mdc_live *live) {
    mdc_fork_plan_fini(&live->plan);
    mdc_mappings_fini(&live->mappings);
    mdc_proc_files_fini(&live->texts);
    mdc_vec_fini(&live->infos);
}

/* What need not be of the moment of the stop. */
static mdc_status prepare_lists(mdc_live *live, mdc_error *err) {
    int task = live->identity.task;
    mdc_error smaps;
    mdc_error_clear(&smaps);
    /* A dump of much looks at smaps under the stop anyway. A snapshot has to be planned by it. */
    live->mappings.defer_ns = live->options.snapshot != 0 ? 0
                              : live->options.little != 0 ? MDC_LIVE_AGAIN_ANY_NS
                                                          : UINT64_MAX;
    live->mappings.resident_pages = live->identity.stat.resident_pages;
    /* Of little memory all can be read the harmless way, and only the marks are wanted of smaps. */
    live->mappings.without_smaps =
        live->options.little != 0 && live->options.snapshot == 0 && live->options.dontdump == MDC_DONTDUMP_IGNORE;
    live->mappings.few_files = live->options.little != 0 && live->options.snapshot == 0 && !live->options.in_file;
    mdc_status begun = mdc_mappings_begin(&live->mappings, task, &smaps); /* a thread of its own reads on */
    mdc_status status = mdc_threadinfo_list(&live->infos, live->identity.directory, live->options.times != 0, err);
    if (status == MDC_OK) status = mdc_proc_files_prepare(&live->texts, task, err);
    begun = mdc_mappings_begun(&live->mappings, begun, &smaps);
    if (status == MDC_OK)
        status = mdc_system_read(&live->system, &live->mappings, live->texts.early.data, live->texts.cpuinfo_size, err);
    if (begun != MDC_OK && live->options.dontdump == MDC_DONTDUMP_IGNORE && !mdc_is_shortage(smaps.code))
        begun = MDC_OK; /* then the do-not-dump marks are not needed */
    if (status != MDC_OK || begun == MDC_OK) return status;
    *err = smaps;
    return begun;
}

/* All that is known of the program before the tracer stops it. */
static mdc_status prepare_program(mdc_live *live, mdc_error *err) {
    live->probe = live->identity.stat.start_stack;
    live->mappings.control = live->residency.control = live->control;
    mdc_status status = mdc_memory_open(&live->memory, live->identity.task, live->identity.tid, err);
    live->memory_open = status == MDC_OK;
    if (status == MDC_OK && live->options.coredump_filter != 0)
        status = mdc_corefilter_read(live->identity.directory, &live->mappings.core_filter, err);
    if (status == MDC_OK) status = prepare_lists(live, err);
    if (status == MDC_OK && live->options.snapshot != 0)
        status = mdc_fork_plan_make(&live->plan, &live->mappings, live->identity.task, live->identity.directory,
                                    live->options.keep_max, err);
    if (status == MDC_OK && live->options.snapshot != 0 && live->plan.reason == MDC_STOP_REASON_NONE)
        live->child.maps = openat(live->identity.task, "maps", O_RDONLY | O_CLOEXEC);
    return status;
}

/* What was prepared is of a program that is gone, was seen in the middle of its exec, or by a thread that has ended. */
static mdc_status prepare_again(mdc_live *live, mdc_error *err) {
    if (live->memory_open) mdc_memory_close(&live->memory);
    live->memory_open = false;
    if (live->child.maps >= 0) close(live->child.maps);
    live->child.maps = -1;
    fini_program(live);
    init_program(live);
    mdc_status status =
        mdc_identity_renew(&live->identity, live->tracer == NULL ? MDC_PHASE_OPEN : MDC_PHASE_STOP, err);
    return status == MDC_OK ? prepare_program(live, err) : status;
}

static mdc_status live_prepare(mdc_source *source, mdc_dump_control *control, mdc_error *err) {
    mdc_live *live = live_of(source);
    if (live->tracer != NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "prepared twice");
    live->control = control;
    mdc_status status;
    int rounds = MDC_IDENTITY_AGAIN;
    do status = mdc_identity_open(&live->identity, &live->options, err);
    while (try_again(live, &status, err));
    if (status != MDC_OK) return leave(live, status, err);
    source->pid = live->identity.pid;
    source->handle = (void *)(intptr_t)live->identity.pidfd;
    status = prepare_program(live, err);
    while (outlived(live, &status, err, &rounds)) status = prepare_again(live, err);
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

/* From here on the memory is the child's. */
static mdc_status move_to_child(mdc_live *live, mdc_error *err) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", (int)live->child.pid);
    live->child_directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (live->child_directory < 0) return mdc_map_fail(err, errno, "the child", "open");
    mdc_memory_close(&live->memory);
    live->memory_open = false;
    mdc_status status = mdc_memory_open(&live->memory, live->child_directory, live->child.pid, err);
    live->memory_open = status == MDC_OK;
    live->memory.no_vm_readv = true; /* it would make copies of what both share */
    live->memory.kept = live->mappings.kept = &live->plan.kept;
    live->mappings.absent = &live->plan.absent;
    return status;
}

/* Makes a child of the stopped target if that was requested and is possible: the target runs again then. */
static mdc_status freeze(mdc_live *live, mdc_error *err) {
    mdc_fork_plan *plan = &live->plan;
    mdc_fork_child *child = &live->child;
    if (live->options.snapshot == 0) return MDC_OK;
    if (plan->reason == MDC_STOP_REASON_NONE &&
        mdc_fork_plan_again(plan, &live->mappings, live->identity.task, err) != MDC_OK)
        return err->code;
    if (plan->reason == MDC_STOP_REASON_NONE && !mdc_kept_copy(&plan->kept, live->identity.task, live->memory.mem)) {
        plan->reason = MDC_STOP_REASON_UNCOPIED;
    } else if (plan->reason == MDC_STOP_REASON_NONE) {
        child->gadgets = plan->gadgets;
        child->absent_pages = plan->absent_pages;
        if (mdc_tracer_freeze(live->tracer, child)) return move_to_child(live, err);
        plan->reason = child->reason != MDC_STOP_REASON_NONE ? child->reason : MDC_STOP_REASON_FAILED;
        plan->os_errno = child->os_errno;
    }
    return mdc_control_check(live->control, err);
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
                                 .types = MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY |
                                          (layout->xstate_mask != 0 ? MDC_TYPE_WITH_AVX_XSTATE_CONTEXT : 0),
                                 .handles = live->handles.data,
                                 .handle_count = live->handles.count,
                                 .auxv_phdr = live->texts.phdr,
                                 .auxv_phnum = live->texts.phnum,
                                 .warnings = live->residency.known ? 0 : MDC_WARN_NO_RESIDENCY,
                                 .frozen = live->child_directory >= 0,
                                 .stop_reason = live->plan.reason,
                                 .stop_errno = live->plan.os_errno};
    if (live->lists.frozen != 0 && live->plan.shared && !live->options.little)
        live->lists.warnings |= MDC_WARN_SHARED_LATER;
    if (live->handles_known) live->lists.types |= MDC_TYPE_WITH_HANDLE_DATA;
}

/* Why a step during the stop failed, where the reason may be that the target was resumed or killed meanwhile. */
static mdc_status explain(mdc_live *live, mdc_status status, mdc_error *err) {
    mdc_error cause;
    mdc_error_clear(&cause);
    if (status != MDC_ERR_TARGET_GONE && status != MDC_OK && !mdc_live_memory_there(live))
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

static void resume_all(mdc_live *live) {
    mdc_error ignored;
    uint64_t stop_time_ns;
    mdc_error_clear(&ignored);
    mdc_tracer_resume(live->tracer, &stop_time_ns, &ignored);
}

/* Stops it, and prepares it once more if it is not the program that was prepared. */
static mdc_status stop_program(mdc_live *live, mdc_error *err) {
    mdc_status status = mdc_tracer_stop(live->tracer, err);
    if (status != MDC_OK) return status;
    if (!all_stopped(live)) status = mdc_ending_check_core(&live->identity, MDC_PHASE_STOP, err);
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_LIST, -1, 0);
    bool same = true;
    if (status == MDC_OK) status = mdc_live_check_same(live, &same, err);
    /* Under the stop nothing changes any more, unless a thread could not be stopped. */
    if (status == MDC_OK && !same) status = prepare_again(live, err);
    mdc_control_end(live->control, before);
    status = explain(live, status, err);
    if (status != MDC_OK) resume_all(live);
    return status;
}

static mdc_status live_stop(mdc_source *source, mdc_error *err) {
    mdc_live *live = live_of(source);
    if (live->tracer == NULL) return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_STOP, 0, "stop before prepare");
    mdc_status status;
    bool again = false;
    int rounds = MDC_IDENTITY_AGAIN;
    do {
        status = mdc_identity_check(&live->identity, MDC_PHASE_STOP, err);
        if (status == MDC_OK) status = mdc_ending_check_core(&live->identity, MDC_PHASE_STOP, err);
        if (status == MDC_OK && again) status = new_tracer(live, err);
        if (status == MDC_OK) status = stop_program(live, err);
        again = outlived(live, &status, err, &rounds) || try_again(live, &status, err);
    } while (again);
    if (status != MDC_OK) return leave(live, status, err);
    mdc_doing_before before = mdc_control_begin(live->control, MDC_DOING_LIST, -1, 0);
    status = freeze(live, err);
    if (status == MDC_OK) status = mdc_live_capture(live, err);
    mdc_control_end(live->control, before);
    status = explain(live, status, err);
    if (status == MDC_OK) {
        publish(live);
        return MDC_OK;
    }
    resume_all(live);
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
    const mdc_region *it = &live->lists.regions[region];
    if (live->memory.kept != NULL && mdc_kept_has(live->memory.kept, it->base, it->base + it->size)) {
        const mdc_vec *kept = &live->memory.kept->runs;
        count = mdc_content_tell(kept->data, kept->count, MDC_CONTENT_UNTOUCHED, mdc_max_u64(first, it->base),
                                 mdc_min_u64(end, it->base + it->size), runs, room, next);
    } else if (live->in_file.count == 0) {
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
    bool ended = atomic_load(&live->control->stop_ended) != 0; /* then it may be gone, and this read does not count */
    if (!ended && (status == MDC_ERR_TARGET_GONE || (*os_errno != 0 && !mdc_live_memory_there(live))))
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
    mdc_status status = mdc_tracer_resume(live->tracer, stop_time_ns, err);
    if (live->child.zombie) live->lists.warnings |= MDC_WARN_ZOMBIE;
    return leave(live, status, err);
}

static void live_free(mdc_source *source) {
    mdc_live *live = live_of(source);
    mdc_tracer_free(live->tracer);
    if (live->memory_open) mdc_memory_close(&live->memory);
    mdc_identity_close(&live->identity);
    mdc_backing_fini(&live->backing);
    mdc_residency_fini(&live->residency);
    fini_program(live);
    mdc_vec_fini(&live->threads);
    mdc_vec_fini(&live->modules);
    mdc_vec_fini(&live->copies);
    mdc_vec_fini(&live->in_file);
    mdc_vec_fini(&live->handles);
    if (live->child.maps >= 0) close(live->child.maps);
    if (live->child_directory >= 0) close(live->child_directory);
    mdc_dealloc(live);
}

mdc_source *mdc_live_new(const mdc_live_options *options, mdc_error *err) {
    static const mdc_late_ops late = {live_late_end, live_late_read, live_late_check};
    static const mdc_source_ops ops = {live_prepare, live_stop, live_lists, live_content,  live_read,
                                       live_resume,  live_free, &late,      live_footprint};
    const char *processor = mdc_access_no_engine();
    if (processor != NULL) {
        mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                 "this build has no engine for %s processes: cores and minidumps can be filtered, and the callback "
                 "works with other engines",
                 processor);
        return NULL;
    }
    mdc_live *live = mdc_alloc(1, sizeof *live, err);
    if (live == NULL) return NULL;
    mdc_source_init(&live->source, &ops, options->pid);
    live->options = *options;
    live->identity.pidfd = live->identity.directory = live->identity.task = -1;
    live->child.maps = live->child_directory = -1;
    init_program(live);
    mdc_residency_init(&live->residency);
    mdc_backing_init(&live->backing);
    mdc_vec_init(&live->threads, sizeof(mdc_thread));
    mdc_vec_init(&live->modules, sizeof(mdc_module));
    mdc_vec_init(&live->copies, sizeof(mdc_copy));
    mdc_vec_init(&live->in_file, sizeof(mdc_content));
    mdc_vec_init(&live->handles, sizeof(mdc_handle));
    return &live->source;
}
