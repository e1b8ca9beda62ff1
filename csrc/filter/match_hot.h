/* The part of matching that is inlined into the routine: a piece that one rule decides as a whole, asked about by at
 * most 64 different sets of conditions. Everything else is left to mdc_match_answer, which gives the same answers. */
#ifndef MDC_FILTER_MATCH_HOT_H
#define MDC_FILTER_MATCH_HOT_H

#include "../api/minidump_protocol.h"
#include "bits.h"
#include "gallop.h"
#include "match.h"
#include "table.h"

/* Row of protect_rows. Tables instead of choices, here and below: these differ from region to region, and a branch
 * would guess wrong. */
MDC_HOT uint32_t mdc_protect_row(uint32_t protect) {
    static const uint8_t base[256] = {[0x01] = 1 << 3, [0x02] = 2 << 3, [0x04] = 3 << 3, [0x08] = 4 << 3,
                                      [0x10] = 5 << 3, [0x20] = 6 << 3, [0x40] = 7 << 3, [0x80] = 8 << 3};
    uint32_t row = base[protect & 0xFF];
    MDC_SETTLE(row);
    uint32_t none = protect == 0;
    MDC_SETTLE(none);
    row |= none * (MDC_PROTECT_NONE << 3);
    MDC_SETTLE(row);
    return row | ((protect >> 8) & 7);
}

/* Which of the known values: their bits at 0 to 2, and at 3 whether any bit at all is set. */
MDC_HOT uint32_t mdc_state_bits(uint32_t state) {
    uint32_t bits = (uint32_t)(state != 0) << 3;
    MDC_SETTLE(bits);
    bits |= (state >> 12) & 3;
    MDC_SETTLE(bits);
    return bits | ((state >> 14) & 4);
}
MDC_HOT uint32_t mdc_type_bits(uint32_t type) {
    uint32_t bits = (uint32_t)(type != 0) << 3;
    MDC_SETTLE(bits);
    bits |= (type >> 17) & 3;
    MDC_SETTLE(bits);
    return bits | ((type >> 22) & 4);
}

/* Row of state_rows: the sum of both. */
MDC_HOT uint32_t mdc_state_part(uint32_t state) {
    enum { ROW = MDC_STATE_VALUES, DOUBT = MDC_STATE_DOUBT };
    static const uint8_t states[16] = {[8] = DOUBT * ROW, [9] = 1 * ROW,      [10] = 2 * ROW,     [11] = DOUBT * ROW,
                                       [12] = 3 * ROW,    [13] = DOUBT * ROW, [14] = DOUBT * ROW, [15] = DOUBT * ROW};
    return states[mdc_state_bits(state)];
}
MDC_HOT uint32_t mdc_type_part(uint32_t type) {
    enum { DOUBT = MDC_STATE_DOUBT };
    static const uint8_t types[16] = {
        [8] = DOUBT, [9] = 1, [10] = 2, [11] = DOUBT, [12] = 3, [13] = DOUBT, [14] = DOUBT, [15] = DOUBT};
    return types[mdc_type_bits(type)];
}
MDC_HOT uint32_t mdc_state_row(uint32_t state, uint32_t type) { return mdc_state_part(state) + mdc_type_part(type); }

/* Kinds derived from a type when nothing else is known. */
MDC_HOT uint32_t mdc_kinds_of_type(uint32_t type) {
    enum { DOUBT = MDC_KIND_DOUBT };
    static const uint8_t kinds[16] = {[8] = DOUBT,           [9] = MDC_KIND_ANONYMOUS,
                                      [10] = MDC_KIND_FILE,  [11] = DOUBT,
                                      [12] = MDC_KIND_IMAGE, [13] = DOUBT,
                                      [14] = DOUBT,          [15] = DOUBT};
    return kinds[mdc_type_bits(type)];
}

/* State and Type in one number below MDC_STATE_WORDS. No known bit of one is one of the other; the factor was found by
 * trial, and gives the 64 choices of their six bits different numbers (tests/native/test_filter_match.c). */
enum { MDC_STATE_KNOWN = 0x13000, MDC_TYPE_KNOWN = 0x1060000 };
MDC_HOT uint32_t mdc_state_place(uint32_t state, uint32_t type) {
    return ((state | type) * UINT32_C(0xC01C0421)) >> 26;
}

