/* A filter from the bytes of a fuzzer. */
#ifndef MDC_FUZZ_SPEC_H
#define MDC_FUZZ_SPEC_H

#include <stdbool.h>
#include <string.h>

#include "../../csrc/api/callback.h"
#include "bytes.h"

enum { SPEC_RULES = 12, SPEC_LIST = 8, SPEC_TEXT = 4096 };

typedef struct fuzz_spec {
    mdc_filter_spec spec;
    mdc_rule rules[SPEC_RULES];
    mdc_thread_rule threads[SPEC_LIST];
    mdc_module_rule modules[SPEC_LIST];
    mdc_range add[SPEC_LIST], remove[SPEC_LIST], scrub[SPEC_LIST];
    mdc_pattern_tail tails[SPEC_LIST];
    mdc_bytes patterns[SPEC_LIST], environ_keep[SPEC_LIST], environ_drop[SPEC_LIST];
    uint8_t text[SPEC_TEXT];
    size_t used;
} fuzz_spec;

/* A text of at most `most` bytes that are likely to mean something in a glob. */
static inline mdc_bytes take_text(bytes_in *in, fuzz_spec *made, size_t most) {
    static const uint8_t letters[] = "*?[]!-ab/\\AZ.\x01\xff\x80^";
    size_t want = take8(in) % (most + 1);
    mdc_bytes text = {made->text + made->used, 0};
    while (text.size < want && made->used < sizeof made->text) {
        uint8_t byte = take8(in);
        made->text[made->used++] = byte < 128 ? letters[byte % (sizeof letters - 1)] : byte;
        text.size++;
    }
    return text;
}

static inline mdc_range take_range(bytes_in *in, bool valid) {
    mdc_range range = {take_address(in), take_address(in)};
    if (valid && range.end != 0 && range.first >= range.end) {
        uint64_t first = range.end;
        range.end = range.first + 1; /* 0 means 2**64 */
        range.first = first;
    }
    if (valid && range.end == 0 && range.first == 0) range.end = 1;
    return range;
}

static inline size_t take_ranges(bytes_in *in, mdc_range *ranges, bool valid) {
    size_t count = take8(in) % (SPEC_LIST + 1);
    for (size_t i = 0; i < count; i++) ranges[i] = take_range(in, valid);
    return count;
}

static inline size_t take_texts(bytes_in *in, fuzz_spec *made, mdc_bytes *texts, size_t most) {
    size_t count = take8(in) % (SPEC_LIST + 1);
    for (size_t i = 0; i < count; i++) texts[i] = take_text(in, made, most);
    return count;
}

/* `valid`: only what mdc_filter_new takes, but for conditions that no protection meets, and sets that do not end. */
static inline void take_rule(bytes_in *in, fuzz_spec *made, mdc_rule *rule, bool valid) {
    static const uint32_t states[] = {MDC_MEM_COMMIT, MDC_MEM_RESERVE, MDC_MEM_FREE, MDC_MEM_COMMIT | MDC_MEM_FREE};
    static const uint32_t types[] = {MDC_MEM_PRIVATE, MDC_MEM_MAPPED, MDC_MEM_IMAGE, MDC_MEM_PRIVATE | MDC_MEM_IMAGE};
    static const uint32_t often = MDC_RULE_RANGE | MDC_RULE_KIND | MDC_RULE_MODULE | MDC_RULE_SIZE;
    bool odd = !valid && take8(in) == 255;
    rule->action = odd ? take32(in) : take_below(in, 3);
    rule->fields = odd ? take32(in) : take16(in) & 0x1FF & (take8(in) & 1 ? 0x1FF : often);
    rule->range = take_range(in, valid);
    rule->min_size = (uint64_t)(take8(in) & 31) << 12;
    rule->max_size = take8(in) & 1 ? UINT64_MAX : rule->min_size + ((uint64_t)(take8(in) & 31) << 12);
    if ((take8(in) & 3) == 0) rule->min_size += take8(in) & 3, rule->max_size -= take8(in) & 1;
    if (valid && rule->max_size < rule->min_size) rule->max_size = rule->min_size;
    rule->head_bytes = take8(in) & 1 ? (uint64_t)(take8(in) & 15) << 12 : take_address(in);
    if (valid && rule->head_bytes == 0) rule->head_bytes = 1;
    rule->state = odd ? take32(in) : states[take_below(in, 4)];
    rule->type = odd ? take32(in) : types[take_below(in, 4)];
    rule->protect_any = take16(in) & 0x7FF;
    rule->protect_all = take8(in) & 7;
    rule->kinds = odd ? take32(in) : take8(in) & 0x7F;
    if (valid && rule->protect_any == 0) rule->protect_any = MDC_PAGE_READWRITE;
    if (valid && rule->protect_all == 0) rule->protect_all = MDC_ACCESS_READ;
    if (valid && rule->kinds == 0) rule->kinds = MDC_KIND_HEAP;
    rule->module = take_text(in, made, 12);
    rule->name = take_text(in, made, 12);
}

