/* The compiled table against the meaning of rules taken literally: every byte judged by walking the rules from the
 * last to the first. Runs, page cuts, tallies and dead rules are derived from that and compared, asked twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/filter/glob.h"
#include "../../csrc/filter/match_hot.h"
#include "check.h"

enum { SPACE = 12 * 4096, MODULES = 4, RULES = 160 };

static size_t short_ways;
static uint64_t state = 0x2545F4914F6CDD1Du;
static unsigned roll(unsigned bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % bound;
}

static const char *globs[] = {"*", "*libc*", "", "/lib/[a-m]*", "[[]heap]", "*.so"};
static const char *texts[] = {"", "[heap]", "/lib/libc.so", "/lib/zlib.so", "/dev/shm/x"};
static const uint32_t protections[] = {0,     1,     2,     4, 8,     0x10,  0x20,   0x40,      0x80,
                                       0x104, 0x204, 0x404, 3, 0x602, 0x400, 0x2000, 0x2000004, 0x40000000};
/* What a rule may name; then nothing, several at once, and values no one knows today, with and without a known one. */
static const uint32_t states[] = {MDC_MEM_COMMIT, MDC_MEM_RESERVE, MDC_MEM_FREE, 0, 0x3000, 0x4000, 0x9000, 1u << 31};
static const uint32_t types[] = {MDC_MEM_PRIVATE, MDC_MEM_MAPPED, MDC_MEM_IMAGE, 0,
                                 0x1020000,       0x80000,        0xA0000,       0x2000000};

typedef struct module {
    uint64_t first, last;
    const char *path;
} module;

typedef struct world {
    mdc_rule rules[RULES];
    size_t rule_count;
    mdc_range remove[3];
    size_t remove_count;
    uint32_t default_action;
    module modules[MODULES];
    size_t module_count;
    mdc_question question;
    const char *name;
} world;

static mdc_bytes bytes(const char *text) { return (mdc_bytes){(const uint8_t *)text, strlen(text)}; }

static int glob(mdc_bytes pattern, const char *text) {
    return mdc_glob_match(pattern.data, pattern.size, false, (const uint8_t *)text, strlen(text));
}

/* ---- the meaning ---- */

static int grants(uint32_t protect, uint32_t access) {
    switch (protect & 0xFF) {
    case MDC_PAGE_READONLY:
        return access == MDC_ACCESS_READ;
    case MDC_PAGE_READWRITE:
    case MDC_PAGE_WRITECOPY:
        return access != MDC_ACCESS_EXECUTE;
    case MDC_PAGE_EXECUTE:
        return access == MDC_ACCESS_EXECUTE;
    case MDC_PAGE_EXECUTE_READ:
        return access != MDC_ACCESS_WRITE;
    case MDC_PAGE_EXECUTE_READWRITE:
    case MDC_PAGE_EXECUTE_WRITECOPY:
        return 1;
    default:
        return 0;
    }
}

static int one_bit(uint32_t v) { return v != 0 && (v & (v - 1)) == 0; }

/* One of the rule's values; one that is in doubt is all of them to a rule that takes away, none to an include. */
static int names(const mdc_rule *r, uint32_t wanted, uint32_t known, uint32_t value) {
    if (value != 0 && !one_bit(value & known)) return r->action != MDC_INCLUDE;
    return (value & wanted) != 0;
}

