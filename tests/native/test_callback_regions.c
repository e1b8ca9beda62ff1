/* IncludeVmRegion and Module as an engine sees them: facts or none, asked again or not, modules in any order, more
 * names and modules than there is room for, and the accounting afterwards, which must add up to the answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/callback/callback_rule_stats.h"
#include "../../csrc/callback/redaction.h"
#include "check.h"

#define PAGE UINT64_C(4096)

static mdc_error err;
static uint64_t state = 0xD1B54A32D192ED03u;
static unsigned roll(unsigned bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % bound;
}

typedef struct region {
    MINIDUMP_MEMORY_INFO info;
    mdc_region_facts facts;
} region;

static region region_of(uint64_t base, uint64_t size, uint32_t kinds, const char *name, uint32_t name_id) {
    region r = {.info = {.BaseAddress = base,
                         .AllocationBase = base,
                         .RegionSize = size,
                         .State = MDC_MEM_COMMIT,
                         .Protect = MDC_PAGE_READWRITE,
                         .Type = MDC_MEM_PRIVATE},
                .facts = {.Size = sizeof(mdc_region_facts),
                          .Version = 1,
                          .MappingBase = base,
                          .MappingSize = size,
                          .Name = (const uint8_t *)name,
                          .NameSize = name == NULL ? 0 : (uint32_t)strlen(name),
                          .NameId = name_id,
                          .Kinds = kinds}};
    return r;
}

static mdc_callback *callback_of(const mdc_filter_spec *spec, const mdc_callback_options *options,
                                 uint32_t extensions) {
    mdc_filter *filter = mdc_filter_new(spec, &err);
    if (filter == NULL) fprintf(stderr, "%s\n", err.message);
    REQUIRE(filter != NULL);
    mdc_callback *callback = mdc_callback_new(filter, options, &err);
    REQUIRE(callback != NULL);
    mdc_filter_release(filter);
    REQUIRE(mdc_callback_set_host(callback, extensions, &err) == MDC_OK);
    return callback;
}

static void finish(mdc_callback *callback) { REQUIRE(mdc_callback_free(callback, &err) == MDC_OK); }

/* One question. Without facts the input holds garbage that must not be looked at. */
static MINIDUMP_MEMORY_INFO ask(mdc_callback *callback, const region *r, int facts) {
    MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&input, 0xEE, sizeof input);
    memset(&output, 0xEE, sizeof output);
    input.CallbackType = MDC_CB_INCLUDE_VM_REGION;
    if (facts) input.u.RegionFacts = r->facts;
    output.Region.VmRegion = r->info;
    output.Region.Continue = 0;
    REQUIRE(mdc_callback_routine(callback, &input, &output) == 1 && output.Region.Continue == 1);
    MINIDUMP_MEMORY_INFO answer = output.Region.VmRegion, same = answer;
    same.BaseAddress = r->info.BaseAddress;
    same.RegionSize = r->info.RegionSize;
    REQUIRE(memcmp(&same, &r->info, sizeof same) == 0); /* base and size are all that may change */
    if (answer.RegionSize != 0) {
        REQUIRE(answer.BaseAddress >= r->info.BaseAddress);
        REQUIRE(answer.BaseAddress - r->info.BaseAddress + answer.RegionSize <= r->info.RegionSize);
    }
    return answer;
}

static void tell_module(mdc_callback *callback, uint64_t base, uint32_t size, const uint16_t *path, uint32_t *flags) {
    MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&input, 0, sizeof input);
    memset(&output, 0, sizeof output);
    input.CallbackType = MDC_CB_MODULE;
    input.u.Module.FullPath = path;
    input.u.Module.BaseOfImage = base;
    input.u.Module.SizeOfImage = size;
    output.ModuleWriteFlags = 0x4D;
    REQUIRE(mdc_callback_routine(callback, &input, &output) == 1);
    if (flags != NULL) *flags = output.ModuleWriteFlags;
}

static void tell_start(mdc_callback *callback) {
    MINIDUMP_CALLBACK_INPUT input;
    MINIDUMP_CALLBACK_OUTPUT output;
    memset(&input, 0xEE, sizeof input);
    input.CallbackType = MDC_CB_VM_START;
    REQUIRE(mdc_callback_routine(callback, &input, &output) == 1);
}

