/* Conditions as rows of bits (see conditions.h). */
#include "conditions.h"

#include <stdlib.h>
#include <string.h>

#include "../api/minidump_protocol.h"
#include "../base/fail.h"
#include "../base/hash.h"
#include "../base/protection.h"
#include "bits.h"
#include "match_hot.h"

uint32_t mdc_protect_of_row(uint32_t row) {
    uint32_t base = row >> 3;
    return (base == 0 || base > 8 ? 0 : UINT32_C(1) << (base - 1)) | (row & 7) << 8;
}

int mdc_protect_meets(uint32_t protect, uint32_t any, uint32_t all) {
    if (any != 0 && (protect & any) == 0) return 0;
    if ((all & MDC_ACCESS_READ) && (protect & MDC_PAGE_ANY_READ) == 0) return 0;
    if ((all & MDC_ACCESS_WRITE) && (protect & MDC_PAGE_ANY_WRITE) == 0) return 0;
    if ((all & MDC_ACCESS_EXECUTE) && (protect & MDC_PAGE_ANY_EXECUTE) == 0) return 0;
    return 1;
}

/* ---- patterns ---- */

typedef struct gatherer {
    mdc_hash table;
    mdc_vec pool;   /* bytes */
    mdc_vec offset; /* uint64_t, count + 1 */
} gatherer;

static bool same_pattern(const void *context, uint32_t number, const void *key) {
    const gatherer *g = context;
    const mdc_bytes *bytes = key;
    uint64_t from = mdc_vec_at(&g->offset, uint64_t, number), to = mdc_vec_at(&g->offset, uint64_t, number + 1);
    return to - from == bytes->size &&
           (to == from || memcmp((const uint8_t *)g->pool.data + from, bytes->data, bytes->size) == 0);
}

static mdc_status gatherer_init(gatherer *g, mdc_error *err) {
    mdc_hash_init(&g->table);
    mdc_vec_init(&g->pool, 1);
    mdc_vec_init(&g->offset, sizeof(uint64_t));
    mdc_status status = mdc_vec_reserve(&g->pool, 1, err); /* a pool of no bytes has an address too */
    return status == MDC_OK ? mdc_vec_push(&g->offset, NULL, 1, NULL, err) : status;
}

/* *number: pattern + 1. */
static mdc_status gather_pattern(gatherer *g, mdc_bytes bytes, uint32_t *number, mdc_error *err) {
    uint32_t hash = mdc_hash_of(&g->table, bytes.data, bytes.size);
    uint32_t found = mdc_hash_find(&g->table, hash, same_pattern, g, &bytes);
    if (found == MDC_HASH_NONE) {
        uint64_t end = g->pool.count + bytes.size;
        if (mdc_hash_reserve(&g->table, g->table.count + 1, err) != MDC_OK ||
            mdc_vec_push(&g->pool, bytes.data, bytes.size, NULL, err) != MDC_OK ||
            mdc_vec_push(&g->offset, &end, 1, NULL, err) != MDC_OK)
            return err->code;
        found = mdc_hash_add(&g->table, hash);
    }
    *number = found + 1;
    return MDC_OK;
}

/* What was gathered becomes the filter's; the gatherer is empty afterwards. */
static void hand_over(gatherer *g, mdc_patterns *patterns) {
    mdc_vec_trim(&g->pool);
    mdc_vec_trim(&g->offset);
    patterns->pool = g->pool.data;
    patterns->offset = g->offset.data;
    patterns->count = g->offset.count > 0 ? (uint32_t)g->offset.count - 1 : 0;
    mdc_hash_fini(&g->table);
}

/* ---- condition sets ---- */

static bool same_conditions(const void *context, uint32_t number, const void *key) {
    const mdc_vec *list = context;
    return memcmp(&mdc_vec_at(list, mdc_condition_set, number), key, sizeof(mdc_condition_set)) == 0;
}

/* Whether a value in doubt makes a difference to it. */
static int can_doubt(const mdc_condition_set *s) {
    return (s->state | s->type | s->protect_any | s->protect_all | s->kinds) != 0;
}