static int matches(const world *w, const mdc_rule *r, uint64_t address) {
    const mdc_question *q = &w->question;
    uint32_t protect = one_bit(q->protect & 0xFF) ? q->protect : q->protect & 0x700;
    int any_protect = q->protect != 0 && !one_bit(q->protect & 0xFF) && r->action != MDC_INCLUDE;
    if ((r->fields & MDC_RULE_RANGE) && (address < r->range.first || (r->range.end != 0 && address >= r->range.end)))
        return 0;
    if ((r->fields & MDC_RULE_STATE) && !names(r, r->state, 0x13000, q->state)) return 0;
    if ((r->fields & MDC_RULE_TYPE) && !names(r, r->type, 0x1060000, q->type)) return 0;
    if ((r->fields & MDC_RULE_PROTECT_ANY) && !(protect & r->protect_any) && !any_protect) return 0;
    if ((r->fields & MDC_RULE_PROTECT_ALL) && !any_protect)
        for (uint32_t access = 1; access <= 4; access *= 2)
            if ((r->protect_all & access) && !grants(protect, access)) return 0;
    if ((r->fields & MDC_RULE_KIND) && !(q->kinds & r->kinds) &&
        !((q->kinds & MDC_KIND_DOUBT) && r->action != MDC_INCLUDE))
        return 0;
    if ((r->fields & MDC_RULE_SIZE) && (q->mapping_size < r->min_size || q->mapping_size > r->max_size)) return 0;
    if ((r->fields & MDC_RULE_NAME) && !glob(r->name, w->name)) return 0;
    if (r->fields & MDC_RULE_MODULE) {
        int found = 0;
        for (size_t i = 0; i < w->module_count; i++)
            if (address >= w->modules[i].first && address <= w->modules[i].last)
                found |= glob(r->module, w->modules[i].path);
        if (!found) return 0;
    }
    return 1;
}

/* Rule number (rule_count: default or removed), and whether the byte is kept. */
static uint32_t judge(const world *w, uint64_t address, int *keep) {
    for (size_t i = 0; i < w->remove_count; i++)
        if (address >= w->remove[i].first && address < w->remove[i].end) {
            *keep = 0;
            return (uint32_t)w->rule_count;
        }
    for (size_t i = w->rule_count; i-- > 0;) {
        const mdc_rule *r = &w->rules[i];
        if (!matches(w, r, address)) continue;
        *keep =
            r->action == MDC_INCLUDE || (r->action == MDC_HEAD && address - w->question.mapping_base < r->head_bytes);
        return (uint32_t)i;
    }
    *keep = w->default_action == MDC_INCLUDE;
    if (w->question.flags & MDC_FACT_ADDED) *keep = 1;
    if (w->question.flags & (MDC_FACT_DONTDUMP | MDC_FACT_OPTIONAL)) *keep = 0;
    return (uint32_t)w->rule_count;
}

/* ---- made-up worlds ---- */

static uint64_t place(uint64_t base) { return base + (roll(3) == 0 ? roll(SPACE + 4096) : roll(13) * 4096); }

static void make_rule(mdc_rule *r, uint64_t base) {
    memset(r, 0, sizeof *r);
    r->action = roll(8) == 0 ? MDC_HEAD : roll(2);
    r->head_bytes = 1 + roll(SPACE);
    if (roll(2)) {
        r->fields |= MDC_RULE_RANGE;
        r->range.first = place(base);
        r->range.end = roll(20) == 0 ? 0 : r->range.first + 1 + roll(roll(2) ? 300 : SPACE);
        if (roll(20) == 0) r->range.first = 0;
        if (r->range.end < r->range.first) r->range.end = 0;
    }
    for (unsigned more = roll(4); more > 0; more--) r->fields |= (uint32_t)MDC_RULE_STATE << roll(8);
    r->state = (states[roll(3)] | states[roll(3)]);
    r->type = types[roll(3)] | types[roll(3)];
    r->protect_any = roll(2) ? 1 + roll(0x7FF) : 0x64;
    r->protect_all = 1 + roll(7);
    if ((r->fields & MDC_RULE_PROTECT_ANY) && (r->fields & MDC_RULE_PROTECT_ALL)) r->protect_any |= 0x40;
    r->kinds = 1 + roll(0x7F);
    r->min_size = roll(2) ? 0 : roll(SPACE);
    r->max_size = roll(2) ? UINT64_MAX : r->min_size + 1 + roll(SPACE);
    r->module = bytes(globs[roll(6)]);
    r->name = bytes(globs[roll(6)]);
}