static const uint16_t *utf16(const char *text) {
    static uint16_t units[256];
    size_t i = 0;
    for (; text[i] != 0; i++)
        units[i] = (uint8_t)text[i] < 0x80 ? (uint8_t)text[i] : (uint16_t)(0xDC00 + (uint8_t)text[i]);
    units[i] = 0;
    return units;
}

static mdc_bytes bytes(const char *text) { return (mdc_bytes){(const uint8_t *)text, strlen(text)}; }

static const mdc_filter_spec everything = {
    .default_action = MDC_INCLUDE, .threads_default_keep = UINT32_MAX, .modules_default_keep = UINT32_MAX};

/* A excluded gap in the middle: asked again, or the longest part. */
static void gaps(void) {
    const mdc_rule rules[] = {{.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {0x12010, 0x12020}},
                              {.action = MDC_EXCLUDE, .fields = MDC_RULE_RANGE, .range = {0x17000, 0x18000}}};
    mdc_filter_spec spec = everything;
    spec.rules = rules;
    spec.rule_count = 2;
    region r = region_of(0x10000, 0x9000, MDC_KIND_ANONYMOUS, NULL, 0);
    mdc_callback *callback = callback_of(&spec, NULL, 0);
    MINIDUMP_MEMORY_INFO answer = ask(callback, &r, 0);
    REQUIRE(answer.BaseAddress == 0x13000 && answer.RegionSize == 0x4000);
    REQUIRE(mdc_callback_read_counters(callback).narrowed == 1);
    /* The hull where reads are shown; here they are not shown, and the file is checked instead. */
    tell_start(callback);
    answer = ask(callback, &r, 0);
    REQUIRE(answer.BaseAddress == r.info.BaseAddress && answer.RegionSize == r.info.RegionSize);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_ERR_CALLBACK && err.address == 0x12000);
    REQUIRE(err.callback_type == MDC_CB_VM_POST_READ);
    mdc_callback_settle(callback);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
    REQUIRE(mdc_callback_set_host(callback, MDC_EXT_RESUBMIT | MDC_EXT_REGION_FACTS | MDC_EXT_PIECES, &err) == MDC_OK);
    static const uint64_t parts[][2] = {{0x10000, 0x2000}, {0x13000, 0x4000}, {0x18000, 0x1000}};
    uint64_t base = 0x10000;
    for (size_t i = 0; i < 3; i++) {
        r.info.BaseAddress = base; /* what is left; the mapping in the facts stays */
        r.info.RegionSize = 0x19000 - base;
        for (int twice = 0; twice < 2; twice++) {
            answer = ask(callback, &r, 1);
            REQUIRE(answer.BaseAddress == parts[i][0] && answer.RegionSize == parts[i][1]);
        }
        base = answer.BaseAddress + answer.RegionSize;
    }
    /* Pieces are byte exact. */
    r = region_of(0x12000, 0x30, MDC_KIND_STACK, NULL, 0);
    r.facts.Flags = MDC_FACT_PIECE;
    answer = ask(callback, &r, 1);
    REQUIRE(answer.BaseAddress == 0x12000 && answer.RegionSize == 0x10);
    r.info.BaseAddress = 0x12010;
    r.info.RegionSize = 0x20;
    answer = ask(callback, &r, 1);
    REQUIRE(answer.BaseAddress == 0x12020 && answer.RegionSize == 0x10);
    r.info.BaseAddress = 0x12014;
    r.info.RegionSize = 8;
    REQUIRE(ask(callback, &r, 1).RegionSize == 0 && mdc_callback_read_counters(callback).excluded == 1);
    r.info.RegionSize = 0; /* nothing asked, nothing answered */
    REQUIRE(ask(callback, &r, 1).RegionSize == 0);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
    finish(callback);
}

