/* ThreadList with its contexts, ThreadNames, ThreadInfoList, thread pointers. */
#include <string.h>

#include "../../base/fail.h"
#include "../../format/mdc_streams.h"
#include "../dump_state.h"

/* Contexts that declare no content, for threads whose registers are left out: readers require a context of full
 * size. ContextFlags are at offset 48 in AMD64's and at 0 in x86's. */
static const uint8_t no_context_amd64[1232] = {[50] = MDC_FILE_CONTEXT_AMD64 >> 16};
static const uint8_t no_context_x86[716] = {[2] = MDC_FILE_CONTEXT_X86 >> 16};

static uint32_t write_flags(const mdc_dump *dump, size_t thread) {
    return mdc_vec_at(&dump->thread_plans, const mdc_thread_plan, thread).write;
}

/* Whether Teb is one. Elsewhere it stays 0: a debugger engine takes the first word of a glibc thread block for the
 * address of a 32-bit TEB, and cuts the registers to 32 bits. */
static bool has_tebs(const mdc_dump *dump) { return dump->lists->system->platform == MDC_PLATFORM_WINDOWS; }

static mdc_status put_list(mdc_dump *dump, mdc_error *err) {
    uint32_t count = 0;
    size_t at;
    for (size_t i = 0; i < dump->thread_plans.count; i++) count += write_flags(dump, i) != 0;
    bool none = count == 0;
    if (none) {
        count = 1;
        dump->warnings |= MDC_WARN_NO_THREADS;
    }
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &count, sizeof count, &at, err) != MDC_OK)
        return err->code;
    dump->thread_list_offset = at;
    if (count > MDC_BREAKPAD_THREADS) dump->warnings |= MDC_WARN_MANY_THREADS;
    mdc_file_thread placeholder = {.thread_id = MDC_FILE_NO_THREAD};
    if (none && mdc_layout_put(dump, &placeholder, sizeof placeholder, NULL, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        if (write_flags(dump, i) == 0) continue;
        mdc_file_thread entry = {.thread_id = thread->tid,
                                 .suspend_count = thread->suspend_count,
                                 .priority_class = thread->priority_class,
                                 .priority = thread->priority,
                                 .teb = has_tebs(dump) ? thread->thread_pointer : 0};
        if (mdc_layout_put(dump, &entry, sizeof entry, NULL, err) != MDC_OK) return err->code;
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_THREAD_LIST, at, 4 + 48 * (uint64_t)count, NULL, err);
}

static mdc_status put_names(mdc_dump *dump, mdc_error *err) {
    uint32_t count = 0;
    size_t at, entry_at;
    for (size_t i = 0; i < dump->thread_plans.count; i++)
        count += write_flags(dump, i) != 0 && dump->lists->threads[i].name.size != 0;
    if (count == 0) return MDC_OK;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &count, sizeof count, &at, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, count * sizeof(mdc_file_thread_name), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        if (write_flags(dump, i) == 0 || thread->name.size == 0) continue;
        uint32_t rva;
        if (mdc_layout_string(dump, mdc_dump_name(dump, thread->name), thread->name.size, &rva, err) != MDC_OK)
            return err->code;
        mdc_file_thread_name entry = {thread->tid, rva};
        memcpy((uint8_t *)dump->small.data + entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_THREAD_NAMES, at, 4 + 12 * (uint64_t)count, NULL, err);
}

static mdc_status put_infos(mdc_dump *dump, mdc_error *err) {
    mdc_file_thread_info_list header = {sizeof header, sizeof(mdc_file_thread_info), 0};
    size_t at;
    for (size_t i = 0; i < dump->thread_plans.count; i++)
        header.entry_count += (write_flags(dump, i) & MDC_THREAD_WRITE_THREAD_INFO) != 0;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &header, sizeof header, &at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        if ((write_flags(dump, i) & MDC_THREAD_WRITE_THREAD_INFO) == 0) continue;
        bool no_registers = (thread->flags & MDC_THREAD_NO_REGISTERS) != 0;
        mdc_file_thread_info info = {.thread_id = thread->tid,
                                     .dump_flags = no_registers ? MDC_THREAD_INFO_INVALID_CONTEXT : 0,
                                     .create_time = thread->create_time,
                                     .kernel_time = thread->kernel_time,
                                     .user_time = thread->user_time,
                                     .start_address = thread->start_address,
                                     .affinity = thread->affinity};
        if (mdc_layout_put(dump, &info, sizeof info, NULL, err) != MDC_OK) return err->code;
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_THREAD_INFO_LIST, at, 12 + 64 * (uint64_t)header.entry_count, NULL,
                             err);
}

static mdc_status put_pointers(mdc_dump *dump, mdc_error *err) {
    mdc_thread_pointer_stream header = {MDC_THREAD_POINTER_STREAM_VERSION, sizeof header, sizeof(mdc_thread_pointer),
                                        0};
    size_t at;
    for (size_t i = 0; i < dump->thread_plans.count; i++)
        header.count += write_flags(dump, i) != 0 && dump->lists->threads[i].thread_pointer != 0;
    if (header.count == 0) return MDC_OK;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &header, sizeof header, &at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        const mdc_thread *thread = &dump->lists->threads[i];
        if (write_flags(dump, i) == 0 || thread->thread_pointer == 0) continue;
        mdc_thread_pointer entry = {.thread_id = thread->tid, .pointer = thread->thread_pointer};
        if (mdc_layout_put(dump, &entry, sizeof entry, NULL, err) != MDC_OK) return err->code;
    }
    uint64_t size = sizeof header + header.count * (uint64_t)sizeof(mdc_thread_pointer);
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_THREAD_POINTERS, at, size, NULL, err);
}

