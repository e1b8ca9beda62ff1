/* The memory that bits of the dump type add to a Normal dump.
 *
 * How much, follows dbghelp 6.3.9600 where that is known: of modules whole sections, a TEB of 0x2000 bytes, and around
 * the target of a word 0x400 bytes, 0x100 of them before it. */
#include "../base/arith.h"
#include "../base/capped_set.h"
#include "../base/protection.h"
#include "../format/minidump_file.h"
#include "plan.h"
#include "stack_pointers.h"

enum {
    TEB_BYTES = 0x2000, /* of 64-bit Windows; that of 32-bit takes half of it */
    REGIONS_PER_CHECK = 64
};

static bool writable(const mdc_region *region) { return (region->protect & MDC_PAGE_ANY_WRITE) != 0; }

static bool executable(const mdc_region *region) { return (region->protect & MDC_PAGE_ANY_EXECUTE) != 0; }

static bool shared(const mdc_capture *capture, size_t region) {
    return (capture->regions[region].flags & MDC_REGION_SHARED) != 0 || (capture->kinds[region] & MDC_KIND_SHARED) != 0;
}

static mdc_status push(mdc_vec *ranges, uint64_t first, uint64_t end, mdc_error *err) {
    mdc_set_range range = {first, end};
    return mdc_vec_push(ranges, &range, 1, NULL, err);
}

/* What of [first, first + size) is mapped. */
static mdc_status add_mapped(const mdc_capture *capture, mdc_vec *ranges, uint64_t first, uint64_t size,
                             mdc_error *err) {
    uint64_t end;
    if (!mdc_add_u64(first, size, &end)) end = UINT64_MAX;
    for (int64_t found; first < end && (found = mdc_regions_find(capture, first)) != MDC_NO_REGION;) {
        const mdc_region *region = &capture->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        if (push(ranges, first, stop, err) != MDC_OK) return err->code;
        first = stop;
    }
    return MDC_OK;
}

/* -- modules ------------------------------------------------------------------------------------------------------- */

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

/* The mappings of an ELF image stand for its segments: what it can write (.data, and .bss, which is plain memory), what
 * it can execute, and its first page, where its headers are. */
static mdc_status add_segments(const mdc_capture *capture, mdc_vec *ranges, size_t number, mdc_error *err) {
    const mdc_module *module = &capture->lists->modules[number];
    const uint32_t write = capture->modules[number].write;
    const bool headers = write != 0 && (capture->type & MDC_TYPE_WITH_MODULE_HEADERS) != 0;
    uint64_t end;
    if (!mdc_add_u64(module->base, module->size, &end)) end = UINT64_MAX;
    if (headers && add_mapped(capture, ranges, module->base, MDC_PAGE_SIZE, err) != MDC_OK) return err->code;
    for (uint64_t at = module->base; at < end;) {
        int64_t found = mdc_regions_find(capture, at);
        if (found == MDC_NO_REGION) break;
        const mdc_region *region = &capture->regions[found];
        uint64_t stop = mdc_min_u64(end, region->base + region->size);
        bool data = (write & MDC_MODULE_WRITE_DATA_SEG) != 0 && writable(region) && !shared(capture, (size_t)found);
        bool code = (write & MDC_MODULE_WRITE_CODE_SEGS) != 0 && executable(region);
        if ((data || code) && push(ranges, at, stop, err) != MDC_OK) return err->code;
        at = stop;
    }
    return MDC_OK;
}

static mdc_status add_modules(const mdc_capture *capture, mdc_vec *ranges, mdc_error *err) {
    const uint64_t bits = MDC_TYPE_WITH_DATA_SEGS | MDC_TYPE_WITH_CODE_SEGS | MDC_TYPE_WITH_MODULE_HEADERS;
    if ((capture->type & bits) == 0) return MDC_OK;
    if (capture->lists->system->platform == MDC_PLATFORM_WINDOWS) return add_sections(capture, ranges, err);
    for (size_t i = 0; i < capture->lists->module_count; i++)
        if (mdc_calls_poll(&capture->engine->calls, err) != MDC_OK || add_segments(capture, ranges, i, err) != MDC_OK)
            return err->code;
    return MDC_OK;
}

/* -- mappings ------------------------------------------------------------------------------------------------------ */

