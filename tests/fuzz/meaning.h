/* What rules mean, taken literally: the last one that matches a byte decides about it. */
#ifndef MDC_FUZZ_MEANING_H
#define MDC_FUZZ_MEANING_H

#include "../../csrc/api/minidump_protocol.h"
#include "../../csrc/filter/glob.h"
#include "spec.h"

/* A region as it was asked about. */
typedef struct asked {
    uint64_t base, last; /* both inclusive */
    uint64_t mapping_base, mapping_size;
    uint32_t state, type, protect;
    uint32_t kinds;
    bool kinds_in_doubt;
    bool dontdump;
    const uint8_t *name;
    size_t name_size;
} asked;

enum { NOT_A_RULE = -1, REMOVED = -2 };

static inline bool in_range(mdc_range range, uint64_t address) {
    return address >= range.first && (range.end == 0 || address < range.end);
}

static inline bool one_bit(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

/* A value that is not exactly one known one is in doubt: what takes away matches, what includes does not. */
static inline bool value_meets(const mdc_rule *rule, uint32_t value, uint32_t known, uint32_t wanted) {
    if (value != 0 && !one_bit(value & known)) return rule->action != MDC_INCLUDE;
    return (value & wanted) != 0;
}

static inline bool protect_meets(const mdc_rule *rule, uint32_t protect) {
    static const uint8_t access[9] = {0, 0, 1, 3, 3, 4, 5, 7, 7}; /* by bit of the base, from PAGE_NOACCESS on */
    uint32_t any = rule->fields & MDC_RULE_PROTECT_ANY ? rule->protect_any : 0;
    uint32_t all = rule->fields & MDC_RULE_PROTECT_ALL ? rule->protect_all : 0, base = protect & 0xFF, bit = 0;
    if (any == 0 && all == 0) return true;
    if (protect != 0 && !one_bit(base)) {
        if (rule->action != MDC_INCLUDE) return true;
        base = 0;
    }
    while (base >> bit != 0) bit++;
    if (any != 0 && ((base | (protect & 0x700)) & any) == 0) return false;
    return (access[bit] & all) == all;
}

static inline bool rule_matches(const mdc_filter_spec *spec, const mdc_rule *rule, const asked *what,
                                uint64_t address) {
    uint32_t fields = rule->fields;
    if ((fields & MDC_RULE_RANGE) && !in_range(rule->range, address)) return false;
    if ((fields & MDC_RULE_STATE) && !value_meets(rule, what->state, 0x13000, rule->state)) return false;
    if ((fields & MDC_RULE_TYPE) && !value_meets(rule, what->type, 0x1060000, rule->type)) return false;
    if (!protect_meets(rule, what->protect)) return false;
    if (fields & MDC_RULE_KIND) {
        bool doubt = what->kinds_in_doubt && rule->action != MDC_INCLUDE;
        if ((what->kinds & rule->kinds) == 0 && !doubt) return false;
    }
    if ((fields & MDC_RULE_SIZE) && (what->mapping_size < rule->min_size || what->mapping_size > rule->max_size))
        return false;
    if (fields & MDC_RULE_MODULE) return false; /* where this is asked, no modules are told */
    return !(fields & MDC_RULE_NAME) ||
           mdc_glob_match(rule->name.data, rule->name.size, spec->nocase != 0, what->name, what->name_size);
}

/* Whether the byte is kept. */
static inline bool byte_kept(const mdc_filter_spec *spec, const asked *what, uint64_t address, long *by) {
    for (size_t i = 0; i < spec->memory_remove_count; i++) {
        *by = REMOVED;
        if (in_range(spec->memory_remove[i], address)) return false;
    }
    for (size_t i = spec->rule_count; i-- > 0;) {
        const mdc_rule *rule = &spec->rules[i];
        if (!rule_matches(spec, rule, what, address)) continue;
        *by = (long)i;
        if (rule->action == MDC_HEAD)
            return address >= what->mapping_base && address - what->mapping_base < rule->head_bytes;
        return rule->action == MDC_INCLUDE;
    }
    *by = NOT_A_RULE;
    return spec->default_action == MDC_INCLUDE && !what->dontdump;
}

/* The addresses in [first, last] at which the verdict may change, and those before them. */
static inline size_t turning_points(const mdc_filter_spec *spec, const asked *what, uint64_t first, uint64_t last,
                                    uint64_t *points, size_t room) {
    uint64_t all[2 + 3 * SPEC_RULES + 2 * SPEC_LIST];
    size_t count = 0, found = 0;
    all[count++] = first;
    all[count++] = last;
    for (size_t i = 0; i < spec->rule_count; i++) {
        all[count++] = spec->rules[i].range.first;
        all[count++] = spec->rules[i].range.end;
        all[count++] = what->mapping_base + spec->rules[i].head_bytes;
    }
    for (size_t i = 0; i < spec->memory_remove_count; i++) {
        all[count++] = spec->memory_remove[i].first;
        all[count++] = spec->memory_remove[i].end;
    }
    for (size_t i = 0; i < count; i++)
        for (uint64_t back = 0; back < 2; back++)
            if (all[i] - back >= first && all[i] - back <= last && found < room) points[found++] = all[i] - back;
    return found;
}

#endif