mdc_status mdc_streams_threads(mdc_dump *dump, mdc_error *err) {
    uint32_t omit = dump->options.omit_streams;
    if (put_list(dump, err) != MDC_OK || (!has_tebs(dump) && put_pointers(dump, err) != MDC_OK)) return err->code;
    if ((omit & MDC_STREAM_THREAD_NAMES) == 0 && put_names(dump, err) != MDC_OK) return err->code;
    bool infos = (dump->type & MDC_TYPE_WITH_THREAD_INFO) != 0 && (omit & MDC_STREAM_THREAD_INFO) == 0;
    return infos ? put_infos(dump, err) : MDC_OK;
}

/* A context that holds nothing. */
static mdc_part no_context(const mdc_dump *dump) {
    uint16_t architecture = dump->lists->system->architecture;
    bool amd64 = architecture == MDC_FILE_ARCH_AMD64, x86 = architecture == MDC_FILE_ARCH_X86;
    return (mdc_part){.offset = dump->end,
                      .size = amd64 ? sizeof no_context_amd64
                              : x86 ? sizeof no_context_x86
                                    : 0,
                      .data = x86 ? no_context_x86 : no_context_amd64};
}

/* The context of the entry at entry_at; a new part, or one that is there already. */
static mdc_status put_context(mdc_dump *dump, const mdc_part *part, size_t entry_at, mdc_error *err) {
    uint64_t part_end = part->offset + part->size;
    if (part_end >= dump->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "the registers of the threads exceed the 32-bit offsets of a minidump");
    mdc_file_location location = {(uint32_t)part->size, part->size != 0 ? (uint32_t)part->offset : 0};
    memcpy((uint8_t *)dump->small.data + entry_at + offsetof(mdc_file_thread, context), &location, sizeof location);
    if (part->offset != dump->end || part->size == 0) return MDC_OK;
    if (mdc_vec_push(&dump->parts, part, 1, NULL, err) != MDC_OK) return err->code;
    dump->end = (part_end + 15) & ~UINT64_C(15);
    return MDC_OK;
}

mdc_status mdc_streams_contexts(mdc_dump *dump, mdc_error *err) {
    mdc_part none = {0}; /* one for all threads that have none */
    size_t entry_at = (size_t)dump->thread_list_offset + 4;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        uint32_t write = write_flags(dump, i);
        if (write == 0) continue;
        const mdc_thread *thread = &dump->lists->threads[i];
        mdc_part part = {.offset = dump->end, .size = thread->context_size, .data = mdc_sanitized_context(dump, i)};
        if ((write & MDC_THREAD_WRITE_CONTEXT) == 0) part = none = none.size != 0 ? none : no_context(dump);
        if (put_context(dump, &part, entry_at, err) != MDC_OK) return err->code;
        entry_at += sizeof(mdc_file_thread);
    }
    if ((dump->warnings & MDC_WARN_NO_THREADS) == 0) return MDC_OK;
    none = no_context(dump);
    return put_context(dump, &none, entry_at, err);
}

/* The range of the stack that holds the stack pointer, or the first one of the part. */
static bool find_stack(const mdc_dump *dump, size_t thread, mdc_file_range *range) {
    const mdc_thread_plan *plan = &mdc_vec_at(&dump->thread_plans, const mdc_thread_plan, thread);
    if ((plan->write & MDC_THREAD_WRITE_STACK) == 0 || plan->stack.end <= plan->stack.first) return false;
    return mdc_ranges_find_stack(dump, dump->lists->threads[thread].stack_pointer, range) ||
           mdc_ranges_find_stack(dump, plan->stack.first, range);
}

void mdc_streams_thread_stacks(mdc_dump *dump) {
    size_t entry_at = (size_t)dump->thread_list_offset + 4;
    for (size_t i = 0; i < dump->thread_plans.count; i++) {
        mdc_report_thread *report = &mdc_vec_at(&dump->report_threads, mdc_report_thread, i);
        report->stack_base = report->stack_size = 0;
        report->flags |= MDC_THREAD_NO_STACK;
        if (write_flags(dump, i) == 0) continue;
        mdc_file_range range;
        mdc_file_memory stack = {0, {0, 0}};
        if (find_stack(dump, i, &range)) {
            stack = (mdc_file_memory){range.address, {(uint32_t)range.size, (uint32_t)range.offset}};
            report->stack_base = range.address;
            report->stack_size = range.size;
            report->flags &= ~(uint32_t)MDC_THREAD_NO_STACK;
        }
        memcpy((uint8_t *)dump->small.data + entry_at + offsetof(mdc_file_thread, stack), &stack, sizeof stack);
        entry_at += sizeof(mdc_file_thread);
    }
}
