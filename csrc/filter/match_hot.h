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

/* MDC_MATCH_WHOLE, MDC_MATCH_NOTHING, or MDC_MATCH_PART: ask mdc_match_answer. */
MDC_HOT int mdc_match_hot(const mdc_filter *filter, mdc_cursor *cursor, const mdc_question *q) {
    uint64_t base = q->base;
    uint32_t interval = mdc_seek(filter->start, filter->interval_count, cursor->interval, base);
    cursor->interval = interval;
    if (filter->words > 1 || q->last > filter->start[interval + 1] - 1) return MDC_MATCH_PART;
    uint32_t entry = filter->entry[interval];
    uint32_t best = mdc_floor_code(filter, q->flags);
    uint32_t code = entry & ~MDC_ENTRY_DIRECT;
    if (filter->words != 0) {
        uint64_t hits = filter->protect_rows[mdc_protect_row(q->protect)] &
                        filter->state_rows[mdc_state_row(q->state, q->type)] &
                        filter->size_rows[mdc_size_row(q->mapping_size)] &
                        filter->kind_rows[q->kinds & (MDC_KIND_ROWS - 1)] & q->name_row[0];
        const mdc_module_map *map = q->modules;
        if (map != NULL) {
            uint32_t segment = mdc_seek(map->start, map->count, cursor->module, base);
            cursor->module = segment;
            if (q->last > map->start[segment + 1] - 1) return MDC_MATCH_PART;
            hits &= map->rows[map->row[segment]];
        } else {
            hits &= filter->modules.base[0];
        }
        if ((entry & MDC_ENTRY_DIRECT) == 0) {
            const mdc_item *item = filter->items + entry;
            for (; item->code > best; item++) {
                uint32_t bit = item->signature;
                if (bit == MDC_SIGNATURE_ALWAYS ||
                    ((hits >> bit & 1) != 0 && mdc_size_fits(filter, q->mapping_size, bit)))
                    break;
            }
            code = item->code;
        }
        if (code > best) best = code;
        for (hits &= filter->global_bits; hits != 0; hits &= hits - 1) {
            uint32_t bit = mdc_lowest_bit(hits);
            if (filter->global_code[bit] <= best) break;
            if (mdc_size_fits(filter, q->mapping_size, bit)) {
                best = filter->global_code[bit];
                break;
            }
        }
    } else if (code > best) {
        best = code;
    }
    uint32_t action = best & MDC_CODE_ACTION;
    if (action == MDC_HEAD) return MDC_MATCH_PART;
    return action == MDC_INCLUDE ? MDC_MATCH_WHOLE : MDC_MATCH_NOTHING;
}

#endif
