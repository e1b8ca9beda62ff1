/* Checks of a filter's parts (see check.h). */
#include "check.h"

#include <inttypes.h>

#include "../api/minidump_protocol.h"
#include "../base/fail.h"
#include "conditions.h"
#include "glob.h"

#define FIELDS_ALL                                                                                                     \
    (MDC_RULE_RANGE | MDC_RULE_STATE | MDC_RULE_TYPE | MDC_RULE_PROTECT_ANY | MDC_RULE_PROTECT_ALL | MDC_RULE_KIND |   \
     MDC_RULE_SIZE | MDC_RULE_MODULE | MDC_RULE_NAME)
#define STATES_ALL (MDC_MEM_COMMIT | MDC_MEM_RESERVE | MDC_MEM_FREE)
#define TYPES_ALL (MDC_MEM_PRIVATE | MDC_MEM_MAPPED | MDC_MEM_IMAGE)
#define PROTECT_ALL 0x7FFu
#define ACCESS_ALL (MDC_ACCESS_READ | MDC_ACCESS_WRITE | MDC_ACCESS_EXECUTE)
#define KINDS_ALL 0x7Fu

static mdc_status bad(mdc_error *err, const char *what, size_t index, const char *why) {
    return mdc_fail_at(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, (int64_t)index, "%s %zu: %s", what, index, why);
}

/* A mask that is stated has some bits, and only known ones. */
static const char *check_mask(uint32_t mask, uint32_t known, const char *empty, const char *unknown) {
    if (mask == 0) return empty;
    return (mask & ~known) != 0 ? unknown : NULL;
}

static const char *check_bytes(mdc_bytes glob) {
    if (glob.data == NULL && glob.size != 0) return "the pattern is missing";
    return mdc_glob_check(glob.data, glob.size);
}

static const char *check_protect(const mdc_rule *rule) {
    uint32_t any = rule->fields & MDC_RULE_PROTECT_ANY ? rule->protect_any : 0;
    uint32_t all = rule->fields & MDC_RULE_PROTECT_ALL ? rule->protect_all : 0;
    for (uint32_t row = 0; row < MDC_PROTECT_ROWS; row++)
        if (mdc_protect_meets(mdc_protect_of_row(row), any, all)) return NULL;
    return "no protection meets both protect conditions";
}

static const char *check_rule(const mdc_rule *rule) {
    const char *why = NULL;
    uint32_t fields = rule->fields;
    if (rule->action > MDC_HEAD) return "unknown action";
    if ((fields & ~(uint32_t)FIELDS_ALL) != 0) return "unknown bits in fields";
    if (rule->action == MDC_HEAD && rule->head_bytes == 0) return "a head of 0 bytes (use exclude)";
    if ((fields & MDC_RULE_RANGE) && rule->range.end != 0 && rule->range.first >= rule->range.end)
        return rule->range.first == rule->range.end ? "the address range is empty" : "the address range runs backwards";
    if (fields & MDC_RULE_STATE) why = check_mask(rule->state, STATES_ALL, "no state given", "unknown state");
    if (why == NULL && (fields & MDC_RULE_TYPE))
        why = check_mask(rule->type, TYPES_ALL, "no type given", "unknown memory type");
    if (why == NULL && (fields & MDC_RULE_PROTECT_ANY))
        why = check_mask(rule->protect_any, PROTECT_ALL, "no protection given", "unknown protection");
    if (why == NULL && (fields & MDC_RULE_PROTECT_ALL))
        why = check_mask(rule->protect_all, ACCESS_ALL, "no access given", "unknown access");
    if (why == NULL) why = check_protect(rule);
    if (why == NULL && (fields & MDC_RULE_KIND))
        why = check_mask(rule->kinds, KINDS_ALL, "no kind given", "unknown kind");
    if (why == NULL && (fields & MDC_RULE_SIZE)) {
        if (rule->min_size > rule->max_size) why = "min_size is larger than max_size";
        if (rule->max_size == 0) why = "max_size is 0: no mapping is that small";
    }
    if (why == NULL && (fields & MDC_RULE_MODULE)) why = check_bytes(rule->module);
    if (why == NULL && (fields & MDC_RULE_NAME)) why = check_bytes(rule->name);
    return why;
}

static mdc_status check_list(const mdc_range *ranges, size_t count, const char *what, mdc_error *err) {
    for (size_t i = 0; i < count; i++) {
        const mdc_range *r = &ranges[i];
        if (r->end == 0 && r->first == 0) return bad(err, what, i, "the range is empty");
        if (r->end != 0 && r->first == r->end) return bad(err, what, i, "the range is empty");
        if (r->end != 0 && r->first > r->end) return bad(err, what, i, "the range runs backwards");
    }
    return MDC_OK;
}

static mdc_status check_counts(const mdc_filter_spec *spec, mdc_error *err) {
    const struct {
        const void *data;
        size_t count;
        const char *what;
    } lists[] = {{spec->rules, spec->rule_count, "rules"},
                 {spec->threads, spec->thread_count, "thread rules"},
                 {spec->modules, spec->module_count, "module rules"},
                 {spec->memory_add, spec->memory_add_count, "ranges to add"},
                 {spec->memory_remove, spec->memory_remove_count, "ranges to remove"}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lists[i].count > MDC_FILTER_RULES_MAX)
            return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "%zu %s are more than the %zu a filter can have",
                            lists[i].count, lists[i].what, MDC_FILTER_RULES_MAX);
        if (lists[i].data == NULL && lists[i].count > 0)
            return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "the list of %s is missing", lists[i].what);
    }
    return MDC_OK;
}

mdc_status mdc_filter_check(const mdc_filter_spec *spec, mdc_error *err) {
    mdc_status status = check_counts(spec, err);
    if (status != MDC_OK) return status;
    const char *why = NULL;
    if (spec->default_action > MDC_INCLUDE) why = "the default action is include or exclude";
    if (spec->tolerate_read_failures > 1) why = "tolerate_read_failures is 0 or 1";
    if (spec->nocase > 1) why = "nocase is 0 or 1";
    if ((spec->secondary_flags & ~(uint32_t)MDC_SECONDARY_WITHOUT_POWER_INFO) != 0) why = "unknown secondary flags";
    if (why != NULL) return mdc_fail(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, 0, "%s", why);
    for (size_t i = 0; i < spec->rule_count; i++) {
        why = check_rule(&spec->rules[i]);
        if (why != NULL) return bad(err, "rule", i, why);
    }
    for (size_t i = 0; i < spec->module_count; i++) {
        why = check_bytes(spec->modules[i].glob);
        if (why != NULL) return bad(err, "module rule", i, why);
    }
    status = check_list(spec->memory_add, spec->memory_add_count, "range to add", err);
    if (status != MDC_OK) return status;
    return check_list(spec->memory_remove, spec->memory_remove_count, "range to remove", err);
}
