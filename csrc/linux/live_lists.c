/* The lists of a live source (see live_state.h). */
#include <elf.h>
#include <errno.h>
#include <unistd.h>

#include "../base/fail.h"
#include "../source/arguments.h"
#include "../source/sigframe.h"
#include "corefilter.h"
#include "filepages.h"
#include "handles.h"
#include "live_state.h"
#include "threadinfo.h"
#include "view.h"

/* The longest time a second read of smaps may take for a small dump where the memory of a thread would be left out
 * without it. */
static const uint64_t again_needed_ns = 50000000;

/* Where the memory is seen. */
static int space_of(const mdc_live *live) {
    return live->child_directory >= 0 ? live->child_directory : live->identity.task;
}

/* Whether the memory that was opened before the stop is still that of a process. /proc/PID/mem reads as empty when the
 * address space is gone (mem_rw in fs/proc/base.c); an address that cannot be read is an error instead. */
bool mdc_live_memory_there(const mdc_live *live) {
    uint8_t byte;
    return live->probe == 0 || pread(live->memory.mem, &byte, 1, (off_t)(live->probe & INT64_MAX)) != 0;
}

mdc_status mdc_live_check_same(mdc_live *live, bool *same, mdc_error *err) {
    const uint64_t start_stack = live->identity.stat.start_stack; /* 0: not shown, or in the middle of an exec */
    mdc_process_stat now;
    *same = true;
    mdc_status status = mdc_identity_check(&live->identity, MDC_PHASE_STOP, err);
    if (status == MDC_OK) status = mdc_process_read_stat(live->identity.directory, &now, err);
    if (status != MDC_OK) return status;
    if (live->identity.tid != live->identity.pid) { /* the leader was dead */
        mdc_error ended;
        mdc_error_clear(&ended);
        *same = now.ended && mdc_process_read_stat(live->identity.task, &now, &ended) == MDC_OK && !now.ended;
        if (!*same) return MDC_OK;
    }
    live->identity.stat = now;
    *same = !now.ended && now.start_stack == start_stack && mdc_live_memory_there(live);
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
    mdc_live_view view = {&live->mappings, &live->memory, space_of(live)};
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
            status = mdc_threadinfo_fill(&live->infos, live->identity.directory, live->options.times != 0,
                                         &live->mappings, &thread, err);
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
    /* A child can be looked at for any time. */
    if (!live->options.little || live->child_directory >= 0)
        return mdc_mappings_list(&live->mappings, space_of(live), dontdump, NULL, err);
    mdc_vec addresses;
    mdc_vec_init(&addresses, sizeof(uint64_t));
    mdc_status status = wanted_addresses(live, &addresses, err);
    mdc_again again = {MDC_LIVE_AGAIN_ANY_NS, again_needed_ns, addresses.data, addresses.count};
    if (status == MDC_OK) status = mdc_mappings_list(&live->mappings, live->identity.task, dontdump, &again, err);
    mdc_vec_fini(&addresses);
    return status;
}

/* Everything that is to be of one moment. */
mdc_status mdc_live_capture(mdc_live *live, mdc_error *err) {
    const int process = live->identity.task, task = space_of(live);
    mdc_status status = MDC_OK;
    if (status == MDC_OK) status = list_mappings(live, err);
    mdc_region *regions = live->mappings.regions.data;
    size_t count = live->mappings.regions.count;
    live->residency.exact = live->mappings.exact;
    if (status == MDC_OK && live->options.little)
        status = mdc_residency_begin(&live->residency, task, regions, count, err);
    else if (status == MDC_OK)
        status = mdc_residency_scan(&live->residency, task, regions, count, err);
    mdc_system_times(&live->system, &live->identity.stat);
    if (status == MDC_OK) status = mdc_backing_begin(&live->backing, task, &live->mappings, &live->residency, err);
    if (status == MDC_OK) live->memory.backing = &live->backing;
    live->texts.mem = live->backing.mem = live->memory.mem;
    const mdc_process_stat *stat = &live->identity.stat;
    if (status == MDC_OK) status = mdc_proc_files_read(&live->texts, process, task, stat, &live->mappings.text, err);
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
        live->handles_known = mdc_handles_list(&live->handles, process, &live->mappings, err);
        status = err->code;
        /* The process of a child runs: these may be another program's. */
        if (task != process && !mdc_process_same_program(process, stat)) {
            live->handles.count = 0;
            live->handles_known = false;
        }
    }
    return status;
}
