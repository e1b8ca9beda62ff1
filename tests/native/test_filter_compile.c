/* What compiling costs and refuses: a million ranges within the stated bytes per interval, overlap that cannot blow
 * up, a million globs, every kind of malformed rule with its number, rules that later ones hide. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/api/filter.h"
#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/filter/intervals.h"
#include "../../csrc/filter/match.h"
#include "check.h"

#ifdef __SANITIZE_ADDRESS__
enum { MANY = 100000 }; /* the same code with fewer: what a million cost is shown without it */
#else
enum { MANY = 1000000 };
#endif
/* The promise of filter/intervals.h for ranges without further conditions. */
enum { BYTES_PER_INTERVAL = 12, BYTES_CONSTANT = 32768 };

static mdc_rule *rules;
static mdc_error err;

static mdc_filter *compile(size_t count) {
    mdc_filter_spec spec = {.rules = rules, .rule_count = count, .default_action = MDC_INCLUDE};
    return mdc_filter_new(&spec, &err);
}

static mdc_rule range(uint64_t first, uint64_t end, uint32_t action) {
    return (mdc_rule){.action = action, .fields = MDC_RULE_RANGE, .range = {first, end}};
}

/* The rule that decides about one byte. */
static uint32_t rule_at(const mdc_filter *filter, uint64_t address) {
    uint64_t *row = calloc((size_t)mdc_filter_words(filter) + 1, sizeof *row);
    mdc_filter_name_row(filter, false, NULL, 0, row);
    mdc_question q = {.base = address,
                      .last = address,
                      .mapping_base = address,
                      .mapping_size = 4096,
                      .state = MDC_MEM_COMMIT,
                      .protect = MDC_PAGE_READWRITE,
                      .type = MDC_MEM_PRIVATE,
                      .kinds = MDC_KIND_ANONYMOUS,
                      .name_row = row};
    mdc_matcher matcher;
    mdc_cursor cursor = {.interval = 0, .module = 0};
    mdc_match_begin(&matcher, filter, &q);
    uint32_t rule = mdc_match_step(&matcher, &cursor, address).rule;
    free(row);
    return rule;
}

static void disjoint(void) {
    for (size_t i = 0; i < MANY; i++) {
        size_t shuffled = (i * 7368787) % MANY; /* coprime: a permutation */
        rules[i] = range(0x10000 + shuffled * 0x3000, 0x10000 + shuffled * 0x3000 + 0x1000, (uint32_t)(i & 1));
    }
    mdc_filter *filter = compile(MANY);
    REQUIRE(filter != NULL && mdc_filter_intervals(filter) == 2 * (uint64_t)MANY + 1);
    REQUIRE(mdc_filter_bytes(filter) <= BYTES_PER_INTERVAL * mdc_filter_intervals(filter) + BYTES_CONSTANT);
    REQUIRE(mdc_filter_dead_rules(filter, NULL, 0) == 0);
    for (size_t i = 0; i < MANY; i += 997) {
        REQUIRE(rule_at(filter, rules[i].range.first) == i && rule_at(filter, rules[i].range.end - 1) == i);
        REQUIRE(rule_at(filter, rules[i].range.end) == MANY && rule_at(filter, rules[i].range.first - 1) == MANY);
    }
    mdc_filter_release(filter);
}

/* Nested ranges, each later one inside the earlier: as much overlap as there can be. */
static void nested(void) {
    for (size_t i = 0; i < MANY; i++)
        rules[i] = range(0x10000 + i, 0x10000 + 4 * (uint64_t)MANY - i, (uint32_t)(i & 1));
    mdc_filter *filter = compile(MANY);
    REQUIRE(filter != NULL && mdc_filter_intervals(filter) == 2 * (uint64_t)MANY + 1);
    REQUIRE(mdc_filter_bytes(filter) <= BYTES_PER_INTERVAL * mdc_filter_intervals(filter) + BYTES_CONSTANT);
    REQUIRE(rule_at(filter, 0x10000 + 500) == 500 && rule_at(filter, 0x10000 + 2 * MANY) == MANY - 1);
    mdc_filter_release(filter);
    /* The other way round the last one hides all others. */
    for (size_t i = 0; i < MANY; i++) rules[i] = range(0x10000000 - i, 0x20000000 + i, (uint32_t)(i & 1));
    filter = compile(MANY);
    REQUIRE(filter != NULL && mdc_filter_intervals(filter) == 3);
    REQUIRE(mdc_filter_dead_rules(filter, NULL, 0) == MANY - 1);
    mdc_filter_release(filter);
    /* With conditions there are as many lists as intervals, but they are short. */
    for (size_t i = 0; i < MANY; i++) {
        rules[i] = range(0x10000 + i, 0x10000 + 4 * (uint64_t)MANY - i, (uint32_t)(i & 1));
        rules[i].fields |= MDC_RULE_TYPE;
        rules[i].type = i % 3 ? MDC_MEM_PRIVATE : MDC_MEM_IMAGE;
    }
    filter = compile(MANY);
    REQUIRE(filter != NULL && mdc_filter_bytes(filter) <= 36 * mdc_filter_intervals(filter) + BYTES_CONSTANT);
    REQUIRE(rule_at(filter, 0x10000 + 500) == 500 && rule_at(filter, 0x10000 + 501) == 500);
    mdc_filter_release(filter);
}

