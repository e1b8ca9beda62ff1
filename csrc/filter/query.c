/* What a callee asks a compiled filter besides memory: rows of names and modules, threads, lists (see match.h). */
#include <string.h>

#include "../base/bound.h"
#include "bits.h"
#include "glob.h"
#include "match.h"
#include "table.h"

uint32_t mdc_filter_rule_count(const mdc_filter *filter) { return filter->rule_count; }
uint32_t mdc_filter_words(const mdc_filter *filter) { return filter->words; }
bool mdc_filter_has_names(const mdc_filter *filter) { return filter->names.count > 0; }
bool mdc_filter_has_modules(const mdc_filter *filter) { return filter->modules.count > 0; }
const uint64_t *mdc_filter_module_base(const mdc_filter *filter) { return filter->modules.base; }

bool mdc_filter_nocase(const mdc_filter *filter) { return filter->nocase != 0; }

static void fill_row(const mdc_filter *filter, const mdc_patterns *p, bool nocase, const uint8_t *text, size_t size,
                     uint64_t *row) {
    if (filter->words > 0) memcpy(row, p->base, filter->words * sizeof *row);
    for (uint32_t i = 0; i < p->count; i++) {
        const uint8_t *pattern = p->pool + p->offset[i];
        if (!mdc_glob_match(pattern, (size_t)(p->offset[i + 1] - p->offset[i]), nocase, text, size)) continue;
        for (uint32_t k = p->first[i]; k < p->first[i + 1]; k++) mdc_set_bit(row, p->bits[k]);
    }
}

void mdc_filter_name_row(const mdc_filter *filter, bool nocase, const uint8_t *name, size_t size, uint64_t *row) {
    fill_row(filter, &filter->names, nocase, name, size, row);
}

void mdc_filter_module_row(const mdc_filter *filter, bool nocase, const uint8_t *path, size_t size, uint64_t *row) {
    fill_row(filter, &filter->modules, nocase, path, size, row);
}

uint32_t mdc_filter_thread_keep(const mdc_filter *filter, uint32_t tid) {
    size_t at;
    mdc_lower_bound(at, 0, filter->thread_count, filter->threads[at].tid < tid);
    if (at < filter->thread_count && filter->threads[at].tid == tid) return filter->threads[at].keep;
    return filter->threads_default_keep;
}

uint32_t mdc_filter_module_keep(const mdc_filter *filter, bool nocase, const uint8_t *path, size_t size) {
    for (size_t i = filter->module_count; i-- > 0;) {
        const mdc_module_rule *rule = &filter->module_rules[i];
        if (mdc_glob_match(rule->glob.data, rule->glob.size, nocase, path, size)) return rule->keep;
    }
    return filter->modules_default_keep;
}

bool mdc_filter_decides_modules(const mdc_filter *filter) { return filter->module_count > 0; }

const mdc_range *mdc_filter_memory_list(const mdc_filter *filter, bool remove, size_t *count) {
    *count = remove ? filter->memory_remove_count : filter->memory_add_count;
    return remove ? filter->memory_remove : filter->memory_add;
}

uint32_t mdc_filter_secondary_flags(const mdc_filter *filter) { return filter->secondary_flags; }
bool mdc_filter_tolerates(const mdc_filter *filter) { return filter->tolerate_read_failures != 0; }
