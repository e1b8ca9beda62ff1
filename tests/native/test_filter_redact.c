/* Scrubbing in place against the plainest way to do it: patterns that overlap, share beginnings, lie at the edges; and
 * ranges. Every buffer is between guard bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/base/failpoint.h"
#include "../../csrc/filter/redact.h"
#include "check.h"

enum { ROOM = 20000, GUARD = 64, PATTERNS = 300 };

static uint32_t state = 12345;
static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)state * below) >> 32);
}

static mdc_filter_spec plain_spec(void) {
    return (mdc_filter_spec){
        .default_action = MDC_INCLUDE, .threads_default_keep = UINT32_MAX, .modules_default_keep = UINT32_MAX};
}

static uint8_t pool[PATTERNS * 64], text[ROOM], hidden[ROOM];
static mdc_bytes patterns[PATTERNS];
static mdc_pattern_tail tails[PATTERNS];

/* Where an occurrence ends whose tail begins at `at`. */
static size_t naive_end(const mdc_pattern_tail *tail, size_t at, size_t size) {
    size_t unit = tail->wide ? 2 : 1;
    for (uint32_t i = 0; i < tail->up_to; i++, at += unit)
        if (at + unit > size || !(tail->bytes[text[at] / 64] >> (text[at] % 64) & 1) ||
            (unit == 2 && text[at + 1] != 0))
            break;
    return at;
}

/* Marks every occurrence; returns how many extend beyond `fresh`. */
static uint64_t naive(size_t count, size_t size, size_t fresh) {
    uint64_t hits = 0;
    memset(hidden, 0, size);
    for (size_t k = 0; k < count; k++) {
        int twice = 0;
        for (size_t j = 0; j < k; j++)
            twice |= patterns[j].size == patterns[k].size &&
                     memcmp(patterns[j].data, patterns[k].data, patterns[k].size) == 0 &&
                     memcmp(&tails[j], &tails[k], sizeof tails[k]) == 0;
        for (size_t i = 0; !twice && i + patterns[k].size <= size; i++)
            if (memcmp(text + i, patterns[k].data, patterns[k].size) == 0) {
                size_t end = naive_end(&tails[k], i + patterns[k].size, size);
                memset(hidden + i, 1, end - i);
                hits += end > fresh;
            }
    }
    return hits;
}

static void one_round(size_t count, uint32_t longest, uint32_t letters, size_t size) {
    size_t at = 0;
    memset(tails, 0, sizeof tails);
    for (size_t k = 0; k < count && draw(2) == 0; k += 1 + draw(3)) { /* few sets, of which many are shared */
        tails[k].bytes[1] = (uint64_t)(1 + draw(7)) << ('a' - 64);
        tails[k].bytes[0] = draw(2);
        tails[k].up_to = 1 + draw(draw(2) == 0 ? 4 : 300);
        tails[k].wide = draw(2);
    }
    for (size_t k = 0; k < count; k++) {
        patterns[k] = (mdc_bytes){pool + at, 4 + draw(longest - 3)};
        for (size_t i = 0; i < patterns[k].size; i++) pool[at++] = (uint8_t)('a' + draw(letters));
    }
    uint32_t nul = draw(3); /* as UTF-16 has them */
    for (size_t i = 0; i < size; i++) text[i] = (uint8_t)(nul != 0 && i % 2 == nul - 1 ? 0 : 'a' + draw(letters));
    for (size_t i = 0; i < 8 && count > 0; i++) { /* some are there for certain, at the edges too */
        const mdc_bytes *p = &patterns[draw((uint32_t)count)];
        if (p->size > size) continue;
        size_t where = i == 0 ? 0 : i == 1 ? size - p->size : draw((uint32_t)(size - p->size + 1));
        memcpy(text + where, p->data, p->size);
    }
    mdc_filter_spec spec = plain_spec();
    spec.patterns = patterns;
    spec.tails = tails;
    spec.pattern_count = count;
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    CHECK(filter != NULL);
    if (filter == NULL) return;
    size_t fresh = draw(3) == 0 ? draw((uint32_t)size + 1) : 0;
    uint64_t hits = naive(count, size, fresh), bytes = 0;
    uint8_t *block = malloc(size + 2 * GUARD); /* exactly as long as needed: a sanitizer sees a read after it */
    memset(block, 0xA5, GUARD);
    memcpy(block + GUARD, text, size);
    memset(block + GUARD + size, 0xA5, GUARD);
    uint8_t *exact = malloc(size);
    memcpy(exact, text, size);
    mdc_redact_counts counts = {0, 0, 0}, same = {0, 0, 0};
    mdc_redact_patterns(mdc_filter_redactor(filter), block + GUARD, size, fresh, &counts);
    mdc_redact_patterns(mdc_filter_redactor(filter), exact, size, fresh, &same);
    for (size_t i = 0; i < size; i++) {
        bytes += hidden[i] && i >= fresh;
        if (block[GUARD + i] != (hidden[i] ? 'X' : text[i])) {
            CHECK(!"a byte is not as it has to be");
            break;
        }
    }
    CHECK(memcmp(exact, block + GUARD, size) == 0);
    for (size_t i = 0; i < GUARD; i++) CHECK(block[i] == 0xA5 && block[GUARD + size + i] == 0xA5);
    CHECK(counts.hits == hits && counts.bytes == bytes && counts.words == 0);
    free(block);
    free(exact);
    mdc_filter_release(filter);
}

