/* MemoryList or Memory64List, and MemoryInfoList. They are as long as the plan, so they are made while they are written
 * and never stored: the same walk counts them, writes them, and writes them again when gaps were cut out. */
#include "../source/describe.h"
#include "dump_state.h"

/* Ranges of the stacks and of the rest side by side, in address order. */
typedef struct both_walks {
    mdc_range_walk walk[2];
    mdc_file_range range[2];
    bool there[2];
} both_walks;

static both_walks begin_both(const mdc_dump *dump) {
    both_walks both = {.walk = {mdc_ranges_begin(dump, 0, dump->stack_extents),
                                mdc_ranges_begin(dump, dump->stack_extents, dump->extents.count)}};
    for (int i = 0; i < 2; i++) both.there[i] = mdc_ranges_next(&both.walk[i], &both.range[i]);
    return both;
}

static bool next_both(both_walks *both, mdc_file_range *range) {
    if (!both->there[0] && !both->there[1]) return false;
    int i = !both->there[0] || (both->there[1] && both->range[1].address < both->range[0].address);
    *range = both->range[i];
    both->there[i] = mdc_ranges_next(&both->walk[i], &both->range[i]);
    return true;
}

static mdc_status put(mdc_out *out, const void *data, size_t size, mdc_error *err) {
    return out != NULL ? mdc_out_put(out, data, size, err) : MDC_OK;
}

static mdc_status put_memory(mdc_dump *dump, mdc_out *out, mdc_error *err) {
    mdc_list_place *place = &dump->memory_list;
    uint32_t count = (uint32_t)place->count;
    if (put(out, &count, sizeof count, err) != MDC_OK) return err->code;
    both_walks both = begin_both(dump);
    mdc_file_range range;
    for (place->count = 0; next_both(&both, &range); place->count++) {
        mdc_file_memory entry = {range.address, {(uint32_t)range.size, (uint32_t)range.offset}};
        if (put(out, &entry, sizeof entry, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status put_memory64(mdc_dump *dump, mdc_out *out, mdc_error *err) {
    mdc_list_place *place = &dump->memory_list;
    mdc_file_memory64_list header = {place->count, dump->memory_offset};
    mdc_range_walk walk = mdc_ranges_begin(dump, 0, dump->extents.count);
    if (put(out, &header, sizeof header, err) != MDC_OK) return err->code;
    mdc_file_range range;
    for (place->count = 0; mdc_ranges_next(&walk, &range); place->count++) {
        mdc_file_memory64 entry = {range.address, range.size};
        if (put(out, &entry, sizeof entry, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_lists_memory(mdc_dump *dump, mdc_out *out, mdc_error *err) {
    return dump->has_memory64 ? put_memory64(dump, out, err) : put_memory(dump, out, err);
}

/* Every range of Memory64List has to begin with an entry: where one begins inside a mapping, the entry is split. */
mdc_status mdc_lists_memory_info(mdc_dump *dump, mdc_out *out, mdc_error *err) {
    mdc_list_place *place = &dump->memory_info_list;
    mdc_file_memory_info_list header = {sizeof header, sizeof(MINIDUMP_MEMORY_INFO), place->count};
    if (put(out, &header, sizeof header, err) != MDC_OK) return err->code;
    place->count = 0;
    both_walks both = begin_both(dump);
    mdc_file_range range;
    bool there = dump->has_memory64 && next_both(&both, &range);
    for (size_t i = 0; i < dump->region_count; i++) {
        const mdc_region *region = &dump->regions[i];
        MINIDUMP_MEMORY_INFO info = mdc_describe_info(region);
        uint64_t end = region->base + region->size;
        while (info.BaseAddress < end) {
            while (there && range.address <= info.BaseAddress) there = next_both(&both, &range);
            uint64_t stop = there && range.address < end ? range.address : end;
            info.RegionSize = stop - info.BaseAddress;
            if (put(out, &info, sizeof info, err) != MDC_OK) return err->code;
            place->count++;
            info.BaseAddress = stop;
        }
    }
    return MDC_OK;
}

void mdc_lists_count(mdc_dump *dump) {
    mdc_error none; /* without an output nothing can fail */
    (void)mdc_lists_memory(dump, NULL, &none);
    (void)mdc_lists_memory_info(dump, NULL, &none);
}