static mdc_status conditions_of(mdc_condition_set *s, const mdc_rule *rule, gatherer *modules, gatherer *names,
                                mdc_error *err) {
    memset(s, 0, sizeof *s);
    s->max_size = UINT64_MAX;
    if (rule->fields & MDC_RULE_STATE) s->state = rule->state;
    if (rule->fields & MDC_RULE_TYPE) s->type = rule->type;
    if (rule->fields & MDC_RULE_PROTECT_ANY) s->protect_any = rule->protect_any;
    if (rule->fields & MDC_RULE_PROTECT_ALL) s->protect_all = rule->protect_all;
    if (rule->fields & MDC_RULE_KIND) s->kinds = rule->kinds;
    s->cautious = rule->action != MDC_INCLUDE && can_doubt(s);
    if (rule->fields & MDC_RULE_SIZE) {
        s->min_size = rule->min_size;
        s->max_size = rule->max_size;
    }
    mdc_status status = MDC_OK;
    if (rule->fields & MDC_RULE_MODULE) status = gather_pattern(modules, rule->module, &s->module, err);
    if (status == MDC_OK && (rule->fields & MDC_RULE_NAME)) status = gather_pattern(names, rule->name, &s->name, err);
    return status;
}

static int is_always(const mdc_condition_set *s) {
    return s->min_size == 0 && s->max_size == UINT64_MAX &&
           (s->state | s->type | s->protect_any | s->protect_all | s->kinds | s->module | s->name) == 0;
}

/* What an include rule matches, a rule of the wider condition set matches too. */
static void find_wider(mdc_condition_sets *sets, const mdc_hash *table, size_t rule_count) {
    for (size_t i = 0; i < rule_count; i++) {
        sets->wider[i] = MDC_CONDITIONS_ALWAYS;
        if (sets->of_rule[i] == MDC_CONDITIONS_ALWAYS) continue;
        mdc_condition_set s = mdc_vec_at(&sets->list, mdc_condition_set, sets->of_rule[i]);
        if (s.cautious || !can_doubt(&s)) continue;
        s.cautious = 1;
        uint32_t hash = mdc_hash_of(table, &s, sizeof s);
        sets->wider[i] = mdc_hash_find(table, hash, same_conditions, &sets->list, &s);
    }
}

mdc_status mdc_condition_sets_gather(mdc_condition_sets *sets, mdc_filter *filter, const mdc_filter_spec *spec,
                                     mdc_error *err) {
    gatherer modules, names;
    mdc_hash table;
    mdc_hash_init(&table);
    mdc_vec_init(&sets->list, sizeof(mdc_condition_set));
    mdc_status status = gatherer_init(&modules, err);
    if (gatherer_init(&names, err) != MDC_OK) status = err->code;
    sets->of_rule = status == MDC_OK ? mdc_alloc(spec->rule_count, sizeof(uint32_t), err) : NULL;
    sets->wider = status == MDC_OK ? mdc_alloc(spec->rule_count, sizeof(uint32_t), err) : NULL;
    if (sets->of_rule == NULL || sets->wider == NULL) status = err->code;

    for (size_t i = 0; i < spec->rule_count && status == MDC_OK; i++) {
        mdc_condition_set s;
        status = conditions_of(&s, &spec->rules[i], &modules, &names, err);
        if (status != MDC_OK) break;
        if (is_always(&s)) {
            sets->of_rule[i] = MDC_CONDITIONS_ALWAYS;
            continue;
        }
        uint32_t hash = mdc_hash_of(&table, &s, sizeof s);
        sets->of_rule[i] = mdc_hash_find(&table, hash, same_conditions, &sets->list, &s);
        if (sets->of_rule[i] != MDC_HASH_NONE) continue;
        status = mdc_hash_reserve(&table, table.count + 1, err);
        if (status == MDC_OK) status = mdc_vec_push(&sets->list, &s, 1, NULL, err);
        if (status == MDC_OK) sets->of_rule[i] = mdc_hash_add(&table, hash);
    }
    if (status == MDC_OK) find_wider(sets, &table, spec->rule_count);
    mdc_hash_fini(&table);
    hand_over(&modules, &filter->modules);
    hand_over(&names, &filter->names);
    return status;
}

void mdc_condition_sets_fini(mdc_condition_sets *sets) {
    mdc_vec_fini(&sets->list);
    mdc_dealloc(sets->of_rule);
    mdc_dealloc(sets->wider);
    sets->of_rule = sets->wider = NULL;
}

typedef struct ranked {
    uint32_t top;
    uint32_t id;
} ranked;

static int by_falling_top(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->top != y->top) return x->top > y->top ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

