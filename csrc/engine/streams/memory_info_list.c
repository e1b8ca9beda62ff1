/* MemoryInfoList: the regions. Every range of Memory64List has to begin with an entry: where one begins inside a
 * mapping, the entry is split. */
#include "../../source/describe.h"
#include "../file_ranges.h"
#include "stream.h"

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    uint64_t slots = layout->capture->region_count + (layout->memory64 ? layout->range_count : 0) + layout->spare;
    return mdc_layout_reserve(layout, place, MDC_STREAM_TYPE_MEMORY_INFO_LIST,
                              sizeof(mdc_file_memory_info_list) + slots * sizeof(MINIDUMP_MEMORY_INFO), err);
}

/* out NULL: only counts. */
static mdc_status put_entries(const mdc_layout *layout, mdc_out *out, uint64_t *count, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    mdc_sorted_walk walk = mdc_ranges_sorted(layout);
    mdc_file_range range;
    bool there = layout->memory64 && mdc_ranges_next_sorted(&walk, &range);
    *count = 0;
    for (size_t i = 0; i < capture->region_count; i++) {
        MINIDUMP_MEMORY_INFO info = mdc_describe_info(&capture->regions[i]);
        uint64_t end = capture->regions[i].base + capture->regions[i].size;
        while (info.BaseAddress < end) {
            while (there && range.address <= info.BaseAddress) there = mdc_ranges_next_sorted(&walk, &range);
            uint64_t stop = there && range.address < end ? range.address : end;
            info.RegionSize = stop - info.BaseAddress;
            if (out != NULL && mdc_out_put(out, &info, sizeof info, err) != MDC_OK) return err->code;
            ++*count;
            info.BaseAddress = stop;
        }
    }
    return MDC_OK;
}

static void count_entries(mdc_layout *layout, mdc_place *place) {
    mdc_error none; /* without an output nothing can fail */
    (void)put_entries(layout, NULL, &place->count, &none);
    layout->memory_info_count = place->count;
    layout->directory[place->directory].data_size =
        (uint32_t)(sizeof(mdc_file_memory_info_list) + sizeof(MINIDUMP_MEMORY_INFO) * place->count);
}

static mdc_status write_list(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    mdc_file_memory_info_list header = {sizeof header, sizeof(MINIDUMP_MEMORY_INFO), place->count};
    uint64_t written;
    if (mdc_out_put(out, &header, sizeof header, err) != MDC_OK) return err->code;
    return put_entries(layout, out, &written, err);
}

const mdc_stream mdc_stream_memory_info_list = {
    .type = MDC_STREAM_TYPE_MEMORY_INFO_LIST, .place = place_stream, .count = count_entries, .write = write_list};
