/* ThreadList, the contexts of its threads, and where their stacks are. */
#include <string.h>

#include "../../base/fail.h"
#include "../file_ranges.h"
#include "stream.h"

enum { BREAKPAD_THREADS = 4096 }; /* more, and Breakpad drops the list */

/* Contexts that declare no content, for threads whose registers are left out: readers require a context of full
 * size. ContextFlags are at offset 48 in AMD64's and at 0 in x86's. */
static const uint8_t no_context_amd64[1232] = {[50] = MDC_FILE_CONTEXT_AMD64 >> 16};
static const uint8_t no_context_x86[716] = {[2] = MDC_FILE_CONTEXT_X86 >> 16};

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    /* Elsewhere Teb stays 0: a debugger engine takes the first word of a glibc thread block for the address of a 32-bit
     * TEB, and truncates the registers to 32 bits. */
    bool has_tebs = capture->lists->system->platform == MDC_PLATFORM_WINDOWS;
    for (size_t i = 0; i < capture->lists->thread_count; i++) place->count += capture->threads[i].write != 0;
    if (place->count > BREAKPAD_THREADS) layout->warnings |= MDC_WARN_MANY_THREADS;
    if (place->count == 0) layout->warnings |= MDC_WARN_NO_THREADS;
    uint32_t count = place->count != 0 ? (uint32_t)place->count : 1;
    size_t entry_at;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_THREAD_LIST, &count, sizeof count, count, sizeof(mdc_file_thread),
                         &entry_at, err) != MDC_OK)
        return err->code;
    place->offset = entry_at;
    mdc_file_thread placeholder = {.thread_id = MDC_FILE_NO_THREAD};
    if (place->count == 0) mdc_layout_set(layout, entry_at, &placeholder, sizeof placeholder);
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        if (capture->threads[i].write == 0) continue;
        mdc_file_thread entry = {.thread_id = thread->tid,
                                 .suspend_count = thread->suspend_count,
                                 .priority_class = thread->priority_class,
                                 .priority = thread->priority,
                                 .teb = has_tebs ? thread->thread_pointer : 0};
        mdc_layout_set(layout, entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return MDC_OK;
}

/* A context that holds nothing. */
static mdc_part no_context(const mdc_layout *layout) {
    uint16_t architecture = layout->capture->lists->system->architecture;
    bool amd64 = architecture == MDC_FILE_ARCH_AMD64, x86 = architecture == MDC_FILE_ARCH_X86;
    return (mdc_part){.offset = layout->end,
                      .size = amd64 ? sizeof no_context_amd64
                              : x86 ? sizeof no_context_x86
                                    : 0,
                      .data = x86 ? no_context_x86 : no_context_amd64};
}

/* The context of the entry at entry_at; a new part, or one that is there already. */
static mdc_status put_context(mdc_layout *layout, const mdc_part *part, uint64_t entry_at, mdc_error *err) {
    uint64_t part_end = part->offset + part->size;
    if (part_end >= layout->engine->options.limit32)
        return mdc_fail(err, MDC_ERR_FORMAT, MDC_PHASE_PLAN, 0,
                        "the registers of the threads exceed the 32-bit offsets of a minidump");
    mdc_file_location location = {(uint32_t)part->size, part->size != 0 ? (uint32_t)part->offset : 0};
    mdc_layout_set(layout, entry_at + offsetof(mdc_file_thread, context), &location, sizeof location);
    if (part->offset != layout->end || part->size == 0) return MDC_OK;
    if (mdc_vec_push(&layout->parts, part, 1, NULL, err) != MDC_OK) return err->code;
    layout->end = (part_end + 15) & ~UINT64_C(15);
    return MDC_OK;
}

static mdc_status place_contexts(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    mdc_part none = {0}; /* one for all threads that have none */
    uint64_t entry_at = place->offset;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        uint32_t write = capture->threads[i].write;
        if (write == 0) continue;
        mdc_part part = {.offset = layout->end,
                         .size = capture->lists->threads[i].context_size,
                         .data = mdc_sanitized_context(&layout->sanitized, i)};
        if ((write & MDC_THREAD_WRITE_CONTEXT) == 0) part = none = none.size != 0 ? none : no_context(layout);
        if (put_context(layout, &part, entry_at, err) != MDC_OK) return err->code;
        entry_at += sizeof(mdc_file_thread);
    }
    if (place->count != 0) return MDC_OK;
    none = no_context(layout);
    return put_context(layout, &none, entry_at, err);
}

static void put_stacks(mdc_layout *layout, mdc_place *place) {
    uint64_t entry_at = place->offset;
    for (size_t i = 0; i < layout->capture->lists->thread_count; i++) {
        if (layout->capture->threads[i].write == 0) continue;
        mdc_file_range range;
        mdc_file_memory stack = {0, {0, 0}};
        if (mdc_ranges_of_thread(layout, i, &range))
            stack = (mdc_file_memory){range.address, {(uint32_t)range.size, (uint32_t)range.offset}};
        mdc_layout_set(layout, entry_at + offsetof(mdc_file_thread, stack), &stack, sizeof stack);
        entry_at += sizeof(mdc_file_thread);
    }
}

const mdc_stream mdc_stream_thread_list = {
    .type = MDC_STREAM_TYPE_THREAD_LIST, .build = build_stream, .place = place_contexts, .count = put_stacks};