/* Whether its attributes have no bits that are not known: only then their words are found without a row. */
MDC_HOT bool mdc_attributes_known(const MINIDUMP_MEMORY_INFO *region) {
    return region->Protect < MDC_PROTECT_WORDS && (region->State & ~(uint32_t)MDC_STATE_KNOWN) == 0 &&
           (region->Type & ~(uint32_t)MDC_TYPE_KNOWN) == 0;
}

/* Row of size_rows: sizes 0 and 1 share one. */
MDC_HOT uint32_t mdc_size_row(uint64_t size) { return mdc_highest_bit(size | 1); }

/* What decides where no rule does; nothing but a rule excludes an added block, or includes what would not be
 * in the dump without it. */
MDC_HOT uint32_t mdc_floor_code(const mdc_filter *filter, uint32_t flags) {
    uint32_t code = filter->floor_code;
    const uint32_t needs_rule = MDC_FACT_DONTDUMP | MDC_FACT_OPTIONAL;
    if ((flags & (MDC_FACT_ADDED | needs_rule)) != 0 && code <= MDC_CODE_ACTION)
        code = (flags & needs_rule) != 0 ? MDC_EXCLUDE : MDC_INCLUDE;
    return code;
}

/* Size rows are by powers of two: the exact size of a hit is checked here. */
MDC_HOT bool mdc_size_fits(const mdc_bounds *bounds, uint64_t size, uint32_t bit) {
    return bounds == NULL || (size >= bounds[bit].min && size <= bounds[bit].max);
}

/* What the short way needs, side by side, and where the last answer was found. */
typedef struct mdc_hot {
    uint64_t first;       /* [first, last]: where `entry` and `module_bits` hold */
    uint64_t span;        /* last - first; without the topmost address there is, so that no sum with it overflows */
    uint64_t glance_bits; /* sets of conditions that may decide here; 0: none of them */
    uint32_t glance_code; /* what decides if none of them does; MDC_HEAD alone: not decided at a glance */
    bool plain;           /* no rule asks for names or kinds: they are in glance_bits */
    uint64_t last;
    uint64_t common_bits; /* what names and kinds have in common, if plain */
    uint64_t module_bits;
    const uint64_t *attributes; /* by Protect; NULL if no rule has conditions besides a range */
    const uint64_t *states;     /* by mdc_state_place; as attributes */
    const uint64_t *size_rows;
    const uint64_t *kind_rows;
    const uint32_t *global_code;
    const mdc_bounds *bounds;
    const mdc_item *items;
    const uint64_t *start;
    const uint32_t *entries;
    uint64_t global_bits;
    uint64_t inexact_bits;
    uint32_t entry;
    uint32_t floor_code;
    uint32_t interval;
    bool modules; /* module_bits differ from place to place */
    const uint64_t *protect_rows;
    const uint64_t *state_rows;
} mdc_hot;

/* What follows from a place. */
static inline void mdc_hot_enter(mdc_hot *hot) {
    uint64_t last = hot->last < UINT64_MAX ? hot->last : UINT64_MAX - 1;
    uint32_t code = hot->entry > hot->floor_code ? hot->entry : hot->floor_code;
    hot->span = last > hot->first ? last - hot->first : 0;
    hot->glance_code = (hot->entry & MDC_ENTRY_LIST) != 0 ? MDC_HEAD : code;
    hot->glance_bits = hot->attributes == NULL || (hot->entry & MDC_ENTRY_LIST) != 0
                           ? 0
                           : hot->common_bits & hot->module_bits & hot->global_bits;
}

/* Whether the short way can be taken with this filter at all. */
static inline bool mdc_hot_serves(const mdc_filter *filter) { return filter->words <= 1; }

/* Makes it ready. `cursor` says where to begin; map may be NULL only if no rule asks for modules; `names`: NULL, or the
 * one row that all names have. */
