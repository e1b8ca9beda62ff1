/* Memory as the lists contain it: extents joined to ranges, without what was left out or cut out as a gap. */
#include "../base/bound.h"
#include "dump_state.h"

mdc_range_walk mdc_ranges_begin(const mdc_dump *dump, size_t extent, size_t end) {
    mdc_range_walk walk = {.dump = dump, .extent = extent, .end = end};
    if (extent < end) walk.offset = mdc_vec_at(&dump->extents, const mdc_extent, extent).file_offset;
    while (walk.cut < dump->cut_count && dump->cuts[walk.cut].extent < extent) walk.cut++;
    return walk;
}

bool mdc_ranges_next(mdc_range_walk *walk, mdc_file_range *range) {
    const mdc_extent *extents = walk->dump->extents.data;
    const mdc_cut *cuts = walk->dump->cuts;
    while (walk->extent < walk->end) {
        if ((extents[walk->extent].flags & MDC_EXTENT_OMITTED) != 0) {
            walk->extent++;
            continue;
        }
        *range = (mdc_file_range){
            .address = extents[walk->extent].address + walk->skip, .offset = walk->offset, .extent = walk->extent};
        bool more = true;
        while (more) {
            const mdc_extent *extent = &extents[walk->extent];
            bool is_cut = walk->cut < walk->dump->cut_count && cuts[walk->cut].extent == walk->extent;
            uint64_t stop = is_cut ? cuts[walk->cut].address - extent->address : extent->size;
            range->size += stop - walk->skip;
            walk->offset += stop - walk->skip;
            walk->skip = is_cut ? stop + cuts[walk->cut++].size : extent->size;
            if (walk->skip >= extent->size) {
                walk->extent++;
                walk->skip = 0;
            }
            more = !is_cut && walk->extent < walk->end && (extents[walk->extent].flags & MDC_EXTENT_JOINED) != 0;
        }
        if (range->size > 0) return true;
    }
    return false;
}

bool mdc_ranges_find_stack(const mdc_dump *dump, uint64_t address, mdc_file_range *range) {
    const mdc_extent *extents = dump->extents.data;
    size_t end = dump->stack_extents < dump->offset32_end ? dump->stack_extents : dump->offset32_end;
    size_t at; /* the first extent that ends after the address */
    mdc_lower_bound(at, 0, end, extents[at].address + extents[at].size <= address);
    if (at == end || extents[at].address > address) return false;
    while (at > 0 && (extents[at].flags & MDC_EXTENT_JOINED) != 0) at--;
    mdc_range_walk walk = mdc_ranges_begin(dump, at, end);
    while (mdc_ranges_next(&walk, range) && range->address <= address)
        if (address - range->address < range->size) return true;
    return false;
}