static inline void take_spec(bytes_in *in, fuzz_spec *made, bool valid) {
    static const uint8_t four[] = "abcd";
    mdc_filter_spec *spec = &made->spec;
    memset(made, 0, sizeof *made);
    uint8_t lists = take8(in), flags = take8(in);
    spec->rules = made->rules;
    spec->rule_count = take8(in) % (SPEC_RULES + 1);
    for (size_t i = 0; i < spec->rule_count; i++) take_rule(in, made, &made->rules[i], valid);
    spec->threads = made->threads;
    spec->modules = made->modules;
    spec->memory_add = made->add;
    spec->memory_remove = made->remove;
    spec->scrub = made->scrub;
    spec->patterns = made->patterns;
    spec->environ_keep = made->environ_keep;
    spec->environ_drop = made->environ_drop;
    if (lists & 1) spec->thread_count = take8(in) % (SPEC_LIST + 1);
    for (size_t i = 0; i < spec->thread_count; i++)
        made->threads[i] = (mdc_thread_rule){.tid = take8(in) & 15, .keep = take8(in) & 1 ? UINT32_MAX : take32(in)};
    if (lists & 2) spec->module_count = take8(in) % (SPEC_LIST + 1);
    for (size_t i = 0; i < spec->module_count; i++)
        made->modules[i] = (mdc_module_rule){.glob = take_text(in, made, 12), .keep = take32(in)};
    if (lists & 4) spec->memory_add_count = take_ranges(in, made->add, valid);
    if (lists & 8) spec->memory_remove_count = take_ranges(in, made->remove, valid);
    if (lists & 16) spec->scrub_count = take_ranges(in, made->scrub, valid);
    if (lists & 32) spec->pattern_count = take_texts(in, made, made->patterns, 40);
    for (size_t i = 0; i < spec->pattern_count; i++)
        if (valid && made->patterns[i].size < 4) made->patterns[i] = (mdc_bytes){four, 4};
    if (lists & 64) spec->environ_keep_count = take_texts(in, made, made->environ_keep, 12);
    if (lists & 128) spec->environ_drop_count = take_texts(in, made, made->environ_drop, 12);
    spec->default_action = flags & 1;
    spec->threads_default_keep = flags & 2 ? UINT32_MAX : take32(in);
    spec->modules_default_keep = flags & 4 ? UINT32_MAX : take32(in);
    spec->tolerate_read_failures = flags >> 3 & 1;
    spec->secondary_flags = flags >> 4 & 1;
    spec->nocase = flags >> 5 & 1;
    spec->sanitize_stacks = flags >> 6 & 1;
    if (flags & 128) spec->fill = MDC_FILL_GIVEN | take8(in);
    for (size_t i = 0; i < spec->pattern_count; i++) /* from what is there already: stored inputs mean the same */
        made->tails[i] = (mdc_pattern_tail){.bytes = {0, (uint64_t)flags << 32 | lists, 0, flags},
                                            .up_to = (uint32_t)(lists + i) % 40,
                                            .wide = flags >> 1 & 1};
    spec->tails = made->tails;
    if (valid || take8(in) != 255) return;
    spec->default_action = take32(in);
    spec->nocase = take32(in);
    spec->fill = take32(in);
}

#endif