static void test_patterns(void) {
    for (int i = 0; i < 400; i++) one_round(1 + draw(6), 4 + draw(30), 2 + draw(3), 40 + draw(400));
    for (int i = 0; i < 60; i++)
        one_round(1 + draw(PATTERNS - 1), 4 + draw(40), 2 + draw(20), 1000 + draw(ROOM - 1000));
    for (int i = 0; i < 40; i++) one_round(1 + draw(3), 64, 2, 64 + draw(2000));
    for (int i = 0; i < 60; i++) one_round(1 + draw(2), 4, 2, 4 + draw(12)); /* buffers as short as patterns */
}

/* Thousands of long patterns, each found, and a pattern over nearly the whole buffer. */
static void test_many_and_long(void) {
    enum { COUNT = 4096, SIZE = 40 };
    static uint8_t many[COUNT * SIZE], buffer[COUNT * SIZE];
    static mdc_bytes list[COUNT];
    for (size_t i = 0; i < sizeof many; i++) many[i] = (uint8_t)draw(256);
    for (size_t i = 0; i < COUNT; i++) list[i] = (mdc_bytes){many + i * SIZE, SIZE};
    mdc_filter_spec spec = plain_spec();
    spec.patterns = list;
    spec.pattern_count = COUNT;
    spec.fill = MDC_FILL_GIVEN;
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    CHECK(filter != NULL && mdc_filter_hold(filter) == SIZE - 1);
    memcpy(buffer, many, sizeof many);
    mdc_redact_counts counts = {0, 0, 0};
    mdc_redact_patterns(mdc_filter_redactor(filter), buffer, sizeof buffer, 0, &counts);
    CHECK(counts.hits == COUNT && counts.bytes == sizeof buffer);
    for (size_t i = 0; i < sizeof buffer; i++) CHECK(buffer[i] == 0);
    mdc_filter_release(filter);

    spec.pattern_count = 1;
    list[0] = (mdc_bytes){many + 3, MDC_PATTERN_MAX};
    CHECK((filter = mdc_filter_new(&spec, &err)) != NULL && mdc_filter_hold(filter) == MDC_PATTERN_MAX - 1);
    memcpy(buffer, many, sizeof many);
    counts = (mdc_redact_counts){0, 0, 0};
    mdc_redact_patterns(mdc_filter_redactor(filter), buffer, 4100, 0, &counts);
    CHECK(counts.hits == 1 && buffer[2] == many[2] && buffer[3] == 0 && buffer[4098] == 0 &&
          buffer[4099] == many[4099]);
    mdc_filter_release(filter);
}

/* Comparisons of blocks in a buffer of one letter, of patterns that differ in their last bytes only. */
static unsigned long compared(size_t count) {
    enum { COUNT = 800, SAME = 900, SIZE = SAME + 4 };
    static uint8_t many[COUNT * SIZE], buffer[16384];
    static mdc_bytes list[COUNT];
    memset(many, 'A', sizeof many);
    memset(buffer, 'A', sizeof buffer);
    for (size_t i = 0; i < COUNT; i++) {
        many[i * SIZE + SAME] = (uint8_t)('0' + i / 100);
        many[i * SIZE + SAME + 1] = (uint8_t)('0' + i / 10 % 10);
        many[i * SIZE + SAME + 2] = (uint8_t)('0' + i % 10);
        list[i] = (mdc_bytes){many + i * SIZE, SIZE};
    }
    memcpy(buffer + 5000, many + (count - 1) * SIZE, SIZE);
    mdc_filter_spec spec = plain_spec();
    spec.patterns = list;
    spec.pattern_count = count;
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    CHECK(filter != NULL);
    if (filter == NULL) return 0;
    mdc_redact_counts counts = {0, 0, 0};
    mdc_failpoint_set("redact:compare:0:0"); /* only counted */
    mdc_redact_patterns(mdc_filter_redactor(filter), buffer, sizeof buffer, 0, &counts);
    unsigned long passes = mdc_failpoint_passes("redact:compare");
    mdc_failpoint_set("");
    CHECK(counts.hits == 1 && counts.bytes == SIZE);
    mdc_filter_release(filter);
    return passes;
}

/* A target chooses its values: many that begin alike must not make each place of its memory cost as many looks. */
static void test_common_beginnings(void) {
    unsigned long one = compared(1), many = compared(800);
    CHECK(one > 0 && many < 4 * one); /* not 800 times */
}