/* The pages of a private mapping of a file that the process has a copy of. */
static mdc_status add_modified(const mdc_capture *capture, mdc_vec *ranges, size_t number, mdc_error *err) {
    const mdc_engine *engine = capture->engine;
    const mdc_region *region = &capture->regions[number];
    uint64_t first = region->base, end = region->base + mdc_min_u64(region->size, mdc_page_up(region->valid_size));
    while (first < end) {
        mdc_content runs[64];
        uint64_t next = end;
        size_t count =
            engine->source->ops->content(engine->source, number, first, end, runs, sizeof runs / sizeof runs[0], &next);
        for (size_t i = 0; i < count && i < sizeof runs / sizeof runs[0]; i++) {
            uint64_t from = mdc_max_u64(runs[i].first, first), to = mdc_min_u64(runs[i].end, end);
            if (runs[i].what == MDC_CONTENT_DATA && from < to && push(ranges, from, to, err) != MDC_OK)
                return err->code;
        }
        if (next <= first) break; /* a hostile source */
        first = next;
    }
    return MDC_OK;
}

static mdc_status add_mappings(const mdc_capture *capture, mdc_vec *ranges, mdc_error *err) {
    const bool private = (capture->type & MDC_TYPE_WITH_PRIVATE_READ_WRITE_MEMORY) != 0;
    const bool modified = (capture->type & MDC_TYPE_WITH_PRIVATE_WRITE_COPY_MEMORY) != 0 && !capture->queried;
    for (size_t i = 0; (private || modified) && i < capture->region_count; i++) {
        const mdc_region *region = &capture->regions[i];
        if (i % REGIONS_PER_CHECK == 0 && mdc_calls_poll(&capture->engine->calls, err) != MDC_OK) return err->code;
        if (mdc_regions_closed(capture, i) || shared(capture, i)) continue;
        if (private && region->type == MDC_MEM_PRIVATE && writable(region) &&
            push(ranges, region->base, mdc_region_end(region), err) != MDC_OK)
            return err->code;
        if (modified && (region->flags & MDC_REGION_FILE) != 0 && add_modified(capture, ranges, i, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

/* -- what a Windows process has besides --------------------------------------------------------------------------- */

/* PEB and what it leads to, and the TEBs, in which debuggers look for the rest. */
static mdc_status add_process_data(const mdc_capture *capture, mdc_vec *ranges, mdc_error *err) {
    if ((capture->type & MDC_TYPE_WITH_PROCESS_THREAD_DATA) == 0) return MDC_OK;
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

/* -- what threads point to ---------------------------------------------------------------------------------------- */

typedef struct referenced {
    const mdc_capture *capture;
    mdc_capped_set set;
} referenced;

/* What lies around the address, in its region; nothing of images that cannot be written: readers have their files. */
static mdc_status add_referenced(void *context, uint64_t address, bool *enough, mdc_error *err) {
    referenced *self = context;
    const mdc_capture *capture = self->capture;
    int64_t found = mdc_regions_find(capture, address);
    if (found == MDC_NO_REGION || mdc_regions_closed(capture, (size_t)found)) return MDC_OK;
    const mdc_region *region = &capture->regions[found];
    if (region->type == MDC_MEM_IMAGE && !writable(region)) return MDC_OK;
    uint64_t offset = address - region->base, left = region->size - offset;
    mdc_set_range range = {address - mdc_min_u64(offset, MDC_POINTED_BEFORE),
                           address + mdc_min_u64(left, MDC_POINTED_AFTER)};
    mdc_status status = mdc_capped_set_add(&self->set, range, err);
    *enough = self->set.full;
    return status;
}

static mdc_status add_all_referenced(const mdc_reader *reader, mdc_vec *ranges, uint32_t *warnings, mdc_error *err) {
    if ((reader->capture->type & MDC_TYPE_WITH_INDIRECTLY_REFERENCED_MEMORY) == 0) return MDC_OK;
    referenced self = {.capture = reader->capture};
    mdc_capped_set_init(&self.set, reader->capture->engine->options.referenced_max);
    mdc_status status = mdc_pointers_walk(reader, MDC_POINTERS_AS_KEPT, add_referenced, &self, err);
    if (status == MDC_OK) status = mdc_capped_set_finish(&self.set, err);
    if (self.set.full) *warnings |= MDC_WARN_REFERENCED;
    const mdc_vec *found = &self.set.ranges;
    if (status == MDC_OK) status = mdc_vec_push(ranges, found->data, found->count, NULL, err);
    mdc_capped_set_fini(&self.set);
    return status;
}

mdc_status mdc_type_memory(const mdc_reader *reader, mdc_vec *ranges, uint32_t *warnings, mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    if (add_modules(capture, ranges, err) != MDC_OK || add_mappings(capture, ranges, err) != MDC_OK ||
        add_process_data(capture, ranges, err) != MDC_OK)
        return err->code;
    return add_all_referenced(reader, ranges, warnings, err);
}