static mdc_filter *make_world(world *w) {
    memset(w, 0, sizeof *w);
    /* Sometimes at either end of the address space. */
    uint64_t base = roll(8) == 0 ? (uint64_t)0 - SPACE : roll(8) == 0 ? 0 : (uint64_t)(1 + roll(1000)) * 4096;
    w->rule_count = roll(5) == 0 ? roll(RULES + 1) : roll(12);
    for (size_t i = 0; i < w->rule_count; i++) make_rule(&w->rules[i], base);
    for (size_t i = 1; i < w->rule_count; i++) /* some with equal conditions */
        if (roll(6) == 0) {
            w->rules[i] = w->rules[roll((unsigned)i)];
            w->rules[i].action = roll(2) ? w->rules[i].action : roll(2);
        }
    w->remove_count = roll(3) == 0 ? roll(4) : 0;
    for (size_t i = 0; i < w->remove_count; i++) {
        w->remove[i].first = base + roll(SPACE - 5001);
        w->remove[i].end = w->remove[i].first + 1 + roll(4999);
    }
    w->default_action = roll(2);
    for (uint64_t at = base + roll(5) * 4096; w->module_count < MODULES && at - base < SPACE - 4096 * 4;) {
        module *m = &w->modules[w->module_count++];
        m->first = at;
        m->last = at + 4096 * (1 + roll(3)) - 1;
        m->path = texts[1 + roll(4)];
        at = m->last + 1 + 4096 * roll(2);
    }
    mdc_question *q = &w->question;
    q->base = base;
    q->last = base + SPACE - 1;
    q->mapping_base = roll(2) || base < 8192 ? base : base - 4096 * roll(3);
    q->mapping_size = SPACE + (base - q->mapping_base) - roll(2) * 4096;
    if (roll(3) == 0) {
        q->base += roll(2) ? 4096 * roll(3) : roll(9000);
        q->last -= roll(2) ? 4096 * roll(3) : roll(9000);
    }
    q->state = states[roll(8)];
    q->protect = protections[roll(sizeof protections / sizeof protections[0])];
    q->type = types[roll(8)];
    q->kinds = roll(8) == 0 ? MDC_KIND_DOUBT : roll(0x80);
    static const uint32_t flags[] = {0,
                                     0,
                                     MDC_FACT_PIECE,
                                     MDC_FACT_PIECE | MDC_FACT_ADDED,
                                     MDC_FACT_DONTDUMP,
                                     MDC_FACT_DONTDUMP | MDC_FACT_PIECE,
                                     MDC_FACT_DONTDUMP | MDC_FACT_ADDED,
                                     MDC_FACT_OPTIONAL,
                                     MDC_FACT_OPTIONAL | MDC_FACT_DONTDUMP};
    bool heads = false; /* which are not what decides about optional regions */
    for (size_t i = 0; i < w->rule_count; i++) heads |= w->rules[i].action == MDC_HEAD;
    q->flags = flags[roll(heads ? 7 : 9)];
    w->name = texts[roll(5)];
    mdc_filter_spec spec = {.rules = w->rules,
                            .rule_count = w->rule_count,
                            .memory_remove = w->remove,
                            .memory_remove_count = w->remove_count,
                            .default_action = w->default_action};
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    if (filter == NULL) fprintf(stderr, "%s\n", err.message);
    REQUIRE(filter != NULL);
    return filter;
}

/* ---- comparison ---- */

static uint32_t who[SPACE];
static uint8_t keep[SPACE], page_kept[SPACE];