mdc_status mdc_condition_sets_order(mdc_condition_sets *sets, uint32_t *top, size_t rule_count, mdc_error *err) {
    size_t count = sets->list.count;
    ranked *order = mdc_alloc(count, sizeof *order, err);
    uint32_t *bit_of = mdc_alloc(count, sizeof *bit_of, err);
    mdc_vec sorted;
    mdc_vec_init(&sorted, sizeof(mdc_condition_set));
    mdc_status status = order == NULL || bit_of == NULL ? err->code : mdc_vec_reserve(&sorted, count, err);
    if (status == MDC_OK) {
        for (uint32_t i = 0; i < count; i++) order[i] = (ranked){.top = top[i], .id = i};
        qsort(order, count, sizeof *order, by_falling_top);
        for (uint32_t bit = 0; bit < count && status == MDC_OK; bit++) {
            bit_of[order[bit].id] = bit;
            top[bit] = order[bit].top;
            status = mdc_vec_push(&sorted, &mdc_vec_at(&sets->list, mdc_condition_set, order[bit].id), 1, NULL, err);
        }
        for (size_t i = 0; i < rule_count; i++) {
            uint32_t *own = &sets->of_rule[i], *wider = &sets->wider[i];
            if (*own != MDC_CONDITIONS_ALWAYS) *own = bit_of[*own];
            if (*wider != MDC_CONDITIONS_ALWAYS) *wider = bit_of[*wider];
        }
        mdc_vec_fini(&sets->list);
        sets->list = sorted;
    }
    mdc_dealloc(order);
    mdc_dealloc(bit_of);
    return status;
}

/* ---- rows ---- */

static int protect_row_meets(const mdc_condition_set *s, uint32_t row) {
    return (s->cautious && row >> 3 == 0) || mdc_protect_meets(mdc_protect_of_row(row), s->protect_any, s->protect_all);
}

static int state_row_meets(const mdc_condition_set *s, uint32_t row) {
    static const uint32_t states[MDC_STATE_VALUES] = {0, MDC_MEM_COMMIT, MDC_MEM_RESERVE, MDC_MEM_FREE, 0};
    static const uint32_t types[MDC_STATE_VALUES] = {0, MDC_MEM_PRIVATE, MDC_MEM_MAPPED, MDC_MEM_IMAGE, 0};
    uint32_t state = row / MDC_STATE_VALUES, type = row % MDC_STATE_VALUES;
    return (s->state == 0 || (s->state & states[state]) != 0 || (s->cautious && state == MDC_STATE_DOUBT)) &&
           (s->type == 0 || (s->type & types[type]) != 0 || (s->cautious && type == MDC_STATE_DOUBT));
}

/* Whether any size of `row` + 1 binary digits (or 0 in row 0) is within the bounds; the exact size is checked when
 * the bit is hit. */
static int size_row_meets(const mdc_condition_set *s, uint32_t row) {
    uint64_t first = UINT64_C(1) << row, last = first + (first - 1);
    return s->min_size <= last && s->max_size >= (row == 0 ? 0 : first);
}

/* Whether the row of a size is enough to know that it lies within the bounds. Sizes 0 and 1 have one row. */
static int size_rows_tell(const mdc_condition_set *s) {
    bool from = s->min_size == 0 || (s->min_size > 1 && (s->min_size & (s->min_size - 1)) == 0);
    return from && s->max_size != 0 && (s->max_size & (s->max_size + 1)) == 0;
}

static int row_meets(const mdc_condition_set *s, int what, uint32_t row) {
    switch (what) {
    case 0:
        return protect_row_meets(s, row);
    case 1:
        return state_row_meets(s, row);
    case 2:
        return size_row_meets(s, row);
    default:
        return s->kinds == 0 || (s->kinds & row) != 0 || (s->cautious && (row & MDC_KIND_DOUBT) != 0);
    }
}

static uint64_t *make_rows(const mdc_condition_sets *sets, mdc_filter *filter, int what, uint32_t rows,
                           mdc_error *err) {
    uint32_t words = filter->words;
    uint64_t *block = mdc_alloc((size_t)rows * words, sizeof *block, err);
    if (block == NULL) return NULL;
    for (uint32_t row = 0; row < rows; row++)
        for (uint32_t bit = 0; bit < sets->list.count; bit++)
            if (row_meets(&mdc_vec_at(&sets->list, mdc_condition_set, bit), what, row))
                mdc_set_bit(block + (size_t)row * words, bit);
    filter->bytes += (uint64_t)rows * words * sizeof *block;
    return block;
}

static uint32_t pattern_of(const mdc_condition_set *s, int module) { return module ? s->module : s->name; }