/* Size rules and heads look at the mapping, not at the remainder; without facts the region is the mapping. */
static void mappings(void) {
    const mdc_rule rules[] = {
        {.action = MDC_EXCLUDE, .fields = MDC_RULE_SIZE, .min_size = 0x8000, .max_size = UINT64_MAX},
        {.action = MDC_HEAD, .fields = MDC_RULE_KIND, .kinds = MDC_KIND_FILE, .head_bytes = 0x2800}};
    mdc_filter_spec spec = everything;
    spec.rules = rules;
    spec.rule_count = 2;
    mdc_callback *callback = callback_of(&spec, NULL, MDC_EXT_RESUBMIT | MDC_EXT_REGION_FACTS);
    region r = region_of(0x10000, 0x8000, MDC_KIND_ANONYMOUS, NULL, 0);
    r.info.BaseAddress = 0x14000;
    r.info.RegionSize = 0x1000;
    REQUIRE(ask(callback, &r, 1).RegionSize == 0);
    r.facts.Kinds = MDC_KIND_FILE | MDC_KIND_SHARED;
    REQUIRE(ask(callback, &r, 1).RegionSize == 0); /* after the head */
    r.info.BaseAddress = 0x11000;
    r.info.RegionSize = 0x5000;
    REQUIRE(ask(callback, &r, 1).BaseAddress == 0x11000 && ask(callback, &r, 1).RegionSize == 0x1000); /* whole pages */
    REQUIRE(mdc_callback_set_host(callback, 0, &err) == MDC_OK);
    REQUIRE(ask(callback, &r, 0).RegionSize == 0x5000);
    r.info.Type = MDC_MEM_MAPPED;
    REQUIRE(ask(callback, &r, 0).RegionSize == 0x2000);
    /* Facts of an unknown shape: not used, and the dump is told. */
    REQUIRE(mdc_callback_set_host(callback, MDC_EXT_REGION_FACTS, &err) == MDC_OK);
    r.facts.Size -= 8;
    r.facts.Kinds = MDC_KIND_ANONYMOUS; /* would be excluded by its size */
    for (int twice = 0; twice < 2; twice++) REQUIRE(ask(callback, &r, 1).RegionSize == 0x2000);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_ERR_CALLBACK && err.callback_type == MDC_CB_INCLUDE_VM_REGION);
    finish(callback);
}

static void names(void) {
    static char many[300][16];
    const mdc_rule rules[] = {{.action = MDC_EXCLUDE, .fields = MDC_RULE_NAME, .name = {NULL, 0}},
                              {.action = MDC_EXCLUDE, .fields = MDC_RULE_NAME, .name = bytes("/data/*7")}};
    mdc_filter_spec spec = everything;
    spec.rules = rules;
    spec.rule_count = 2;
    const mdc_callback_options options = {.name_capacity = 20};
    mdc_callback *callback = callback_of(&spec, &options, MDC_EXT_RESUBMIT | MDC_EXT_REGION_FACTS);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 300; i++) {
            snprintf(many[i], sizeof many[i], "/data/%u", i + (uint32_t)round);
            region r = region_of(0x10000, PAGE, MDC_KIND_FILE, many[i], i + 1);
            REQUIRE((ask(callback, &r, 1).RegionSize == 0) == ((i + (uint32_t)round) % 10 == 7));
            /* Remembered by number, as far as there is room: the text is not looked at again. */
            if (i < 20) {
                r.facts.Name = NULL;
                r.facts.NameSize = 0;
                REQUIRE((ask(callback, &r, 1).RegionSize == 0) == ((i + (uint32_t)round) % 10 == 7));
            }
        }
        region none = region_of(0x10000, PAGE, MDC_KIND_ANONYMOUS, NULL, 0);
        REQUIRE(ask(callback, &none, 1).RegionSize == 0); /* the empty pattern is for mappings without a name */
        REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
        REQUIRE(mdc_callback_reset(callback, &err) == MDC_OK); /* the numbers of the next dump are its own */
    }
    finish(callback);
}