static void test_ranges(void) {
    static const mdc_range ranges[] = {{0x2000, 0x2010}, {0x1000, 0x1004},    {0x1004, 0x1008},
                                       {0x2008, 0x2020}, {UINT64_MAX - 7, 0}, {0x2004, 0x2006}};
    mdc_filter_spec spec = plain_spec();
    spec.scrub = ranges;
    spec.scrub_count = sizeof ranges / sizeof ranges[0];
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    CHECK(filter != NULL && mdc_filter_hold(filter) == 0);
    const uint64_t bases[] = {0, 0xFF0, 0x1000, 0x1001, 0x1006, 0x1FF8, 0x2004, 0x201F, 0x2020, UINT64_MAX - 15};
    for (size_t b = 0; b < sizeof bases / sizeof bases[0]; b++)
        for (size_t size = 0; size <= 16; size++) {
            uint8_t bytes[18];
            uint64_t changed = 0;
            mdc_redact_counts counts = {0, 0, 0};
            memset(bytes, '.', sizeof bytes);
            mdc_redact_ranges(mdc_filter_redactor(filter), bases[b], bytes + 1, size, 0, &counts);
            CHECK(bytes[0] == '.' && bytes[size + 1] == '.');
            for (size_t i = 0; i < size; i++) {
                uint64_t a = bases[b] + i;
                int inside = (a >= 0x1000 && a < 0x1008) || (a >= 0x2000 && a < 0x2020) || a >= UINT64_MAX - 7;
                CHECK(bytes[i + 1] == (inside ? 'X' : '.'));
                changed += (uint64_t)inside;
            }
            CHECK(counts.bytes == changed);
        }
    mdc_filter_release(filter);
}

static void test_variables(void) {
    static const mdc_bytes keep[] = {{(const uint8_t *)"PATH", 4}, {(const uint8_t *)"LC_*", 4}};
    static const mdc_bytes drop[] = {{(const uint8_t *)"*SECRET*", 8}, {(const uint8_t *)"LC_ALL", 6}};
    mdc_error err;
    for (int how = 0; how < 4; how++) {
        mdc_filter_spec spec = plain_spec();
        spec.environ_keep = keep;
        spec.environ_keep_count = how & 1 ? 2 : 0;
        spec.environ_drop = drop;
        spec.environ_drop_count = how & 2 ? 2 : 0;
        mdc_filter *filter = mdc_filter_new(&spec, &err);
        CHECK(filter != NULL && mdc_filter_redactor(filter) == NULL && mdc_filter_hold(filter) == 0);
        CHECK(mdc_filter_decides_environ(filter) == (how != 0));
        const struct {
            const char *name;
            int with_keep, with_drop;
        } rows[] = {{"PATH", 0, 0}, {"LC_TIME", 0, 0}, {"LC_ALL", 0, 1}, {"HOME", 1, 0}, {"MY_SECRET_KEY", 1, 1}};
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            int hides = ((how & 1) && rows[i].with_keep) || ((how & 2) && rows[i].with_drop);
            CHECK(mdc_filter_hides_variable(filter, (const uint8_t *)rows[i].name, strlen(rows[i].name)) == hides);
        }
        mdc_filter_release(filter);
    }
}

static void refused(mdc_filter_spec spec, const char *why) {
    mdc_error err;
    mdc_filter *filter = mdc_filter_new(&spec, &err);
    CHECK(filter == NULL && err.code == MDC_ERR_FILTER && strstr(err.message, why) != NULL);
    mdc_filter_release(filter);
}

static void test_refusals(void) {
    static const uint8_t bytes[MDC_PATTERN_MAX + 1] = "abcdefgh";
    const mdc_bytes shorter = {bytes, 3}, longer = {bytes, sizeof bytes}, missing = {NULL, 8}, glob = {bytes, 0};
    const mdc_bytes open_set = {(const uint8_t *)"[a", 2};
    const mdc_range empty = {5, 5}, backwards = {6, 5}, nothing = {0, 0};
    (void)glob;
    mdc_filter_spec spec = plain_spec();
    spec.pattern_count = 1;
    spec.patterns = &shorter;
    refused(spec, "pattern 0: it is shorter than 4 bytes");
    spec.patterns = &longer;
    refused(spec, "longer than 4096");
    spec.patterns = &missing;
    refused(spec, "missing");
    spec.patterns = NULL;
    refused(spec, "list of patterns is missing");
    spec.patterns = &shorter;
    spec.pattern_count = MDC_PATTERNS_MAX + 1;
    refused(spec, "4097 patterns");
    spec = plain_spec();
    spec.scrub_count = 1;
    spec.scrub = &empty;
    refused(spec, "range to scrub 0: the range is empty");
    spec.scrub = &nothing;
    refused(spec, "empty");
    spec.scrub = &backwards;
    refused(spec, "backwards");
    spec = plain_spec();
    spec.environ_drop_count = 1;
    spec.environ_drop = &open_set;
    refused(spec, "variable to drop 0");
    spec = plain_spec();
    spec.sanitize_stacks = 2;
    refused(spec, "sanitize_stacks");
    spec = plain_spec();
    spec.fill = 0x41;
    refused(spec, "fill");
}

int main(void) {
    test_patterns();
    test_many_and_long();
    test_common_beginnings();
    test_ranges();
    test_variables();
    test_refusals();
    return failures != 0;
}