/* Lists of the condition sets that ask for each pattern, by counting. */
static mdc_status make_lists(const mdc_condition_sets *sets, mdc_filter *filter, int module, mdc_error *err) {
    mdc_patterns *p = module ? &filter->modules : &filter->names;
    size_t count = sets->list.count;
    p->base = mdc_alloc(filter->words, sizeof *p->base, err);
    p->first = mdc_alloc((size_t)p->count + 2, sizeof *p->first, err);
    p->bits = mdc_alloc(count, sizeof *p->bits, err);
    if (p->base == NULL || p->first == NULL || p->bits == NULL) return err->code;
    for (uint32_t bit = 0; bit < count; bit++) {
        uint32_t pattern = pattern_of(&mdc_vec_at(&sets->list, mdc_condition_set, bit), module);
        if (pattern == 0)
            mdc_set_bit(p->base, bit);
        else
            p->first[pattern + 1]++;
    }
    /* first[pattern] (pattern counted from 1) runs from the beginning to the end of its list while the list is filled,
     * which makes it the beginning of pattern + 1: the index from 0 that is wanted afterwards. */
    for (uint32_t i = 1; i <= p->count; i++) p->first[i + 1] += p->first[i];
    for (uint32_t bit = 0; bit < count; bit++) {
        uint32_t pattern = pattern_of(&mdc_vec_at(&sets->list, mdc_condition_set, bit), module);
        if (pattern != 0) p->bits[p->first[pattern]++] = bit;
    }
    filter->bytes += filter->words * sizeof *p->base + (p->count + 2) * sizeof *p->first + count * sizeof *p->bits +
                     (p->count + 1) * sizeof *p->offset + p->offset[p->count];
    return MDC_OK;
}

/* Every State, and every Type, without unknown bits. */
static uint32_t known_state(uint32_t choice) { return (choice & 3) << 12 | (choice & 4) << 14; }
static uint32_t known_type(uint32_t choice) { return (choice & 3) << 17 | (choice & 4) << 22; }

mdc_status mdc_condition_sets_rows(const mdc_condition_sets *sets, mdc_filter *filter, mdc_error *err) {
    size_t count = sets->list.count;
    filter->words = (uint32_t)((count + 63) / 64);
    filter->protect_rows = make_rows(sets, filter, 0, MDC_PROTECT_ROWS, err);
    filter->state_rows = make_rows(sets, filter, 1, MDC_STATE_ROWS, err);
    filter->size_rows = make_rows(sets, filter, 2, MDC_SIZE_ROWS, err);
    filter->kind_rows = make_rows(sets, filter, 3, MDC_KIND_ROWS, err);
    if (filter->protect_rows == NULL || filter->state_rows == NULL || filter->size_rows == NULL ||
        filter->kind_rows == NULL)
        return err->code;
    if (filter->words == 1) {
        uint64_t *word = mdc_alloc(MDC_PROTECT_WORDS + MDC_STATE_WORDS, sizeof *word, err);
        if (word == NULL) return err->code;
        filter->attributes = word;
        for (uint32_t protect = 0; protect < MDC_PROTECT_WORDS; protect++)
            *word++ = filter->protect_rows[mdc_protect_row(protect)];
        for (uint32_t choice = 0; choice < MDC_STATE_WORDS; choice++) {
            uint32_t state = known_state(choice), type = known_type(choice >> 3);
            word[mdc_state_place(state, type)] = filter->state_rows[mdc_state_row(state, type)];
        }
        filter->bytes += (MDC_PROTECT_WORDS + MDC_STATE_WORDS) * sizeof *word;
    }
    int sizes = 0;
    for (uint32_t bit = 0; bit < count && !sizes; bit++) {
        const mdc_condition_set *s = &mdc_vec_at(&sets->list, mdc_condition_set, bit);
        sizes = s->min_size != 0 || s->max_size != UINT64_MAX;
    }
    if (sizes) {
        filter->bounds = mdc_alloc(count, sizeof *filter->bounds, err);
        if (filter->bounds == NULL) return err->code;
        for (uint32_t bit = 0; bit < count; bit++) {
            const mdc_condition_set *s = &mdc_vec_at(&sets->list, mdc_condition_set, bit);
            filter->bounds[bit] = (mdc_bounds){.min = s->min_size, .max = s->max_size};
            if (bit < 64 && !size_rows_tell(s)) filter->inexact_bits |= UINT64_C(1) << bit;
        }
        filter->bytes += count * sizeof *filter->bounds;
    }
    mdc_status status = make_lists(sets, filter, 0, err);
    return status == MDC_OK ? make_lists(sets, filter, 1, err) : status;
}