static void modules(void) {
    const mdc_rule rules[] = {
        {.action = MDC_INCLUDE, .fields = MDC_RULE_MODULE, .module = bytes("*/libapp*.so*")},
        {.action = MDC_INCLUDE, .fields = MDC_RULE_MODULE, .module = bytes("/odd/\xff\xfe*")},
        {.action = MDC_INCLUDE,
         .fields = MDC_RULE_MODULE | MDC_RULE_KIND,
         .module = bytes("*big*"),
         .kinds = MDC_KIND_HEAP},
    };
    const mdc_module_rule listed[] = {{.glob = bytes("*libapp*"), .keep = 0x05},
                                      {.glob = bytes("*secret*"), .keep = 0}};
    mdc_filter_spec spec = everything;
    spec.rules = rules;
    spec.rule_count = 3;
    spec.default_action = MDC_EXCLUDE;
    spec.modules = listed;
    spec.module_count = 2;
    mdc_callback *callback = callback_of(&spec, NULL, MDC_EXT_RESUBMIT | MDC_EXT_REGION_FACTS);
    uint32_t flags;
    /* Not in order; one inside another; one of no bytes; one late, after the first question. */
    tell_module(callback, 0x50000, 0x4000, utf16("/lib/libapp-2.so"), &flags);
    REQUIRE(flags == 0x05);
    tell_module(callback, 0x10000, 0x8000, utf16("/lib/big"), &flags);
    REQUIRE(flags == 0x4D);
    tell_module(callback, 0x12000, 0x2000, utf16("/opt/libapp.so.1"), NULL);
    tell_module(callback, 0x30000, 0x1000, utf16("/odd/\xff\xfe\x80"), NULL);
    tell_module(callback, 0x40000, 0, utf16("/lib/libapp.so"), NULL);
    tell_module(callback, 0x60000, 0x1000, utf16("/lib/libsecret.so"), &flags);
    REQUIRE(flags == 0);
    for (int round = 0; round < 2; round++) {
        static const uint64_t cases[][4] = {/* region, size, kept from, kept size */
                                            {0x10000, 0x1000, 0, 0}, {0x10000, 0x8000, 0x12000, 0x2000},
                                            {0x14000, 0x1000, 0, 0}, {0x30000, 0x1000, 0x30000, 0x1000},
                                            {0x40000, 0x1000, 0, 0}, {0x4F000, 0x9000, 0x50000, 0x4000},
                                            {0x70000, 0x1000, 0, 0}};
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            region r = region_of(cases[i][0], cases[i][1], MDC_KIND_ANONYMOUS, NULL, 0);
            MINIDUMP_MEMORY_INFO answer = ask(callback, &r, 1);
            REQUIRE(answer.RegionSize == cases[i][3] && (answer.RegionSize == 0 || answer.BaseAddress == cases[i][2]));
        }
        region heap = region_of(0x10000, 0x8000, MDC_KIND_HEAP, NULL, 0);
        REQUIRE(ask(callback, &heap, 1).RegionSize == 0x8000); /* one rule after the other, all kept */
        if (round == 0) tell_module(callback, 0x20000, 0x1000, utf16("/late/libapp.so"), NULL);
    }
    region free_place = region_of(0x70000, 0x1000, MDC_KIND_ANONYMOUS, NULL, 0);
    REQUIRE(ask(callback, &free_place, 1).RegionSize == 0);
    tell_module(callback, 0x70000, 0x1000, utf16("/late/libapp.so"), NULL);
    REQUIRE(ask(callback, &free_place, 1).RegionSize == 0x1000);
    region late = region_of(0x20000, 0x1000, MDC_KIND_ANONYMOUS, NULL, 0);
    REQUIRE(ask(callback, &late, 1).RegionSize == 0x1000);
    /* One late module around others of its kind: fewer stretches than before, and the cursor was after them. */
    for (uint64_t i = 0; i < 20; i++) tell_module(callback, 0x100000 + 0x2000 * i, 0x1000, utf16("/x/libapp.so"), NULL);
    region far = region_of(0x100000 + 0x2000 * 19, 0x1000, MDC_KIND_ANONYMOUS, NULL, 0);
    REQUIRE(ask(callback, &far, 1).RegionSize == 0x1000);
    tell_module(callback, 0x100000, 0x80000, utf16("/x/libapp.so"), NULL);
    far.info.BaseAddress = far.facts.MappingBase = 0x17F000;
    REQUIRE(ask(callback, &far, 1).RegionSize == 0x1000);
    REQUIRE(mdc_callback_reset(callback, &err) == MDC_OK);
    REQUIRE(ask(callback, &late, 1).RegionSize == 0); /* the next dump knows no modules yet */
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);

    /* A path without an end. */
    uint16_t *endless = malloc(40000 * sizeof *endless);
    for (size_t i = 0; i < 40000; i++) endless[i] = 'a';
    tell_module(callback, 0x1000, 0x1000, endless, NULL);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_ERR_CALLBACK && err.callback_type == MDC_CB_MODULE);
    free(endless);
    finish(callback);

    const mdc_callback_options few = {.module_capacity = 3};
    callback = callback_of(&spec, &few, 0);
    for (uint64_t i = 0; i < 3; i++) tell_module(callback, 0x1000 * i, 0x1000, utf16("/x"), NULL);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_OK);
    tell_module(callback, 0x9000, 0x1000, utf16("/x"), NULL);
    REQUIRE(mdc_callback_check(callback, &err) == MDC_ERR_CALLBACK);
    finish(callback);
}

/* ---- accounting ---- */

