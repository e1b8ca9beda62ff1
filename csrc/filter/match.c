/* The hot part of the filter (see match.h). */
#include "match.h"

#include "../base/arith.h"
#include "match_hot.h"

/* The last i < count with start[i] <= address; start[0] is <= address. No branch depends on the data. */
MDC_HOT uint32_t search(const uint64_t *start, uint32_t count, uint64_t address) {
    const uint64_t *base = start;
    while (count > 1) {
        uint32_t half = count / 2, quarter = (count - half) / 2;
        MDC_PREFETCH(base +
                     quarter); /* no branch, so nothing is fetched ahead by a guess: both next ones are asked for */
        MDC_PREFETCH(base + half + quarter);
        base = base[half] <= address ? base + half : base;
        count -= half;
    }
    return (uint32_t)(base - start);
}

MDC_OUTLINE uint32_t mdc_gallop_far(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address) {
    if (address < start[at]) return search(start, at, address);
    uint32_t step = 1;
    while (step < count - at && start[at + step] <= address) {
        at += step;
        step *= 2;
    }
    return at + search(start + at, step < count - at ? step : count - at, address);
}

MDC_HOT void begin(mdc_matcher *m, const mdc_filter *filter, const mdc_question *q) {
    size_t words = filter->words;
    m->filter = filter;
    m->question = q;
    m->protect_row = filter->protect_rows + mdc_protect_row(q->protect) * words;
    m->state_row = filter->state_rows + mdc_state_row(q->state, q->type) * words;
    m->size_row = filter->size_rows + mdc_size_row(q->mapping_size) * words;
    m->kind_row = filter->kind_rows + (q->kinds & (MDC_KIND_ROWS - 1)) * words;
    m->floor_code = mdc_floor_code(filter, q->flags);
    m->whole_pages = (q->flags & MDC_FACT_PIECE) == 0;
}

void mdc_match_begin(mdc_matcher *matcher, const mdc_filter *filter, const mdc_question *question) {
    begin(matcher, filter, question);
}

MDC_HOT uint64_t row_word(const mdc_matcher *m, const uint64_t *module_row, uint32_t w) {
    return m->protect_row[w] & m->state_row[w] & m->size_row[w] & m->kind_row[w] & m->question->name_row[w] &
           module_row[w];
}

/* The code that decides in this interval and module. */
MDC_HOT uint32_t decide(const mdc_matcher *m, uint32_t entry, const uint64_t *module_row) {
    const mdc_filter *filter = m->filter;
    uint32_t best = m->floor_code;
    if (!(entry & MDC_ENTRY_LIST)) {
        if (entry > best) best = entry;
    } else {
        for (const mdc_item *item = filter->items + (entry & ~MDC_ENTRY_LIST); item->code > best; item++) {
            uint32_t bit = item->conditions;
            if (bit == MDC_CONDITIONS_ALWAYS || (((row_word(m, module_row, bit >> 6) >> (bit & 63)) & 1) != 0 &&
                                                 mdc_size_fits(filter->bounds, m->question->mapping_size, bit))) {
                best = item->code;
                break;
            }
        }
    }
    for (uint32_t w = 0; w < filter->global_words; w++) {
        const uint32_t *codes = filter->global_code + w * 64;
        if (codes[0] <= best) break;
        for (uint64_t hits = row_word(m, module_row, w); hits != 0; hits &= hits - 1) {
            uint32_t bit = mdc_lowest_bit(hits);
            if (codes[bit] <= best) return best;
            if (mdc_size_fits(filter->bounds, m->question->mapping_size, w * 64 + bit)) return codes[bit];
        }
    }
    return best;
}

static bool meets(const mdc_matcher *m, const uint64_t *module_row, uint32_t bit) {
    return ((row_word(m, module_row, bit >> 6) >> (bit & 63)) & 1) != 0 &&
           mdc_size_fits(m->filter->bounds, m->question->mapping_size, bit);
}

/* Whether the last rule but the heads includes: a head cuts what is in the dump, and adds nothing by itself. Rules that
 * a head without conditions besides its range hides in the table do not count. */
static bool included(const mdc_matcher *m, uint32_t entry, const uint64_t *module_row) {
    const mdc_filter *filter = m->filter;
    uint32_t best = 0;
    if ((entry & MDC_ENTRY_LIST) != 0)
        for (const mdc_item *item = filter->items + (entry & ~MDC_ENTRY_LIST); item->code > m->floor_code; item++) {
            bool head = (item->code & MDC_CODE_ACTION) == MDC_HEAD, always = item->conditions == MDC_CONDITIONS_ALWAYS;
            if (!head && (always || meets(m, module_row, item->conditions))) {
                best = item->code;
                break;
            }
            if (always) break;
        }
    for (uint32_t bit = 0; bit < filter->global_words * 64; bit++) {
        uint32_t code = filter->global_code[bit];
        if (code > best && code > m->floor_code && (code & MDC_CODE_ACTION) != MDC_HEAD && meets(m, module_row, bit))
            best = code;
    }
    return best > MDC_CODE_ACTION && (best & MDC_CODE_ACTION) == MDC_INCLUDE;
}