/* Every rule with conditions of its own, all alive at one place: lists as long as the rules are many. */
static void pathological(void) {
    size_t count = 100000;
    for (size_t i = 0; i < count; i++) {
        rules[i] = range(0x10000 + i, 0x10000 + 4 * (uint64_t)count - i, MDC_EXCLUDE);
        rules[i].fields |= MDC_RULE_SIZE;
        rules[i].min_size = i;
        rules[i].max_size = UINT64_MAX - 1;
    }
    REQUIRE(compile(count) == NULL && err.code == MDC_ERR_FILTER && err.index >= 0 && (size_t)err.index < count);
    /* A hundred of them are nothing special. */
    mdc_filter *filter = compile(100);
    REQUIRE(filter != NULL && rule_at(filter, 0x10000 + 99) == 99);
    mdc_filter_release(filter);
}

static void many_globs(void) {
    static char text[MANY][12];
    for (size_t i = 0; i < MANY; i++) {
        int size = snprintf(text[i], sizeof text[i], "*/%zx", i);
        rules[i] = (mdc_rule){
            .action = MDC_EXCLUDE, .fields = MDC_RULE_NAME, .name = {(const uint8_t *)text[i], (size_t)size}};
    }
    mdc_filter *filter = compile(MANY);
    REQUIRE(filter != NULL);
    /* Rows for 336 combinations at a bit each, code, pattern: no table per glob. */
    REQUIRE(mdc_filter_bytes(filter) < 96 * (uint64_t)MANY);
    uint64_t *row = calloc(mdc_filter_words(filter), sizeof *row);
    mdc_filter_name_row(filter, false, (const uint8_t *)"/tmp/abc", 8, row);
    size_t bits = 0;
    for (uint32_t w = 0; w < mdc_filter_words(filter); w++) bits += (size_t)__builtin_popcountll(row[w]);
    REQUIRE(bits == 1);
    free(row);
    mdc_filter_release(filter);
}

typedef struct bad_rule {
    mdc_rule rule;
    const char *word; /* in the message */
} bad_rule;

