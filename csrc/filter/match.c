/* The hot part of the filter (see match.h). */
#include "match.h"

#include "../api/minidump_protocol.h"
#include "../base/arith.h"
#include "bits.h"
#include "seek.h"
#include "table.h"

uint32_t mdc_seek_gallop(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address) {
    uint32_t step = 1;
    while (step < count - at && start[at + step] <= address) {
        at += step;
        step *= 2;
    }
    uint32_t room = step < count - at ? step : count - at;
    return at + mdc_seek_search(start + at, room, address);
}

static uint32_t protect_index(uint32_t protect) {
    uint32_t base = protect & 0xFF;
    uint32_t one = base != 0 && (base & (base - 1)) == 0;
    return (one ? mdc_lowest_bit(base) + 1 : 0) << 3 | ((protect >> 8) & 7);
}

static uint32_t state_index(uint32_t state, uint32_t type) {
    uint32_t s = state == MDC_MEM_COMMIT ? 1 : state == MDC_MEM_RESERVE ? 2 : state == MDC_MEM_FREE ? 3 : 0;
    uint32_t t = type == MDC_MEM_PRIVATE ? 1 : type == MDC_MEM_MAPPED ? 2 : type == MDC_MEM_IMAGE ? 3 : 0;
    return s << 2 | t;
}

static inline void begin(mdc_matcher *m, const mdc_filter *filter, const mdc_question *q) {
    size_t words = filter->words;
    m->filter = filter;
    m->question = q;
    m->protect_row = filter->protect_rows + protect_index(q->protect) * words;
    m->state_row = filter->state_rows + state_index(q->state, q->type) * words;
    m->size_row = filter->size_rows + mdc_bit_width(q->mapping_size) * words;
    m->kind_row = filter->kind_rows + (q->kinds & (MDC_KIND_ROWS - 1)) * words;
    m->floor_code = filter->floor_code;
    if ((q->flags & (MDC_FACT_ADDED | MDC_FACT_DONTDUMP)) != 0 && m->floor_code <= MDC_CODE_ACTION)
        m->floor_code = q->flags & MDC_FACT_DONTDUMP ? MDC_EXCLUDE : MDC_INCLUDE;
    m->whole_pages = (q->flags & MDC_FACT_PIECE) == 0;
}

void mdc_match_begin(mdc_matcher *matcher, const mdc_filter *filter, const mdc_question *question) {
    begin(matcher, filter, question);
}

static inline uint64_t row_word(const mdc_matcher *m, const uint64_t *module_row, uint32_t w) {
    return m->protect_row[w] & m->state_row[w] & m->size_row[w] & m->kind_row[w] & m->question->name_row[w] &
           module_row[w];
}

/* Size rows are by powers of two: the exact size of a hit is looked at here. */
static inline bool size_fits(const mdc_matcher *m, uint32_t bit) {
    const mdc_bounds *bounds = m->filter->bounds;
    if (bounds == NULL) return true;
    return m->question->mapping_size >= bounds[bit].min && m->question->mapping_size <= bounds[bit].max;
}

/* The code that decides in this interval and module. */
static inline uint32_t decide(const mdc_matcher *m, uint32_t entry, const uint64_t *module_row) {
    const mdc_filter *filter = m->filter;
    uint32_t best = m->floor_code;
    if (entry & MDC_ENTRY_DIRECT) {
        uint32_t code = entry & ~MDC_ENTRY_DIRECT;
        if (code > best) best = code;
    } else {
        for (const mdc_item *item = filter->items + entry; item->code > best; item++) {
            uint32_t bit = item->signature;
            if (bit == MDC_SIGNATURE_ALWAYS ||
                (((row_word(m, module_row, bit >> 6) >> (bit & 63)) & 1) != 0 && size_fits(m, bit))) {
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
            if (size_fits(m, w * 64 + bit)) return codes[bit];
        }
    }
    return best;
}

static inline mdc_verdict step(const mdc_matcher *m, mdc_cursor *cursor, uint64_t address) {
    const mdc_filter *filter = m->filter;
    const mdc_question *q = m->question;
    uint32_t interval = mdc_seek(filter->start, filter->interval_count, cursor->interval, address);
    cursor->interval = interval;
    mdc_verdict v = {.last = mdc_min_u64(q->last, filter->start[interval + 1] - 1)};
    const uint64_t *module_row = filter->modules.base;
    const mdc_module_map *map = q->modules;
    if (map != NULL) {
        uint32_t segment = mdc_seek(map->start, map->count, cursor->module, address);
        cursor->module = segment;
        v.last = mdc_min_u64(v.last, map->start[segment + 1] - 1);
        module_row = map->rows + (size_t)map->row[segment] * filter->words;
    }
    uint32_t code = decide(m, filter->entry[interval], module_row);
    uint32_t action = code & MDC_CODE_ACTION;
    v.rule = (code >> 2) - 1; /* the default (number -1) is put right by whoever counts */
    v.keep = action == MDC_INCLUDE;
    if (action == MDC_HEAD) {
        uint64_t cut; /* first byte behind the head */
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

/* Cuts [*first, *last] to whole pages, but for edges that are the piece's own. */
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

static inline bool next_run(const mdc_matcher *m, mdc_cursor *cursor, uint64_t from, uint64_t *first, uint64_t *last) {
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