static inline void mdc_hot_place(mdc_hot *hot, const mdc_filter *filter, const mdc_cursor *cursor,
                                 const mdc_module_map *map, const uint64_t *names) {
    uint32_t interval = cursor->interval;
    *hot = (mdc_hot){.first = filter->start[interval],
                     .last = filter->start[interval + 1] - 1,
                     .module_bits = UINT64_MAX,
                     .attributes = filter->attributes,
                     .states = filter->attributes != NULL ? filter->attributes + MDC_PROTECT_WORDS : NULL,
                     .protect_rows = filter->protect_rows,
                     .state_rows = filter->state_rows,
                     .size_rows = filter->size_rows,
                     .kind_rows = filter->kind_rows,
                     .global_code = filter->global_code,
                     .bounds = filter->bounds,
                     .items = filter->items,
                     .start = filter->start,
                     .entries = filter->entry,
                     .global_bits = filter->global_bits,
                     .inexact_bits = filter->inexact_bits,
                     .entry = filter->entry[interval],
                     .floor_code = filter->floor_code,
                     .interval = interval,
                     .plain = names != NULL && filter->kinds == 0,
                     .common_bits = UINT64_MAX,
                     .modules = map != NULL};
    if (hot->plain && filter->words == 1) hot->common_bits = names[0] & filter->kind_rows[0];
    mdc_hot_enter(hot);
    if (map == NULL) return;
    uint64_t first = map->start[cursor->module], last = map->start[cursor->module + 1] - 1;
    hot->first = first > hot->first ? first : hot->first;
    hot->last = last < hot->last ? last : hot->last;
    hot->module_bits = map->rows[map->row[cursor->module]];
    mdc_hot_enter(hot);
}

/* What a code says of a whole piece. */
MDC_HOT int mdc_hot_verdict(uint32_t code) {
    if (code & MDC_INCLUDE) return MDC_MATCH_WHOLE;
    return code & MDC_HEAD ? MDC_MATCH_PART : MDC_MATCH_NOTHING;
}

/* Which sets of conditions Protect, State and Type meet. */
MDC_HOT uint64_t mdc_attribute_word(const mdc_hot *hot, const MINIDUMP_MEMORY_INFO *region) {
    if (!mdc_attributes_known(region))
        return hot->protect_rows[mdc_protect_row(region->Protect)] &
               hot->state_rows[mdc_state_row(region->State, region->Type)];
    return hot->attributes[region->Protect] & hot->states[mdc_state_place(region->State, region->Type)];
}

/* MDC_MATCH_WHOLE, MDC_MATCH_NOTHING, or MDC_MATCH_PART: ask mdc_match_answer. For regions of at least one byte without
 * MDC_FACT_ADDED and MDC_FACT_DONTDUMP; `names` is the first word of the name's row. */
MDC_HOT int mdc_match_hot(mdc_hot *hot, const MINIDUMP_MEMORY_INFO *region, uint64_t mapping_size, uint32_t kinds,
                          uint64_t names) {
    uint64_t base = region->BaseAddress, last = base + (region->RegionSize - 1);
    uint32_t entry = hot->entry, best = hot->floor_code;
    if (last < base || base < hot->first) return MDC_MATCH_PART;
    if (last > hot->last) {
        if (base <= hot->last || hot->modules) return MDC_MATCH_PART;
        const uint64_t *start = hot->start + hot->interval, *limit = start + 4;
        do {
            if (start++ == limit) return MDC_MATCH_PART;
        } while (base > start[1] - 1);
        if (last > start[1] - 1) return MDC_MATCH_PART;
        hot->first = start[0];
        hot->last = start[1] - 1;
        hot->interval = (uint32_t)(start - hot->start);
        hot->entry = entry = hot->entries[hot->interval];
        mdc_hot_enter(hot);
    }
    if (hot->attributes != NULL) {
        uint64_t hits = mdc_attribute_word(hot, region) & hot->size_rows[mdc_size_row(mapping_size)] &
                        hot->kind_rows[kinds & (MDC_KIND_ROWS - 1)] & names & hot->module_bits;
        if (entry & MDC_ENTRY_LIST) {
            const mdc_item *item = hot->items + (entry & ~MDC_ENTRY_LIST);
            for (; item->code > best; item++) {
                uint32_t bit = item->conditions;
                if (bit == MDC_CONDITIONS_ALWAYS ||
                    ((hits >> bit & 1) != 0 && mdc_size_fits(hot->bounds, mapping_size, bit)))
                    break;
            }
            entry = item->code;
        }
        if (entry > best) best = entry;
        for (hits &= hot->global_bits; hits != 0; hits &= hits - 1) {
            uint32_t bit = mdc_lowest_bit(hits), code = hot->global_code[bit];
            if (code <= best) break;
            if (mdc_size_fits(hot->bounds, mapping_size, bit)) {
                best = code;
                break;
            }
        }
    } else if (entry > best) {
        best = entry;
    }
    return mdc_hot_verdict(best);
}

#endif