enum { RULES = 12, SPAN = 40 };
static const char *paths[] = {"/lib/a.so", "/lib/b.so", "/lib/libz.so"};
static const char *labels[] = {NULL, "[heap]", "/dev/shm/q"};

static void random_rule(mdc_rule *r) {
    *r = (mdc_rule){.action = roll(6) == 0 ? MDC_HEAD : roll(2), .head_bytes = 1 + roll(5 * 4096)};
    if (roll(3)) {
        r->fields |= MDC_RULE_RANGE;
        r->range.first = 0x100000 + (roll(2) ? roll(SPAN) * PAGE : roll(SPAN * 4096));
        r->range.end = r->range.first + 1 + roll(6 * 4096);
    }
    if (roll(4) == 0) {
        r->fields |= MDC_RULE_MODULE;
        r->module = bytes(roll(2) ? "*.so" : "*z*");
    }
    if (roll(4) == 0) {
        r->fields |= MDC_RULE_NAME;
        r->name = bytes(roll(2) ? "" : "*h*");
    }
    if (roll(4) == 0) {
        r->fields |= MDC_RULE_KIND;
        r->kinds = 1 + roll(0x7F);
    }
}

/* A made-up dump: regions asked until nothing is left, then counted; the sums are the answers'. */
static void account_round(void) {
    mdc_rule rules[RULES];
    size_t count = roll(RULES + 1);
    for (size_t i = 0; i < count; i++) random_rule(&rules[i]);
    const mdc_range removed = {0x100000 + roll(SPAN * 4096), 0x100000 + SPAN * PAGE + 1};
    mdc_filter_spec spec = everything;
    spec.rules = rules;
    spec.rule_count = count;
    spec.default_action = roll(2);
    spec.memory_remove = &removed;
    spec.memory_remove_count = roll(2);
    uint32_t extensions = MDC_EXT_REGION_FACTS | (roll(4) ? MDC_EXT_RESUBMIT : 0);
    const mdc_callback_options little = {.excluded_gap_capacity = roll(3)}; /* 0: much */
    mdc_callback *callback = callback_of(&spec, &little, extensions);
    REQUIRE(mdc_callback_acquire(callback, &err) == MDC_OK);
    if (roll(2)) tell_start(callback);
    for (unsigned i = roll(4); i > 0; i--)
        tell_module(callback, 0x100000 + roll(SPAN) * PAGE, (1 + roll(8)) * 4096, utf16(paths[roll(3)]), NULL);
    region regions[8];
    uint64_t first_kept[8][SPAN], last_kept[8][SPAN];
    size_t region_count = 0, parts[8] = {0};
    uint64_t answered = 0;
    for (uint64_t at = 0x100000; at < 0x100000 + SPAN * PAGE && region_count < 8; region_count++) {
        uint64_t size = (1 + roll(10)) * PAGE;
        uint32_t name = roll(3);
        region *r = &regions[region_count];
        *r = region_of(at, size, roll(0x80), labels[name], name);
        r->facts.Flags = roll(3) == 0   ? MDC_FACT_PIECE
                         : roll(4) == 0 ? MDC_FACT_DONTDUMP
                         : roll(4) == 0 ? MDC_FACT_OPTIONAL
                                        : 0;
        at += size + roll(2) * PAGE;
        region rest = *r;
        for (;;) {
            MINIDUMP_MEMORY_INFO answer = ask(callback, &rest, 1);
            if (answer.RegionSize == 0) break;
            answered += answer.RegionSize;
            if (parts[region_count] < SPAN) {
                first_kept[region_count][parts[region_count]] = answer.BaseAddress;
                last_kept[region_count][parts[region_count]++] = answer.BaseAddress + answer.RegionSize - 1;
            }
            uint64_t end = answer.BaseAddress + answer.RegionSize;
            if ((extensions & MDC_EXT_RESUBMIT) == 0 || end == r->info.BaseAddress + size) break;
            rest.info.BaseAddress = end;
            rest.info.RegionSize = r->info.BaseAddress + size - end;
        }
    }
    if (roll(2)) mdc_callback_release(callback); /* before or after the counting */
    uint64_t kept[RULES + 1] = {0}, excluded[RULES + 1] = {0}, total = 0, all = 0, asked = 0;
    for (size_t i = 0; i < region_count; i++) {
        const region *r = &regions[i];
        uint64_t base = r->info.BaseAddress, end = base + r->info.RegionSize, middle = base + roll(3 * 4096);
        if (middle > end) middle = end;
        REQUIRE(mdc_callback_rule_stats(callback, &r->info, &r->facts, base, middle, kept, excluded, count + 1, &err) ==
                0);
        REQUIRE(mdc_callback_rule_stats(callback, &r->info, &r->facts, middle, end, kept, excluded, count + 1, &err) ==
                0);
        asked += r->info.RegionSize;
        if (parts[i] > 0 && mdc_callback_read_counters(callback).hulls ==
                                0) { /* a part that was kept is kept to its last byte, by whatever rules */
            uint64_t k[RULES + 1] = {0}, x[RULES + 1] = {0}, sum = 0;
            size_t part = roll((unsigned)parts[i]);
            REQUIRE(mdc_callback_rule_stats(callback, &r->info, &r->facts, first_kept[i][part], last_kept[i][part] + 1,
                                            k, x, count + 1, &err) == 0);
            for (size_t j = 0; j <= count; j++) {
                REQUIRE(x[j] == 0);
                sum += k[j];
            }
            REQUIRE(sum == last_kept[i][part] - first_kept[i][part] + 1);
        }
    }
    for (size_t i = 0; i <= count; i++) {
        total += kept[i];
        all += kept[i] + excluded[i];
    }
    REQUIRE(total + mdc_callback_read_counters(callback).excluded_gap_bytes == answered && all == asked);
    REQUIRE(mdc_callback_rule_stats(callback, &regions[0].info, NULL, 0, 0, kept, excluded, count, &err) ==
            MDC_ERR_INVALID);
    mdc_callback_release(callback);
    finish(callback);
}

