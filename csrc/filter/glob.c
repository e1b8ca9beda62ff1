/* The glob matcher (see glob.h). */
#include "glob.h"

#include <string.h>

#include "bits.h"

/* One element of a pattern, parsed in place. */
typedef struct element {
    size_t begin; /* of a set: after the `[` or `[!` */
    size_t end;   /* of a set: its `]`; the next element begins after it */
    uint8_t kind; /* '*', '?', '[', or 0 for a literal */
    uint8_t literal;
    bool negated;
} element;

typedef struct matcher {
    const uint8_t *pattern;
    const uint8_t *text;
    size_t text_size;
    bool nocase;
} matcher;

static uint8_t fold(uint8_t c, bool nocase) {
    if (!nocase) return c;
    if (c >= 'A' && c <= 'Z') return (uint8_t)(c + ('a' - 'A'));
    return c == '\\' ? '/' : c;
}

/* The element at pattern[at], and where the next one begins; `size` itself if a set does not end. */
static size_t take(const uint8_t *pattern, size_t size, size_t at, element *e) {
    uint8_t c = pattern[at];
    *e = (element){.kind = 0, .literal = c};
    if (c == '*' || c == '?') {
        e->kind = c;
        return at + 1;
    }
    if (c != '[') return at + 1;
    e->kind = '[';
    e->begin = at + 1;
    if (e->begin < size && pattern[e->begin] == '!') {
        e->negated = true;
        e->begin++;
    }
    e->end = e->begin + 1; /* a `]` that comes first is a member */
    while (e->end < size && pattern[e->end] != ']') e->end++;
    return e->end < size ? e->end + 1 : size;
}

/* Members of a set, one after the other: first and last byte. */
static size_t take_member(const uint8_t *pattern, size_t end, size_t at, uint8_t *first, uint8_t *last) {
    *first = *last = pattern[at];
    if (at + 2 < end && pattern[at + 1] == '-') {
        *last = pattern[at + 2];
        return at + 3;
    }
    return at + 1;
}

const char *mdc_glob_check(const uint8_t *pattern, size_t size) {
    if (size > MDC_GLOB_PATTERN_MAX) return "the pattern is longer than 4096 bytes";
    for (size_t at = 0; at < size;) {
        element e;
        size_t next = take(pattern, size, at, &e);
        if (e.kind == '[') {
            if (e.end >= size) return "a `[` without `]` (write `[[]` for the character itself)";
            uint8_t first, last;
            for (size_t i = e.begin; i < e.end;) {
                i = take_member(pattern, e.end, i, &first, &last);
                if (first > last) return "a range in `[...]` runs backwards";
            }
        }
        at = next;
    }
    return NULL;
}

/* Whether the set holds c, which is folded already. */
static bool set_has(const matcher *m, const element *e, uint8_t c) {
    bool found = false;
    for (size_t i = e->begin; i < e->end && !found;) {
        uint8_t first, last;
        i = take_member(m->pattern, e->end, i, &first, &last);
        found = c >= first && c <= last;
        if (m->nocase && !found) {
            if (c >= 'a' && c <= 'z') {
                uint8_t upper = (uint8_t)(c - ('a' - 'A'));
                found = upper >= first && upper <= last;
            } else if (c == '/') {
                found = first <= '\\' && '\\' <= last;
            }
        }
    }
    return found != e->negated;
}

static bool element_matches(const matcher *m, const element *e, uint8_t c) {
    if (e->kind == '?') return true;
    if (e->kind == '[') return set_has(m, e, c);
    return fold(e->literal, m->nocase) == c;
}

/* Elements pattern[from, to) without a star against the text at `at`, which has bytes enough. */
static bool piece_matches(const matcher *m, size_t from, size_t to, size_t at) {
    while (from < to) {
        element e;
        from = take(m->pattern, to, from, &e);
        if (!element_matches(m, &e, fold(m->text[at++], m->nocase))) return false;
    }
    return true;
}

/* table[c]: which of the next (at most 64) elements accept the byte c of the text. Returns where the next
 * block begins; *count is how many elements were taken. */
