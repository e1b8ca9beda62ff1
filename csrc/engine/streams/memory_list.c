/* MemoryList, or in a full dump Memory64List: debugger engines refuse a dump that has both. An existing one that has
 * both keeps both: then the first extents, which others have for stacks, are in MemoryList, and the rest in the other.
 */
#include "../file_ranges.h"
#include "stream.h"

enum { BREAKPAD_RANGES = 4096 }; /* more, and Breakpad drops the list */

static size_t first64(const mdc_layout *layout) { return layout->memory32 ? layout->plan->extents.stack_count : 0; }

static size_t count32(const mdc_layout *layout) {
    return layout->memory64 ? mdc_ranges_count(layout, 0, first64(layout))
                            : mdc_ranges_count(layout, 0, layout->plan->extents.count);
}

static size_t count64(const mdc_layout *layout) {
    return mdc_ranges_count(layout, first64(layout), layout->plan->extents.count);
}

static mdc_status place_32(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    if (!layout->memory32) return MDC_OK;
    uint64_t slots = (uint64_t)count32(layout) + layout->spare;
    uint64_t bytes = sizeof(uint32_t) + slots * sizeof(mdc_file_memory);
    return mdc_layout_reserve(layout, place, MDC_STREAM_TYPE_MEMORY_LIST, bytes, err);
}

static mdc_status place_64(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    if (!layout->memory64) return MDC_OK;
    uint64_t slots = (uint64_t)count64(layout) + layout->spare;
    uint64_t bytes = sizeof(mdc_file_memory64_list) + slots * sizeof(mdc_file_memory64);
    return mdc_layout_reserve(layout, place, MDC_STREAM_TYPE_MEMORY64_LIST, bytes, err);
}

static void count_32(mdc_layout *layout, mdc_place *place) {
    if (!layout->memory32) return;
    place->count = count32(layout);
    layout->directory[place->directory].data_size =
        (uint32_t)(sizeof(uint32_t) + sizeof(mdc_file_memory) * place->count);
    if (place->count > BREAKPAD_RANGES) layout->warnings |= MDC_WARN_MANY_RANGES;
}

static void count_64(mdc_layout *layout, mdc_place *place) {
    if (!layout->memory64) return;
    place->count = count64(layout);
    layout->directory[place->directory].data_size =
        (uint32_t)(sizeof(mdc_file_memory64_list) + sizeof(mdc_file_memory64) * place->count);
}

static mdc_status put_32(const mdc_file_range *range, mdc_out *out, mdc_error *err) {
    mdc_file_memory entry = {range->address, {(uint32_t)range->size, (uint32_t)range->offset}};
    return mdc_out_put(out, &entry, sizeof entry, err);
}

static mdc_status write_32(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    uint32_t count = (uint32_t)place->count;
    mdc_file_range range;
    if (!layout->memory32) return MDC_OK;
    if (mdc_out_put(out, &count, sizeof count, err) != MDC_OK) return err->code;
    if (layout->memory64) {
        mdc_range_walk walk = mdc_ranges_begin(layout, 0, first64(layout));
        while (mdc_ranges_next(&walk, &range))
            if (put_32(&range, out, err) != MDC_OK) return err->code;
        return MDC_OK;
    }
    mdc_sorted_walk walk = mdc_ranges_sorted(layout);
    while (mdc_ranges_next_sorted(&walk, &range))
        if (put_32(&range, out, err) != MDC_OK) return err->code;
    return MDC_OK;
}

static mdc_status write_64(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    if (!layout->memory64) return MDC_OK;
    size_t first = first64(layout), end = layout->plan->extents.count;
    mdc_range_walk walk = mdc_ranges_begin(layout, first, end);
    mdc_file_memory64_list header = {place->count, first < end ? walk.offset : layout->memory_offset};
    if (mdc_out_put(out, &header, sizeof header, err) != MDC_OK) return err->code;
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) {
        mdc_file_memory64 entry = {range.address, range.size};
        if (mdc_out_put(out, &entry, sizeof entry, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_memory_list = {
    .type = MDC_STREAM_TYPE_MEMORY_LIST, .of = MDC_OF_BOTH, .place = place_32, .count = count_32, .write = write_32};
const mdc_stream mdc_stream_memory64_list = {
    .type = MDC_STREAM_TYPE_MEMORY64_LIST, .of = MDC_OF_BOTH, .place = place_64, .count = count_64, .write = write_64};