/* A type, state or protection with bits unknown today must not let an exclude rule miss or an include rule
 * hit; the same without the facts, where the type alone tells the kinds. Asked twice: the second is the short way. */
static void doubts(void) {
    static const struct {
        uint32_t state, type, protect;
        int clear; /* known bits, and others that do not matter */
    } cases[] = {{0x1000, 0x20000, 4, 1},     {0x1000, 0xA0000, 4, 1},          {0x1000, 0x2020000, 4, 1},
                 {0x1000, 0x80000, 4, 0},     {0x1000, 0x2000000, 4, 0},        {0x1000, 0x1020000, 4, 0},
                 {0x5000, 0x20000, 4, 1},     {0x80001000, 0x20000, 4, 1},      {0x3000, 0x20000, 4, 0},
                 {0x80000000, 0x20000, 4, 0}, {0x1000, 0x20000, 0x40000004, 1}, {0x1000, 0x20000, 6, 0},
                 {0x1000, 0x20000, 0x2000, 0}};
    for (uint32_t action = MDC_EXCLUDE; action <= MDC_INCLUDE; action++)
        for (int field = 0; field < 5; field++) {
            mdc_rule rule = {.action = action,
                             .fields = (uint32_t)MDC_RULE_STATE << field,
                             .state = MDC_MEM_COMMIT,
                             .type = MDC_MEM_PRIVATE,
                             .protect_any = MDC_PAGE_READWRITE,
                             .protect_all = MDC_ACCESS_READ,
                             .kinds = MDC_KIND_ANONYMOUS};
            mdc_filter_spec spec = {.rules = &rule, .rule_count = 1, .default_action = !action};
            for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                mdc_callback *callback = callback_of(&spec, NULL, MDC_EXT_RESUBMIT);
                region r = region_of(16 * PAGE, PAGE, 0, NULL, 0);
                r.info.State = cases[i].state;
                r.info.Type = cases[i].type;
                r.info.Protect = cases[i].protect;
                /* In doubt about what this rule asks: exclude holds, include does not. About something else: it does
                 * not matter to it. Either way nothing is kept but by an include rule that is sure. */
                int asked = field == 0                 ? cases[i].state != 0x3000 && cases[i].state != 0x80000000
                            : field == 2 || field == 3 ? cases[i].protect != 6 && cases[i].protect != 0x2000
                                                       : cases[i].clear || cases[i].type == 0x20000;
                uint64_t wanted = action == MDC_INCLUDE && asked ? PAGE : 0;
                for (int twice = 0; twice < 2; twice++) REQUIRE(ask(callback, &r, 0).RegionSize == wanted);
                finish(callback);
            }
        }
}

int main(void) {
    doubts();
    gaps();
    mappings();
    names();
    modules();
    for (int i = 0; i < 4000; i++) account_round();
    return 0;
}