static size_t block_table(const matcher *m, size_t from, size_t to, uint64_t table[256], uint32_t *count) {
    memset(table, 0, 256 * sizeof table[0]);
    uint64_t any = 0;
    uint32_t n = 0;
    while (from < to && n < 64) {
        element e;
        from = take(m->pattern, to, from, &e);
        uint64_t bit = UINT64_C(1) << n++;
        if (e.kind == '?') {
            any |= bit;
        } else if (e.kind == 0 && !m->nocase) {
            table[e.literal] |= bit;
        } else {
            for (unsigned c = 0; c < 256; c++)
                if (element_matches(m, &e, fold((uint8_t)c, m->nocase))) table[c] |= bit;
        }
    }
    if (any != 0)
        for (unsigned c = 0; c < 256; c++) table[c] |= any;
    *count = n;
    return from;
}

#define NOT_FOUND SIZE_MAX

/* A piece of more than 64 elements: `reached` has a bit for every place in the text the blocks so far can end at. */
static size_t search_long(const matcher *m, size_t from, size_t to, size_t at, uint64_t table[256]) {
    uint64_t reached[MDC_GLOB_TEXT_MAX / 64 + 1];
    uint32_t places = (uint32_t)(m->text_size - at) + 1;
    memset(reached, 0xFF, sizeof reached[0] * ((places + 63) / 64));
    while (from < to) {
        uint32_t count;
        from = block_table(m, from, to, table, &count);
        uint64_t state = 0, last = UINT64_C(1) << (count - 1);
        uint64_t enter = (uint64_t)mdc_test_bit(reached, 0);
        mdc_clear_bit(reached, 0);
        for (uint32_t i = 0; i + 1 < places; i++) {
            state = (state << 1 | enter) & table[m->text[at + i]];
            enter = (uint64_t)mdc_test_bit(reached, i + 1);
            if (state & last)
                mdc_set_bit(reached, i + 1);
            else
                mdc_clear_bit(reached, i + 1);
        }
    }
    for (uint32_t i = 0; i < places; i++)
        if (mdc_test_bit(reached, i)) return at + i;
    return NOT_FOUND;
}

/* Where the leftmost match of pattern[from, to) (no star in it) at or after text[at] ends. */
static size_t search(const matcher *m, size_t from, size_t to, size_t elements, size_t at) {
    uint64_t table[256];
    if (elements > m->text_size - at) return NOT_FOUND;
    if (elements > 64) return search_long(m, from, to, at, table);
    uint32_t count;
    block_table(m, from, to, table, &count);
    uint64_t state = 0, last = UINT64_C(1) << (count - 1);
    for (size_t i = at; i < m->text_size; i++) {
        state = (state << 1 | 1) & table[m->text[i]];
        if (state & last) return i + 1;
    }
    return NOT_FOUND;
}

size_t mdc_glob_least(const uint8_t *pattern, size_t size) {
    size_t least = 0;
    for (size_t at = 0; at < size;) {
        element e;
        at = take(pattern, size, at, &e);
        least += e.kind != '*';
    }
    return least;
}

bool mdc_glob_match(const uint8_t *pattern, size_t pattern_size, bool nocase, const uint8_t *text, size_t text_size) {
    if (text_size > MDC_GLOB_TEXT_MAX) return false;
    matcher m = {.pattern = pattern, .text = text, .text_size = text_size, .nocase = nocase};
    /* The piece before the first star and the one after the last must match at the ends of the text. */
    size_t first_star = pattern_size, tail = 0, head_elements = 0, tail_elements = 0;
    for (size_t at = 0; at < pattern_size;) {
        element e;
        size_t next = take(pattern, pattern_size, at, &e);
        if (e.kind == '*') {
            if (first_star == pattern_size) {
                first_star = at;
                head_elements = tail_elements;
            }
            tail = next;
            tail_elements = 0;
        } else {
            tail_elements++;
        }
        at = next;
    }
    if (first_star == pattern_size) return tail_elements == text_size && piece_matches(&m, 0, pattern_size, 0);
    if (head_elements + tail_elements > text_size) return false;
    if (!piece_matches(&m, 0, first_star, 0)) return false;
    if (!piece_matches(&m, tail, pattern_size, text_size - tail_elements)) return false;

    m.text_size -= tail_elements;
    size_t reached = head_elements, from = first_star, elements = 0;
    for (size_t at = first_star; at < tail;) {
        element e;
        size_t next = take(pattern, pattern_size, at, &e);
        if (e.kind == '*') {
            if (elements > 0) {
                reached = search(&m, from, at, elements, reached);
                if (reached == NOT_FOUND) return false;
            }
            from = next;
            elements = 0;
        } else {
            elements++;
        }
        at = next;
    }
    return true;
}
