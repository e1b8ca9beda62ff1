/* What the bits of the dump type ask for: which of them are honoured, and the memory they add to a Normal dump.
 *
 * How much, follows dbghelp 6.3.9600: of modules whole sections, a TEB of 0x2000 bytes, and around the target of a
 * stack word 0x400 bytes, 0x100 of them before it. */
#include <string.h>

#include "../base/arith.h"
#include "../format/minidump_file.h"
#include "plan.h"

enum {
    TEB_BYTES = 0x2000, /* of 64-bit Windows; that of 32-bit takes half of it */
    REFERENCED_BEFORE = 0x100,
    REFERENCED_AFTER = 0x300,
    LOOK = 4096,         /* bytes of a stack examined at a time */
    RANGES_MAX = 1 << 16 /* before they are merged */
};

/* Honoured of every target. */
#define OWN                                                                                                            \
    (MDC_TYPE_WITH_FULL_MEMORY | MDC_TYPE_WITH_FULL_MEMORY_INFO | MDC_TYPE_WITH_THREAD_INFO |                          \
     MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY)
/* Memory that a full dump has anyway. */
#define MEMORY                                                                                                         \
    (MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY | MDC_TYPE_WITH_PROCESS_THREAD_DATA |        \
     MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY |     \
     MDC_TYPE_WITH_MODULE_HEADERS)

uint64_t mdc_type_honoured(const mdc_capture *capture) {
    if (capture->engine->held) return capture->lists->carried->flags;
    uint64_t honoured = capture->engine->options.dump_type & (OWN | capture->lists->types);
    return capture->engine->full ? honoured & ~(uint64_t)MEMORY : honoured;
}

uint64_t mdc_type_lost(const mdc_capture *capture) {
    if (capture->engine->held) return 0;
    uint64_t lost = capture->engine->options.dump_type & ~capture->type;
    return capture->engine->full ? lost & ~(uint64_t)MEMORY : lost;
}

/* What of [first, first + size) is mapped. */
static mdc_status add_mapped(const mdc_capture *capture, mdc_vec *ranges, uint64_t first, uint64_t size,
                             mdc_error *err) {
    uint64_t end;
    if (!mdc_add_u64(first, size, &end)) end = UINT64_MAX;
    for (int64_t found; first < end && (found = mdc_regions_find(capture, first)) != MDC_NO_REGION;) {
        const mdc_region *region = &capture->regions[found];
        mdc_set_range range = {first, mdc_min_u64(end, region->base + region->size)};
        if (mdc_vec_push(ranges, &range, 1, NULL, err) != MDC_OK) return err->code;
        first = range.end;
    }
    return MDC_OK;
}

static mdc_status add_sections(const mdc_capture *capture, mdc_vec *ranges, mdc_error *err) {
    for (size_t i = 0; i < capture->lists->section_count; i++) {
        const mdc_section *section = &capture->lists->sections[i];
        uint32_t wanted = section->what == MDC_SECTION_CODE ? MDC_MODULE_WRITE_CODE_SEGS : MDC_MODULE_WRITE_DATA_SEG;
        if ((capture->modules[section->module].write & wanted) != 0 &&
            add_mapped(capture, ranges, section->address, section->size, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* PEB and what it leads to, and the TEBs, in which debuggers look for the rest. */
static mdc_status add_process_data(const mdc_capture *capture, mdc_vec *ranges, mdc_error *err) {
    for (size_t i = 0; i < capture->lists->block_count; i++) {
        const mdc_span *block = &capture->lists->blocks[i];
        if (add_mapped(capture, ranges, block->address, block->size, err) != MDC_OK) return err->code;
    }
    uint64_t teb = capture->lists->system->architecture == MDC_FILE_ARCH_X86 ? TEB_BYTES / 2 : TEB_BYTES;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        uint32_t write = capture->threads[i].write;
        if ((write & MDC_THREAD_WRITE_THREAD_DATA) != 0 &&
            add_mapped(capture, ranges, capture->lists->threads[i].thread_pointer, teb, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* What lies around the address, in its region; nothing of images, which readers have as files. */
static mdc_status add_referenced(const mdc_capture *capture, mdc_vec *ranges, uint64_t address, mdc_error *err) {
    int64_t found = mdc_regions_find(capture, address);
    if (found == MDC_NO_REGION || mdc_regions_closed(capture, (size_t)found)) return MDC_OK;
    const mdc_region *region = &capture->regions[found];
    if (region->type == MDC_MEM_IMAGE) return MDC_OK;
    uint64_t offset = address - region->base, left = region->size - offset;
    mdc_set_range range = {address - mdc_min_u64(offset, REFERENCED_BEFORE),
                           address + mdc_min_u64(left, REFERENCED_AFTER)};
    if (ranges->count >= RANGES_MAX) mdc_range_set_normalise(ranges);
    return mdc_vec_push(ranges, &range, 1, NULL, err);
}

static mdc_status look_at_words(const mdc_reader *reader, mdc_vec *ranges, uint64_t first, uint64_t end, size_t word,
                                mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    uint8_t bytes[LOOK];
    while (first < end) {
        uint64_t stop = mdc_min_u64(end, first + LOOK);
        size_t done;
        bool kept;
        /* What the callee leaves out is not examined either. */
        if (mdc_calls_poll(&capture->engine->calls, err) != MDC_OK ||
            mdc_reader_kept(reader, first, stop, &kept, err) != MDC_OK)
            return err->code;
        if (kept) {
            if (mdc_reader_peek(reader, first, bytes, (size_t)(stop - first), &done, err) != MDC_OK) return err->code;
            for (size_t at = 0; at + word <= done; at += word) {
                uint64_t address = 0;
                memcpy(&address, bytes + at, word);
                if (add_referenced(capture, ranges, address, err) != MDC_OK) return err->code;
            }
        }
        first = stop;
    }
    return MDC_OK;
}

static mdc_status add_all_referenced(const mdc_reader *reader, mdc_vec *ranges, mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    size_t word = capture->lists->system->architecture == MDC_FILE_ARCH_X86 ? 4 : 8;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread_choice *thread = &capture->threads[i];
        if ((thread->write & MDC_THREAD_WRITE_STACK) == 0) continue;
        /* What lies below the stack pointer is left from calls that have returned. */
        uint64_t first =
            mdc_max_u64(thread->stack.first, capture->lists->threads[i].stack_pointer & ~(uint64_t)(word - 1));
        if (look_at_words(reader, ranges, first, thread->stack.end, word, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_type_memory(const mdc_reader *reader, mdc_vec *ranges, mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    if (add_sections(capture, ranges, err) != MDC_OK) return err->code;
    if ((capture->type & MDC_TYPE_WITH_PROCESS_THREAD_DATA) != 0 && add_process_data(capture, ranges, err) != MDC_OK)
        return err->code;
    if ((capture->type & MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY) != 0)
        return add_all_referenced(reader, ranges, err);
    return MDC_OK;
}
