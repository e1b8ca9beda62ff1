/* Cutting over ranges (see intervals.h). */
#include "intervals.h"

#include <stdlib.h>
#include <string.h>

#include "../base/fail.h"
#include "../base/hash.h"
#include "../base/vec.h"
#include "bitmap_tree.h"

/* A range begins or ends. Its number is its index in `ranges`, which is its rank. */
typedef struct event {
    uint64_t address;
    uint32_t range;
    uint32_t begins;
} event;

typedef struct builder {
    const mdc_rule_range *ranges;
    uint32_t count;
    uint8_t *seen;
    event *events;
    size_t event_count;
    uint32_t *place;      /* range -> its place in order of (condition set, rank) */
    uint32_t *range_at;   /* the reverse */
    uint32_t *group;      /* range -> first place of its condition set */
    uint32_t *group_end;  /* range -> last place of its condition set */
    mdc_bitmap_tree live; /* places of live ranges */
    mdc_bitmap_tree tops; /* ranks of the highest live range of each condition set */
    mdc_vec start;
    mdc_vec entry;
    mdc_vec items;
    mdc_vec scratch; /* the list being made */
    mdc_vec lists;   /* uint32_t pairs by id: place in items, length */
    mdc_hash table;
    uint64_t visited;
} builder;

static int by_address(const void *a, const void *b) {
    const event *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

static int is_sorted(const builder *s) {
    for (size_t i = 1; i < s->event_count; i++)
        if (s->events[i].address < s->events[i - 1].address) return 0;
    return 1;
}

typedef struct grouped {
    uint32_t conditions;
    uint32_t range;
} grouped;

static int by_conditions(const void *a, const void *b) {
    const grouped *x = a, *y = b;
    if (x->conditions != y->conditions) return x->conditions < y->conditions ? -1 : 1;
    return x->range < y->range ? -1 : x->range > y->range;
}

/* Places: ranges of one condition set beside each other, rising rank. */
static mdc_status make_places(builder *s, mdc_error *err) {
    grouped *order = mdc_alloc(s->count, sizeof *order, err);
    s->place = mdc_alloc(s->count, sizeof *s->place, err);
    s->range_at = mdc_alloc(s->count, sizeof *s->range_at, err);
    s->group = mdc_alloc(s->count, sizeof *s->group, err);
    s->group_end = mdc_alloc(s->count, sizeof *s->group_end, err);
    if (order == NULL || s->place == NULL || s->range_at == NULL || s->group == NULL || s->group_end == NULL) {
        mdc_dealloc(order);
        return err->code;
    }
    int one = 1; /* ranges without other conditions, by far the commonest, need no sorting */
    for (uint32_t i = 0; i < s->count; i++) {
        order[i] = (grouped){.conditions = s->ranges[i].conditions, .range = i};
        one &= order[i].conditions == order[0].conditions;
    }
    if (!one) qsort(order, s->count, sizeof *order, by_conditions);
    for (uint32_t i = 0; i < s->count;) {
        uint32_t end = i;
        while (end < s->count && order[end].conditions == order[i].conditions) end++;
        for (uint32_t k = i; k < end; k++) {
            uint32_t range = order[k].range;
            s->place[range] = k;
            s->range_at[k] = range;
            s->group[range] = i;
            s->group_end[range] = end - 1;
        }
        i = end;
    }
    mdc_dealloc(order);
    return MDC_OK;
}

static mdc_status make_events(builder *s, mdc_error *err) {
    s->events = mdc_alloc((size_t)s->count * 2, sizeof *s->events, err);
    if (s->events == NULL) return err->code;
    for (uint32_t i = 0; i < s->count; i++) {
        s->events[s->event_count++] = (event){.address = s->ranges[i].first, .range = i, .begins = 1};
        if (s->ranges[i].end != 0) /* else it never ends */
            s->events[s->event_count++] = (event){.address = s->ranges[i].end, .range = i, .begins = 0};
    }
    if (!is_sorted(s)) qsort(s->events, s->event_count, sizeof *s->events, by_address);
    return MDC_OK;
}

/* The highest live rank of the range's condition set, or MDC_RANK_NONE. */
static uint32_t top_of(const builder *s, uint32_t range) {
    uint32_t place = mdc_bitmap_tree_floor(&s->live, s->group_end[range]);
    return place == MDC_RANK_NONE || place < s->group[range] ? MDC_RANK_NONE : s->range_at[place];
}

static void apply(builder *s, const event *e) {
    uint32_t before = top_of(s, e->range);
    if (e->begins)
        mdc_bitmap_tree_add(&s->live, s->place[e->range]);
    else
        mdc_bitmap_tree_remove(&s->live, s->place[e->range]);
    uint32_t after = top_of(s, e->range);
    if (before == after) return;
    if (before != MDC_RANK_NONE) mdc_bitmap_tree_remove(&s->tops, before);
    if (after != MDC_RANK_NONE) mdc_bitmap_tree_add(&s->tops, after);
}

static bool same_list(const void *context, uint32_t id, const void *key) {
    const builder *s = context;
    const mdc_vec *list = key;
    uint32_t at = mdc_vec_at(&s->lists, uint32_t, id * 2), length = mdc_vec_at(&s->lists, uint32_t, id * 2 + 1);
    return length == list->count &&
           memcmp((const mdc_item *)s->items.data + at, list->data, length * sizeof(mdc_item)) == 0;
}

/* The entry of an interval in which the ranges in `tops` are live. */
static mdc_status make_entry(builder *s, uint32_t *entry, mdc_error *err) {
    s->scratch.count = 0;
    uint32_t rank = s->count;
    while (rank > 0 && (rank = mdc_bitmap_tree_floor(&s->tops, rank - 1)) != MDC_RANK_NONE) {
        const mdc_rule_range *range = &s->ranges[rank];
        s->seen[range->rule] = 1;
        if (range->conditions == MDC_CONDITIONS_ALWAYS && s->scratch.count == 0) {
            *entry = range->code;
            return MDC_OK;
        }
        mdc_item item = {.code = range->code, .conditions = range->conditions};
        mdc_status status = mdc_vec_push(&s->scratch, &item, 1, NULL, err);
        if (status != MDC_OK) return status;
        if (++s->visited > MDC_INTERVALS_ITEMS_PER_INTERVAL * s->event_count + MDC_INTERVALS_ITEMS_FREE)
            return mdc_fail_at(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, range->rule,
                               "too many overlapping ranges with different further conditions (at rule %u)",
                               range->rule);
        if (range->conditions == MDC_CONDITIONS_ALWAYS) break;
    }
    if (s->scratch.count == 0) {
        *entry = 0;
        return MDC_OK;
    }
    mdc_item last = mdc_vec_at(&s->scratch, mdc_item, s->scratch.count - 1);
    if (last.conditions != MDC_CONDITIONS_ALWAYS) {
        mdc_item none = {.code = 0, .conditions = MDC_CONDITIONS_ALWAYS};
        mdc_status status = mdc_vec_push(&s->scratch, &none, 1, NULL, err);
        if (status != MDC_OK) return status;
    }
    uint32_t hash = mdc_hash_of(&s->table, s->scratch.data, s->scratch.count * sizeof(mdc_item));
    uint32_t id = mdc_hash_find(&s->table, hash, same_list, s, &s->scratch);
    if (id == MDC_HASH_NONE) {
        uint32_t pair[2] = {(uint32_t)s->items.count, (uint32_t)s->scratch.count};
        if (mdc_hash_reserve(&s->table, s->table.count + 1, err) != MDC_OK ||
            mdc_vec_push(&s->lists, pair, 2, NULL, err) != MDC_OK ||
            mdc_vec_push(&s->items, s->scratch.data, s->scratch.count, NULL, err) != MDC_OK)
            return err->code;
        id = mdc_hash_add(&s->table, hash);
    }
    *entry = MDC_ENTRY_LIST | mdc_vec_at(&s->lists, uint32_t, id * 2);
    return MDC_OK;
}

/* An interval from `address` on; equal neighbours are one. */
static mdc_status emit(builder *s, uint64_t address, uint32_t entry, mdc_error *err) {
    size_t count = s->entry.count;
    if (count > 0 && mdc_vec_at(&s->entry, uint32_t, count - 1) == entry) return MDC_OK;
    mdc_status status = mdc_vec_push(&s->start, &address, 1, NULL, err);
    return status == MDC_OK ? mdc_vec_push(&s->entry, &entry, 1, NULL, err) : status;
}

static mdc_status run(builder *s, mdc_error *err) {
    mdc_status status = s->event_count == 0 || s->events[0].address != 0 ? emit(s, 0, 0, err) : MDC_OK;
    for (size_t i = 0; i < s->event_count && status == MDC_OK;) {
        uint64_t address = s->events[i].address;
        for (; i < s->event_count && s->events[i].address == address; i++) apply(s, &s->events[i]);
        uint32_t entry = 0;
        status = make_entry(s, &entry, err);
        if (status == MDC_OK) status = emit(s, address, entry, err);
    }
    return status;
}

mdc_status mdc_intervals_build(mdc_filter *filter, const mdc_rule_range *ranges, size_t count, uint8_t *seen,
                               mdc_error *err) {
    builder s = {.ranges = ranges, .count = (uint32_t)count, .seen = seen};
    mdc_vec_init(&s.start, sizeof(uint64_t));
    mdc_vec_init(&s.entry, sizeof(uint32_t));
    mdc_vec_init(&s.items, sizeof(mdc_item));
    mdc_vec_init(&s.scratch, sizeof(mdc_item));
    mdc_vec_init(&s.lists, sizeof(uint32_t));
    mdc_hash_init(&s.table);
    mdc_status status = make_places(&s, err);
    if (status == MDC_OK) status = make_events(&s, err);
    if (status == MDC_OK) status = mdc_bitmap_tree_init(&s.live, s.count, err);
    if (status == MDC_OK) status = mdc_bitmap_tree_init(&s.tops, s.count, err);
    if (status == MDC_OK) status = run(&s, err);
    uint64_t end = 0; /* means 2**64 */
    filter->interval_count = (uint32_t)s.entry.count;
    if (status == MDC_OK) status = mdc_vec_push(&s.start, &end, 1, NULL, err);
    mdc_vec_trim(&s.start);
    mdc_vec_trim(&s.entry);
    mdc_vec_trim(&s.items);
    filter->start = s.start.data;
    filter->entry = s.entry.data;
    filter->items = s.items.data;
    filter->bytes +=
        s.start.count * sizeof(uint64_t) + s.entry.count * sizeof(uint32_t) + s.items.count * sizeof(mdc_item);
    mdc_dealloc(s.events);
    mdc_dealloc(s.place);
    mdc_dealloc(s.range_at);
    mdc_dealloc(s.group);
    mdc_dealloc(s.group_end);
    mdc_bitmap_tree_fini(&s.live);
    mdc_bitmap_tree_fini(&s.tops);
    mdc_vec_fini(&s.scratch);
    mdc_vec_fini(&s.lists);
    mdc_hash_fini(&s.table);
    return status;
}