static void malformed(void) {
    const uint8_t *open = (const uint8_t *)"[abc";
    const bad_rule bad[] = {
        {{.action = 3}, "action"},
        {{.fields = 0x200}, "fields"},
        {{.action = MDC_HEAD}, "head"},
        {{.fields = MDC_RULE_RANGE, .range = {5, 5}}, "empty"},
        {{.fields = MDC_RULE_RANGE, .range = {6, 5}}, "backwards"},
        {{.fields = MDC_RULE_STATE}, "state"},
        {{.fields = MDC_RULE_STATE, .state = 1}, "state"},
        {{.fields = MDC_RULE_TYPE}, "type"},
        {{.fields = MDC_RULE_TYPE, .type = MDC_MEM_IMAGE | 1}, "type"},
        {{.fields = MDC_RULE_PROTECT_ANY}, "protection"},
        {{.fields = MDC_RULE_PROTECT_ANY, .protect_any = 0x800}, "protection"},
        {{.fields = MDC_RULE_PROTECT_ALL}, "access"},
        {{.fields = MDC_RULE_PROTECT_ALL, .protect_all = 8}, "access"},
        {{.fields = MDC_RULE_PROTECT_ALL | MDC_RULE_PROTECT_ANY, .protect_all = MDC_ACCESS_WRITE, .protect_any = 2},
         "both"},
        {{.fields = MDC_RULE_KIND}, "kind"},
        {{.fields = MDC_RULE_KIND, .kinds = 0x80}, "kind"},
        {{.fields = MDC_RULE_SIZE, .min_size = 2, .max_size = 1}, "min_size"},
        {{.fields = MDC_RULE_SIZE, .min_size = 0, .max_size = 0}, "max_size"},
        {{.fields = MDC_RULE_MODULE, .module = {open, 4}}, "["},
        {{.fields = MDC_RULE_NAME, .name = {open, 4}}, "["},
        {{.fields = MDC_RULE_NAME, .name = {NULL, 4}}, "missing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rules[0] = range(1, 2, MDC_INCLUDE);
        rules[1] = (mdc_rule){.action = MDC_EXCLUDE};
        rules[2] = bad[i].rule;
        REQUIRE(compile(2 + 1) == NULL && err.code == MDC_ERR_FILTER && err.phase == MDC_PHASE_COMPILE);
        REQUIRE(err.index == 2 && strstr(err.message, bad[i].word) != NULL);
    }
    /* The same values unstated do no harm. */
    rules[0] = (mdc_rule){.action = MDC_INCLUDE, .range = {6, 5}, .state = 1, .max_size = 0};
    mdc_filter *filter = compile(1);
    REQUIRE(filter != NULL);
    mdc_filter_release(filter);

    const mdc_range empty = {7, 7}, nothing = {0, 0}, backwards = {9, 8}, whole = {1, 0};
    const mdc_range *lists[] = {&empty, &nothing, &backwards};
    for (size_t i = 0; i < 3; i++) {
        mdc_filter_spec add = {.memory_add = lists[i], .memory_add_count = 1};
        mdc_filter_spec take = {.memory_remove = lists[i], .memory_remove_count = 1};
        REQUIRE(mdc_filter_new(&add, &err) == NULL && err.code == MDC_ERR_FILTER && err.index == 0);
        REQUIRE(mdc_filter_new(&take, &err) == NULL && err.code == MDC_ERR_FILTER && err.index == 0);
    }
    mdc_filter_spec fine = {.memory_remove = &whole, .memory_remove_count = 1};
    filter = mdc_filter_new(&fine, &err);
    REQUIRE(filter != NULL && rule_at(filter, 0) == 0 && mdc_filter_intervals(filter) == 2);
    mdc_filter_release(filter);
    mdc_module_rule module = {.glob = {open, 4}};
    const mdc_filter_spec specs[] = {
        {.default_action = MDC_HEAD},
        {.tolerate_read_failures = 2},
        {.nocase = 2},
        {.secondary_flags = 2},
        {.modules = &module, .module_count = 1},
        {.rule_count = 1},
        {.rules = rules, .rule_count = SIZE_MAX / 2},
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        REQUIRE(mdc_filter_new(&specs[i], &err) == NULL && err.code == MDC_ERR_FILTER);
}

static void hidden(void) {
    rules[0] = range(0x1000, 0x2000, MDC_EXCLUDE);                         /* by 6, without a range */
    rules[1] = (mdc_rule){.fields = MDC_RULE_TYPE, .type = MDC_MEM_IMAGE}; /* by 4: same conditions */
    rules[2] = range(0x5000, 0x7000, MDC_INCLUDE);                         /* by 7 and 8 together */
    rules[3] = range(0x5000, 0x8000, MDC_INCLUDE);                         /* half hidden: lives */
    rules[4] = (mdc_rule){.action = MDC_EXCLUDE, .fields = MDC_RULE_TYPE, .type = MDC_MEM_IMAGE};
    rules[5] = range(0x9000, 0xA000, MDC_INCLUDE); /* by 9: same, wider */
    rules[5].fields |= MDC_RULE_KIND;
    rules[5].kinds = MDC_KIND_HEAP;
    rules[6] = range(0x1000, 0x2000, MDC_EXCLUDE);
    rules[7] = range(0x5000, 0x6000, MDC_EXCLUDE);
    rules[8] = range(0x6000, 0x7000, MDC_EXCLUDE);
    rules[9] = (mdc_rule){.fields = MDC_RULE_KIND, .kinds = MDC_KIND_HEAP};
    uint32_t dead[10];
    mdc_filter *filter = compile(10);
    REQUIRE(filter != NULL && mdc_filter_dead_rules(filter, dead, 10) == 4);
    REQUIRE(dead[0] == 0 && dead[1] == 1 && dead[2] == 2 && dead[3] == 5);
    mdc_filter_release(filter);
    rules[4].action = MDC_INCLUDE; /* does not hide 1, which meets types in doubt as well */
    filter = compile(10);
    REQUIRE(filter != NULL && mdc_filter_dead_rules(filter, dead, 10) == 3);
    REQUIRE(dead[0] == 0 && dead[1] == 2 && dead[2] == 5);
    mdc_filter_release(filter);
    rules[10] = (mdc_rule){.action = MDC_INCLUDE}; /* hides all */
    filter = compile(11);
    REQUIRE(filter != NULL && mdc_filter_dead_rules(filter, dead, 3) == 10 && mdc_filter_intervals(filter) == 1);
    mdc_filter_release(filter);
}

static void shared(void) {
    rules[0] = range(0x1000, 0x2000, MDC_EXCLUDE);
    mdc_filter *filter = compile(1);
    REQUIRE(mdc_filter_retain(filter) == filter);
    mdc_filter_release(filter);
    REQUIRE(rule_at(filter, 0x1000) == 0); /* still there: a sanitizer sees it if not */
    mdc_filter_release(filter);
    mdc_filter_release(NULL);
    REQUIRE(mdc_filter_retain(NULL) == NULL);
}

int main(void) {
    rules = calloc(MANY, sizeof *rules);
    REQUIRE(rules != NULL);
    disjoint();
    nested();
    pathological();
    many_globs();
    malformed();
    hidden();
    shared();
    free(rules);
    return 0;
}
