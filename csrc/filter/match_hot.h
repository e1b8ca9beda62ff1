/* The part of matching that is inlined into the routine: a piece that one rule decides as a whole, asked about by at
 * most 64 different sets of conditions. Everything else is left to mdc_match_answer, which gives the same answers. */
#ifndef MDC_FILTER_MATCH_HOT_H
#define MDC_FILTER_MATCH_HOT_H

#include "../api/minidump_protocol.h"
#include "bits.h"
#include "match.h"
#include "seek.h"
#include "table.h"

/* Row of protect_rows. */
MDC_HOT uint32_t mdc_protect_row(uint32_t protect) {
    static const uint8_t base[256] = {[0x01] = 1 << 3, [0x02] = 2 << 3, [0x04] = 3 << 3, [0x08] = 4 << 3,
                                      [0x10] = 5 << 3, [0x20] = 6 << 3, [0x40] = 7 << 3, [0x80] = 8 << 3};
    return base[protect & 0xFF] | ((protect >> 8) & 7);
}

/* Row of state_rows. Tables instead of choices: these differ from region to region, and a branch would guess wrong. */
MDC_HOT uint32_t mdc_state_row(uint32_t state, uint32_t type) {
    static const uint8_t states[32] = {
        [MDC_MEM_COMMIT >> 12] = 1 << 2, [MDC_MEM_RESERVE >> 12] = 2 << 2, [MDC_MEM_FREE >> 12] = 3 << 2};
    static const uint8_t types[256] = {
        [MDC_MEM_PRIVATE >> 17] = 1, [MDC_MEM_MAPPED >> 17] = 2, [MDC_MEM_IMAGE >> 17] = 3};
    return states[(state >> 12) & 31] | (uint32_t)types[(type >> 17) & 255];
}

/* Row of size_rows: sizes 0 and 1 share one. */
MDC_HOT uint32_t mdc_size_row(uint64_t size) { return mdc_highest_bit(size | 1); }

/* What decides where no rule does; nothing but a rule excludes an added block, or includes a do-not-dump mapping. */
MDC_HOT uint32_t mdc_floor_code(const mdc_filter *filter, uint32_t flags) {
    uint32_t code = filter->floor_code;
    if ((flags & (MDC_FACT_ADDED | MDC_FACT_DONTDUMP)) != 0 && code <= MDC_CODE_ACTION)
        code = flags & MDC_FACT_DONTDUMP ? MDC_EXCLUDE : MDC_INCLUDE;
    return code;
}

/* Size rows are by powers of two: the exact size of a hit is looked at here. */
MDC_HOT bool mdc_size_fits(const mdc_filter *filter, uint64_t size, uint32_t bit) {
    const mdc_bounds *bounds = filter->bounds;
    return bounds == NULL || (size >= bounds[bit].min && size <= bounds[bit].max);
}

/* Whether the short way can be taken with this filter at all. */
MDC_HOT bool mdc_match_hot_serves(const mdc_filter *filter) { return filter->words <= 1; }

/* MDC_MATCH_WHOLE, MDC_MATCH_NOTHING, or MDC_MATCH_PART: ask mdc_match_answer. Calls nothing, so that the routine needs
 * no stack frame. Only with mdc_match_hot_serves, no MDC_FACT_ADDED and no MDC_FACT_DONTDUMP; `names` is the first word
 * of the name's row; map may be NULL only if no rule asks for modules. */
MDC_HOT int mdc_match_hot(const mdc_filter *filter, mdc_cursor *cursor, const MINIDUMP_MEMORY_INFO *region,
                          uint64_t mapping_size, uint32_t kinds, uint64_t names, const mdc_module_map *map) {
    uint64_t base = region->BaseAddress, last = base + (region->RegionSize - 1);
    uint32_t interval = cursor->interval;
    const uint64_t *start = filter->start + interval;
    if (last < base || base < start[0]) return MDC_MATCH_PART;
    for (uint32_t far = interval + 4; last > start[1] - 1; start++) {
        if (base <= start[1] - 1 || interval == far) return MDC_MATCH_PART;
        interval++;
    }
    cursor->interval = interval;
    uint32_t best = filter->floor_code;
    uint32_t entry = filter->entry[interval];
    if (filter->words != 0) {
        uint64_t hits = filter->protect_rows[mdc_protect_row(region->Protect)] &
                        filter->state_rows[mdc_state_row(region->State, region->Type)] &
                        filter->size_rows[mdc_size_row(mapping_size)] & filter->kind_rows[kinds & (MDC_KIND_ROWS - 1)] &
                        names;
        if (map != NULL) {
            uint32_t segment = cursor->module;
            if (base < map->start[segment] || last > map->start[segment + 1] - 1) return MDC_MATCH_PART;
            hits &= map->rows[map->row[segment]];
        }
        if (entry & MDC_ENTRY_LIST) {
            const mdc_item *item = filter->items + (entry & ~MDC_ENTRY_LIST);
            for (; item->code > best; item++) {
                uint32_t bit = item->signature;
                if (bit == MDC_SIGNATURE_ALWAYS || ((hits >> bit & 1) != 0 && mdc_size_fits(filter, mapping_size, bit)))
                    break;
            }
            entry = item->code;
        }
        if (entry > best) best = entry;
        for (hits &= filter->global_bits; hits != 0; hits &= hits - 1) {
            uint32_t bit = mdc_lowest_bit(hits), code = filter->global_code[bit];
            if (code <= best) break;
            if (mdc_size_fits(filter, mapping_size, bit)) {
                best = code;
                break;
            }
        }
    } else if (entry > best) {
        best = entry;
    }
    if (best & MDC_INCLUDE) return MDC_MATCH_WHOLE;
    return best & MDC_HEAD ? MDC_MATCH_PART : MDC_MATCH_NOTHING;
}

#endif
