/* MemoryList, or in a full dump Memory64List: debugger engines refuse a dump that has both. */
#include "../file_ranges.h"
#include "stream.h"

enum { BREAKPAD_RANGES = 4096 }; /* more, and Breakpad drops the list */

static size_t header_size(const mdc_layout *layout) {
    return layout->memory64 ? sizeof(mdc_file_memory64_list) : sizeof(uint32_t);
}

static size_t entry_size(const mdc_layout *layout) {
    return layout->memory64 ? sizeof(mdc_file_memory64) : sizeof(mdc_file_memory);
}

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    uint32_t type = layout->memory64 ? MDC_STREAM_TYPE_MEMORY64_LIST : MDC_STREAM_TYPE_MEMORY_LIST;
    uint64_t slots = (uint64_t)layout->range_count + layout->spare;
    return mdc_layout_reserve(layout, place, type, header_size(layout) + slots * entry_size(layout), err);
}

static void count_entries(mdc_layout *layout, mdc_place *place) {
    place->count = mdc_ranges_count(layout);
    layout->directory[place->directory].data_size = (uint32_t)(header_size(layout) + entry_size(layout) * place->count);
    if (!layout->memory64 && layout->range_count > BREAKPAD_RANGES) layout->warnings |= MDC_WARN_MANY_RANGES;
}

static mdc_status write_32(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    uint32_t count = (uint32_t)place->count;
    if (mdc_out_put(out, &count, sizeof count, err) != MDC_OK) return err->code;
    mdc_sorted_walk walk = mdc_ranges_sorted(layout);
    mdc_file_range range;
    while (mdc_ranges_next_sorted(&walk, &range)) {
        mdc_file_memory entry = {range.address, {(uint32_t)range.size, (uint32_t)range.offset}};
        if (mdc_out_put(out, &entry, sizeof entry, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status write_64(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    mdc_file_memory64_list header = {place->count, layout->memory_offset};
    if (mdc_out_put(out, &header, sizeof header, err) != MDC_OK) return err->code;
    mdc_range_walk walk = mdc_ranges_begin(layout, 0, layout->plan->extents.count);
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) {
        mdc_file_memory64 entry = {range.address, range.size};
        if (mdc_out_put(out, &entry, sizeof entry, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status write_list(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    return layout->memory64 ? write_64(layout, place, out, err) : write_32(layout, place, out, err);
}

const mdc_stream mdc_stream_memory_list = {
    .type = MDC_STREAM_TYPE_MEMORY_LIST, .place = place_stream, .count = count_entries, .write = write_list};