static void compare(const world *w, const mdc_filter *filter) {
    uint64_t starts[2 * MODULES + 2] = {0};
    uint32_t row[2 * MODULES + 1] = {0}, segments = 1;
    uint32_t words = mdc_filter_words(filter);
    uint64_t *rows = calloc((size_t)(MODULES + 2) * (words + 1), sizeof *rows);
    uint64_t *name_row = rows + (size_t)(MODULES + 1) * words;
    if (words > 0) memcpy(rows, mdc_filter_module_base(filter), words * sizeof *rows);
    for (size_t i = 0; i < w->module_count; i++) {
        const module *m = &w->modules[i];
        mdc_filter_module_row(filter, mdc_filter_nocase(filter), (const uint8_t *)m->path, strlen(m->path),
                              rows + (i + 1) * words);
        if (starts[segments - 1] == m->first) segments--;
        starts[segments] = m->first;
        row[segments++] = (uint32_t)i + 1;
        if (m->last != UINT64_MAX) {
            starts[segments] = m->last + 1;
            row[segments++] = 0;
        }
    }
    starts[segments] = 0;
    mdc_filter_name_row(filter, mdc_filter_nocase(filter), (const uint8_t *)w->name, strlen(w->name), name_row);
    mdc_module_map map = {.start = starts, .row = row, .rows = rows, .count = segments};
    mdc_question q = w->question;
    q.name_row = name_row;
    q.modules = &map;
    mdc_matcher m;
    mdc_match_begin(&m, filter, &q);

    size_t size = (size_t)(q.last - q.base + 1);
    for (size_t i = 0; i < size; i++) {
        int kept;
        who[i] = judge(w, q.base + i, &kept);
        keep[i] = (uint8_t)kept;
    }
    memcpy(page_kept, keep, size);
    if (!(q.flags & MDC_FACT_PIECE))
        for (size_t i = 0, end; i < size; i = end) {
            end = i + (4096 - (size_t)((q.base + i) & 4095));
            if (end > size) end = size;
            if (memchr(keep + i, 0, end - i) != NULL) memset(page_kept + i, 0, end - i);
        }

    mdc_cursor cursor = {.interval = 0, .module = 0}; /* kept through both rounds: stale at the second */
    for (int twice = 0; twice < 2; twice++) {
        for (uint64_t at = q.base;;) { /* verdicts */
            mdc_verdict v = mdc_match_step(&m, &cursor, at);
            REQUIRE(v.last >= at && v.last <= q.last);
            for (uint64_t a = at; a - q.base <= v.last - q.base; a++) {
                REQUIRE(who[a - q.base] == v.rule && keep[a - q.base] == v.keep);
            }
            if (v.last == q.last) break;
            at = v.last + 1;
        }
        size_t at = 0; /* runs */
        uint64_t from = q.base, first, last = 0, longest_first = 0, longest_last = 0, longest = 0;
        for (;;) {
            while (at < size && !page_kept[at]) at++;
            if (at == size) break;
            size_t end = at;
            while (end < size && page_kept[end]) end++;
            REQUIRE(mdc_match_next(&m, &cursor, from, &first, &last));
            REQUIRE(first == q.base + at && last == q.base + end - 1);
            if (end - at > longest) {
                longest = end - at;
                longest_first = first;
                longest_last = last;
            }
            at = end;
            if (at == size) break;
            from = last + 1;
        }
        if (longest == 0)
            REQUIRE(!mdc_match_next(&m, &cursor, q.base, &first, &last));
        else if (from > last) /* the last run does not reach the end */
            REQUIRE(!mdc_match_next(&m, &cursor, from, &first, &last));
        REQUIRE(mdc_match_longest(&m, &cursor, &first, &last) == (longest != 0));
        if (longest != 0) REQUIRE(first == longest_first && last == longest_last);
    }

    /* Each byte to one rule: its own, or that of the excluded byte before (else after) it in its page. */
    uint64_t kept[RULES + 1] = {0}, excluded[RULES + 1] = {0}, total = 0, all = 0;
    uint64_t expected_kept[RULES + 1] = {0}, expected_excluded[RULES + 1] = {0};
    size_t part = roll((unsigned)size), part_end = part + roll((unsigned)(size - part));
    mdc_match_rule_stats(&m, q.base + part, q.base + part_end, 0, UINT64_MAX, kept, excluded);
    for (size_t i = part; i <= part_end; i++) {
        size_t by = i;
        uint64_t page = (q.base + i) & ~UINT64_C(4095);
        if (page_kept[i]) {
            expected_kept[who[i]]++;
            continue;
        }
        while (keep[by] && by > 0 && q.base + by > page) by--;
        while (keep[by]) by++;
        expected_excluded[who[by]]++;
    }
    for (size_t i = 0; i <= w->rule_count; i++)
        REQUIRE(kept[i] == expected_kept[i] && excluded[i] == expected_excluded[i]);
    memset(kept, 0, sizeof kept);
    memset(excluded, 0, sizeof excluded);
    mdc_match_rule_stats(&m, q.base, q.last, q.base + size / 3, q.base + size / 2, kept, excluded);
    uint64_t inside = 0;
    total = 0;
    for (size_t i = size / 3; i <= size / 2; i++) inside += page_kept[i];
    for (size_t i = 0; i <= w->rule_count; i++) {
        total += kept[i];
        all += kept[i] + excluded[i];
    }
    REQUIRE(total == inside && all == size);

    /* The short way for pieces that one rule decides. */
    mdc_hot hot;
    bool served = mdc_hot_serves(filter) && (q.flags & (MDC_FACT_ADDED | MDC_FACT_DONTDUMP | MDC_FACT_OPTIONAL)) == 0;
    for (int i = 0; i < 80 && served; i++) {
        if (i == 0 || roll(4) == 0) {
            mdc_match_step(&m, &cursor, q.base + roll((unsigned)size));
            mdc_hot_place(&hot, filter, &cursor, mdc_filter_has_modules(filter) ? &map : NULL, NULL);
        }
        size_t first = roll((unsigned)size), room = size - first;
        size_t last = first + roll(room < 9000 ? (unsigned)room : 9000);
        MINIDUMP_MEMORY_INFO piece = {.BaseAddress = q.base + first,
                                      .RegionSize = last - first + 1,
                                      .State = q.state,
                                      .Protect = q.protect,
                                      .Type = q.type};
        int answer = mdc_match_hot(&hot, &piece, q.mapping_size, q.kinds, name_row[0]);
        if (answer == MDC_MATCH_PART) continue;
        for (size_t k = first; k <= last; k++) REQUIRE(keep[k] == (answer == MDC_MATCH_WHOLE));
        short_ways++;
    }

    uint32_t dead[RULES];
    size_t dead_count = mdc_filter_dead_rules(filter, dead, RULES);
    for (size_t k = 0; k < dead_count; k++)
        for (size_t i = 0; i < size; i++) REQUIRE(who[i] != dead[k]);
    free(rows);
}

/* Every State and Type without unknown bits has a place of its own. */
static void test_places(void) {
    static const uint32_t bits[6] = {0x1000, 0x2000, 0x10000, 0x20000, 0x40000, 0x1000000};
    uint64_t taken = 0;
    for (uint32_t choice = 0; choice < MDC_STATE_WORDS; choice++) {
        uint32_t value = 0;
        for (uint32_t i = 0; i < 6; i++) value |= (choice >> i & 1) * bits[i];
        uint32_t place = mdc_state_place(value & MDC_STATE_KNOWN, value & MDC_TYPE_KNOWN);
        CHECK(place < MDC_STATE_WORDS && (taken >> place & 1) == 0);
        taken |= UINT64_C(1) << place;
    }
}

int main(void) {
    test_places();
    size_t dead_worlds = 0;
    for (check_round = 1; check_round <= 1000; check_round++) {
        static world w;
        mdc_filter *filter = make_world(&w);
        compare(&w, filter);
        dead_worlds += mdc_filter_dead_rules(filter, NULL, 0) > 0;
        mdc_filter_release(filter);
    }
    REQUIRE(dead_worlds > 50 && short_ways > 1000);
    return 0;
}