MDC_HOT mdc_verdict step(const mdc_matcher *m, mdc_cursor *cursor, uint64_t address) {
    const mdc_filter *filter = m->filter;
    const mdc_question *q = m->question;
    uint32_t interval = mdc_gallop(filter->start, filter->interval_count, cursor->interval, address);
    cursor->interval = interval;
    mdc_verdict v = {.last = mdc_min_u64(q->last, filter->start[interval + 1] - 1)};
    const uint64_t *module_row = filter->modules.base;
    const mdc_module_map *map = q->modules;
    if (map != NULL) {
        uint32_t segment = mdc_gallop(map->start, map->count, cursor->module, address);
        cursor->module = segment;
        v.last = mdc_min_u64(v.last, map->start[segment + 1] - 1);
        module_row = map->rows + (size_t)map->row[segment] * filter->words;
    }
    uint32_t code = decide(m, filter->entry[interval], module_row);
    uint32_t action = code & MDC_CODE_ACTION;
    v.rule = (code >> 2) - 1; /* the default (number -1) is corrected by the counting code */
    v.keep = action == MDC_INCLUDE;
    if (action == MDC_HEAD &&
        ((q->flags & MDC_FACT_OPTIONAL) == 0 || included(m, filter->entry[interval], module_row))) {
        uint64_t cut; /* first byte after the head */
        if (!mdc_add_u64(q->mapping_base, filter->head_bytes[v.rule], &cut)) {
            v.keep = true; /* the head reaches beyond the end of the address space */
        } else if (address < cut) {
            v.keep = true;
            v.last = mdc_min_u64(v.last, cut - 1);
        }
    }
    return v;
}

mdc_verdict mdc_match_step(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t address) {
    mdc_verdict v = step(matcher, cursor, address);
    if (v.rule > matcher->filter->rule_count) v.rule = matcher->filter->rule_count;
    return v;
}

/* Cuts [*first, *last] to whole pages, except for edges of the piece itself. */
static bool cut_to_pages(const mdc_question *q, uint64_t *first, uint64_t *last) {
    uint64_t mask = MDC_PAGE_SIZE - 1;
    if (*first != q->base && (*first & mask) != 0) {
        if (*first > UINT64_MAX - mask) return false;
        *first = (*first + mask) & ~mask;
    }
    if (*last != q->last && ((*last + 1) & mask) != 0) {
        uint64_t end = (*last + 1) & ~mask;
        if (end == 0) return false;
        *last = end - 1;
    }
    return *first <= *last;
}

MDC_HOT bool next_run(const mdc_matcher *m, mdc_cursor *cursor, uint64_t from, uint64_t *first, uint64_t *last) {
    const mdc_question *q = m->question;
    uint64_t at = from;
    for (;;) {
        mdc_verdict v = step(m, cursor, at);
        while (!v.keep) {
            if (v.last >= q->last) return false;
            at = v.last + 1;
            v = step(m, cursor, at);
        }
        *first = at;
        while (v.keep) {
            *last = v.last;
            if (v.last >= q->last) break;
            at = v.last + 1;
            v = step(m, cursor, at);
        }
        uint64_t behind = *last;
        if (!m->whole_pages || cut_to_pages(q, first, last)) return true;
        if (behind >= q->last) return false;
        at = behind + 1;
    }
}

bool mdc_match_next(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t from, uint64_t *first, uint64_t *last) {
    return next_run(matcher, cursor, from, first, last);
}

bool mdc_match_longest(const mdc_matcher *matcher, mdc_cursor *cursor, uint64_t *first, uint64_t *last) {
    uint64_t run_first, run_last;
    bool found = false;
    uint64_t from = matcher->question->base;
    while (next_run(matcher, cursor, from, &run_first, &run_last)) {
        if (!found || run_last - run_first > *last - *first) {
            *first = run_first;
            *last = run_last;
        }
        found = true;
        if (run_last >= matcher->question->last) break;
        from = run_last + 1;
    }
    return found;
}

int mdc_match_answer(const mdc_filter *filter, mdc_cursor *cursor, const mdc_question *question, uint64_t *first,
                     uint64_t *last) {
    mdc_matcher m;
    begin(&m, filter, question);
    if (!next_run(&m, cursor, question->base, first, last)) return MDC_MATCH_NOTHING;
    return *first == question->base && *last == question->last ? MDC_MATCH_WHOLE : MDC_MATCH_PART;
}
