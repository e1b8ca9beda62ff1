#include "file_ranges.h"

#include "../base/bound.h"

mdc_range_walk mdc_ranges_begin(const mdc_layout *layout, size_t extent, size_t end) {
    mdc_range_walk walk = {.layout = layout, .extent = extent, .end = end};
    if (extent < end) walk.offset = layout->extents[extent].file_offset;
    while (walk.excised < layout->excised_count && layout->excised[walk.excised].extent < extent) walk.excised++;
    return walk;
}

bool mdc_ranges_next(mdc_range_walk *walk, mdc_file_range *range) {
    const mdc_extent *extents = walk->layout->extents;
    const mdc_excised *excised = walk->layout->excised;
    while (walk->extent < walk->end) {
        if ((extents[walk->extent].flags & (MDC_EXTENT_OMITTED | MDC_EXTENT_TRUNCATED)) != 0) {
            walk->extent++;
            continue;
        }
        *range = (mdc_file_range){
            .address = extents[walk->extent].address + walk->skip, .offset = walk->offset, .extent = walk->extent};
        bool more = true;
        while (more) {
            const mdc_extent *extent = &extents[walk->extent];
            bool is_excised =
                walk->excised < walk->layout->excised_count && excised[walk->excised].extent == walk->extent;
            uint64_t stop = is_excised ? excised[walk->excised].address - extent->address : extent->size;
            range->size += stop - walk->skip;
            walk->offset += stop - walk->skip;
            walk->skip = is_excised ? stop + excised[walk->excised++].size : extent->size;
            if (walk->skip >= extent->size) {
                walk->extent++;
                walk->skip = 0;
            }
            more = !is_excised && walk->extent < walk->end && (extents[walk->extent].flags & MDC_EXTENT_JOINED) != 0;
        }
        if (range->size > 0) return true;
    }
    return false;
}

size_t mdc_ranges_count(const mdc_layout *layout, size_t extent, size_t end) {
    size_t count = 0;
    mdc_range_walk walk = mdc_ranges_begin(layout, extent, end);
    mdc_file_range range;
    while (mdc_ranges_next(&walk, &range)) count++;
    return count;
}

mdc_sorted_walk mdc_ranges_sorted(const mdc_layout *layout) {
    const mdc_extents *extents = &layout->plan->extents;
    if (extents->chains != NULL) return (mdc_sorted_walk){.walk = {mdc_ranges_begin(layout, 0, 0)}};
    mdc_sorted_walk both = {.walk = {mdc_ranges_begin(layout, 0, extents->stack_count),
                                     mdc_ranges_begin(layout, extents->stack_count, extents->count)}};
    for (int i = 0; i < 2; i++) both.there[i] = mdc_ranges_next(&both.walk[i], &both.range[i]);
    return both;
}

static bool next_of_chains(mdc_sorted_walk *walk, mdc_file_range *range) {
    const mdc_layout *layout = walk->walk[0].layout;
    const mdc_extents *extents = &layout->plan->extents;
    while (!mdc_ranges_next(&walk->walk[0], range)) {
        if (walk->chain == extents->chain_count) return false;
        const mdc_chain *chain = &extents->chains[walk->chain++];
        walk->walk[0] = mdc_ranges_begin(layout, chain->first, chain->end);
    }
    return true;
}

bool mdc_ranges_next_sorted(mdc_sorted_walk *walk, mdc_file_range *range) {
    if (walk->walk[0].layout->plan->extents.chains != NULL) return next_of_chains(walk, range);
    if (!walk->there[0] && !walk->there[1]) return false;
    int i = !walk->there[0] || (walk->there[1] && walk->range[1].address < walk->range[0].address);
    *range = walk->range[i];
    walk->there[i] = mdc_ranges_next(&walk->walk[i], &walk->range[i]);
    return true;
}

/* The range among the extents [low, end) that holds the address. */
static bool find_in(const mdc_layout *layout, size_t low, size_t end, uint64_t address, mdc_file_range *range) {
    const mdc_extent *extents = layout->extents;
    size_t at; /* the first extent that ends after the address */
    mdc_lower_bound(at, low, end, extents[at].address + extents[at].size <= address);
    if (at == end || extents[at].address > address) return false;
    while (at > low && (extents[at].flags & MDC_EXTENT_JOINED) != 0) at--;
    mdc_range_walk walk = mdc_ranges_begin(layout, at, end);
    while (mdc_ranges_next(&walk, range) && range->address <= address)
        if (address - range->address < range->size) return true;
    return false;
}

static bool find_in_chains(const mdc_layout *layout, uint64_t address, mdc_file_range *range) {
    const mdc_chain *chain = mdc_extents_chain(&layout->plan->extents, address);
    if (chain == NULL) return false;
    mdc_range_walk walk = mdc_ranges_begin(layout, chain->first, chain->end);
    while (mdc_ranges_next(&walk, range) && range->address <= address)
        if (address - range->address < range->size) return range->extent < layout->offset32_end;
    return false;
}

/* The range of a stack that holds the address. The first extents are stacks, but in existing dumps. */
static bool find_stack(const mdc_layout *layout, uint64_t address, mdc_file_range *range) {
    size_t stacks = layout->plan->extents.stack_count, most = layout->offset32_end;
    if (layout->engine->held) return mdc_ranges_of_address(layout, address, range);
    if (layout->plan->extents.chains != NULL)
        return find_in_chains(layout, address, range) && (layout->extents[range->extent].flags & MDC_EXTENT_STACK) != 0;
    return find_in(layout, 0, stacks < most ? stacks : most, address, range);
}

bool mdc_ranges_of_thread(const mdc_layout *layout, size_t thread, mdc_file_range *range) {
    const mdc_thread_choice *choice = &layout->capture->threads[thread];
    if ((choice->write & MDC_THREAD_WRITE_STACK) == 0 || choice->stack.end <= choice->stack.first) return false;
    return find_stack(layout, mdc_stack_pointer(layout->capture, thread), range) ||
           find_stack(layout, choice->stack.first, range);
}

bool mdc_ranges_of_address(const mdc_layout *layout, uint64_t address, mdc_file_range *range) {
    size_t stacks = layout->plan->extents.stack_count, most = layout->offset32_end;
    return find_in(layout, 0, stacks < most ? stacks : most, address, range) ||
           (stacks < most && find_in(layout, stacks, most, address, range));
}
