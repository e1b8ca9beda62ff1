/* Compiles rules into the table of table.h, and what becomes of the table afterwards. Cold.
 *
 * Steps: check; gather the condition sets; find the highest unconditional rule without a range (everything below it is
 * dead) and the highest rule without a range of each condition set; order the bits; fill the rows; sweep the ranges. */
#include <stdlib.h>
#include <string.h>

#include "../base/fail.h"
#include "../base/vec.h"
#include "bits.h"
#include "check.h"
#include "conditions.h"
#include "intervals.h"
#include "match.h"
#include "redact_table.h"
#include "table.h"

typedef struct compiler {
    const mdc_filter_spec *spec;
    mdc_filter *filter;
    mdc_condition_sets sets;
    uint32_t *top;  /* by condition set: highest rule without a range + 1 */
    uint8_t *seen;  /* by rule: it can decide something; one more for RemoveMemory */
    uint32_t floor; /* highest unconditional rule without a range + 1 */
} compiler;

static uint32_t code_of(size_t rule, uint32_t action) { return (uint32_t)(rule + 1) << 2 | action; }

/* Whether a later rule with the same or wider conditions and no range wins everywhere. */
static bool outdone(const compiler *c, uint32_t rule) {
    uint32_t own = c->sets.of_rule[rule], wider = c->sets.wider[rule];
    return (own != MDC_CONDITIONS_ALWAYS && c->top[own] > rule + 1) ||
           (wider != MDC_CONDITIONS_ALWAYS && c->top[wider] > rule + 1);
}

/* Rules without a range. */
static mdc_status find_tops(compiler *c, mdc_error *err) {
    const mdc_filter_spec *spec = c->spec;
    c->top = mdc_alloc(c->sets.list.count, sizeof *c->top, err);
    c->seen = mdc_alloc(spec->rule_count + 1, sizeof *c->seen, err);
    if (c->top == NULL || c->seen == NULL) return err->code;
    for (uint32_t i = 0; i < spec->rule_count; i++) {
        if (spec->rules[i].fields & MDC_RULE_RANGE) continue;
        uint32_t conditions = c->sets.of_rule[i];
        if (conditions == MDC_CONDITIONS_ALWAYS)
            c->floor = i + 1;
        else
            c->top[conditions] = i + 1;
    }
    for (uint32_t i = 0; i < c->sets.list.count; i++) {
        if (c->top[i] <= c->floor) c->top[i] = 0;
        if (c->top[i] != 0 && !outdone(c, c->top[i] - 1)) c->seen[c->top[i] - 1] = 1;
    }
    c->filter->floor_code = spec->default_action;
    if (c->floor != 0) {
        c->seen[c->floor - 1] = 1;
        c->filter->floor_code = code_of(c->floor - 1, spec->rules[c->floor - 1].action);
    }
    return mdc_condition_sets_order(&c->sets, c->top, spec->rule_count, err);
}

static mdc_status make_global(compiler *c, mdc_error *err) {
    mdc_filter *filter = c->filter;
    size_t count = c->sets.list.count;
    uint32_t used = 0;
    while (used < count && c->top[used] != 0) used++;
    filter->global_words = (used + 63) / 64;
    filter->global_bits = used >= 64 ? UINT64_MAX : (UINT64_C(1) << used) - 1;
    filter->global_code = mdc_alloc((size_t)filter->global_words * 64, sizeof *filter->global_code, err);
    if (filter->global_code == NULL) return err->code;
    for (uint32_t bit = 0; bit < used; bit++)
        filter->global_code[bit] = code_of(c->top[bit] - 1, c->spec->rules[c->top[bit] - 1].action);
    filter->bytes += (uint64_t)filter->global_words * 64 * sizeof *filter->global_code;
    return MDC_OK;
}

static mdc_status make_intervals(compiler *c, mdc_error *err) {
    const mdc_filter_spec *spec = c->spec;
    mdc_rule_range *ranges = mdc_alloc(spec->rule_count + spec->memory_remove_count, sizeof *ranges, err);
    if (ranges == NULL) return err->code;
    size_t count = 0;
    for (uint32_t i = 0; i < spec->rule_count; i++) {
        const mdc_rule *rule = &spec->rules[i];
        if (!(rule->fields & MDC_RULE_RANGE) || i < c->floor) continue;
        uint32_t conditions = c->sets.of_rule[i];
        if (outdone(c, i)) continue;
        ranges[count++] = (mdc_rule_range){.first = rule->range.first,
                                           .end = rule->range.end,
                                           .code = code_of(i, rule->action),
                                           .conditions = conditions,
                                           .rule = i};
    }
    for (size_t i = 0; i < spec->memory_remove_count; i++)
        ranges[count++] = (mdc_rule_range){.first = spec->memory_remove[i].first,
                                           .end = spec->memory_remove[i].end,
                                           .code = code_of(spec->rule_count, MDC_EXCLUDE),
                                           .conditions = MDC_CONDITIONS_ALWAYS,
                                           .rule = (uint32_t)spec->rule_count};
    mdc_status status = mdc_intervals_build(c->filter, ranges, count, c->seen, err);
    mdc_dealloc(ranges);
    return status;
}

static mdc_status note_dead(compiler *c, mdc_error *err) {
    mdc_filter *filter = c->filter;
    for (size_t i = 0; i < c->spec->rule_count; i++) filter->dead_count += !c->seen[i];
    filter->dead = mdc_alloc(filter->dead_count, sizeof *filter->dead, err);
    if (filter->dead == NULL) return err->code;
    size_t at = 0;
    for (uint32_t i = 0; i < c->spec->rule_count; i++)
        if (!c->seen[i]) filter->dead[at++] = i;
    filter->bytes += filter->dead_count * sizeof *filter->dead;
    return MDC_OK;
}

static mdc_status make_heads(compiler *c, mdc_error *err) {
    size_t heads = 0;
    for (size_t i = 0; i < c->spec->rule_count; i++) heads += c->spec->rules[i].action == MDC_HEAD;
    if (heads == 0) return MDC_OK;
    c->filter->head_bytes = mdc_alloc(c->spec->rule_count, sizeof *c->filter->head_bytes, err);
    if (c->filter->head_bytes == NULL) return err->code;
    for (size_t i = 0; i < c->spec->rule_count; i++) c->filter->head_bytes[i] = c->spec->rules[i].head_bytes;
    c->filter->bytes += c->spec->rule_count * sizeof *c->filter->head_bytes;
    return MDC_OK;
}

/* ---- threads, modules of the list, memory lists ---- */

typedef struct numbered {
    mdc_thread_rule rule;
    size_t number;
} numbered;

static int by_tid(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    if (x->rule.tid != y->rule.tid) return x->rule.tid < y->rule.tid ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static mdc_status make_threads(compiler *c, mdc_error *err) {
    mdc_filter *filter = c->filter;
    size_t count = c->spec->thread_count;
    filter->threads = mdc_alloc(count, sizeof *filter->threads, err);
    numbered *sorted = mdc_alloc(count, sizeof *sorted, err);
    if (filter->threads != NULL && sorted != NULL) {
        for (size_t i = 0; i < count; i++) sorted[i] = (numbered){.rule = c->spec->threads[i], .number = i};
        qsort(sorted, count, sizeof *sorted, by_tid);
        for (size_t i = 0; i < count; i++) {
            if (i + 1 < count && sorted[i + 1].rule.tid == sorted[i].rule.tid) continue; /* the last one decides */
            filter->threads[filter->thread_count++] = sorted[i].rule;
        }
        filter->bytes += count * sizeof *filter->threads;
    }
    mdc_dealloc(sorted);
    return filter->threads != NULL && sorted != NULL ? MDC_OK : err->code;
}

static mdc_status make_modules(compiler *c, mdc_error *err) {
    mdc_filter *filter = c->filter;
    size_t count = c->spec->module_count, size = 0;
    for (size_t i = 0; i < count; i++) size += c->spec->modules[i].glob.size;
    filter->module_rules = mdc_alloc(count, sizeof *filter->module_rules, err);
    filter->module_pool = mdc_alloc(size, 1, err);
    if (filter->module_rules == NULL || filter->module_pool == NULL) return err->code;
    uint8_t *at = filter->module_pool;
    for (size_t i = 0; i < count; i++) {
        mdc_module_rule rule = c->spec->modules[i];
        if (rule.glob.size > 0) memcpy(at, rule.glob.data, rule.glob.size);
        rule.glob.data = at;
        at += rule.glob.size;
        filter->module_rules[i] = rule;
    }
    filter->module_count = count;
    filter->bytes += count * sizeof *filter->module_rules + size;
    return MDC_OK;
}

static mdc_status copy_ranges(mdc_filter *filter, const mdc_range *from, size_t count, mdc_range **to, size_t *to_count,
                              mdc_error *err) {
    *to = mdc_alloc(count, sizeof **to, err);
    if (*to == NULL) return err->code;
    if (count > 0) memcpy(*to, from, count * sizeof **to);
    *to_count = count;
    filter->bytes += count * sizeof **to;
    return MDC_OK;
}

static mdc_status make_lists(compiler *c, mdc_error *err) {
    mdc_filter *filter = c->filter;
    const mdc_filter_spec *spec = c->spec;
    filter->rule_count = (uint32_t)spec->rule_count;
    filter->threads_default_keep = spec->threads_default_keep;
    filter->modules_default_keep = spec->modules_default_keep;
    filter->tolerate_read_failures = spec->tolerate_read_failures;
    filter->secondary_flags = spec->secondary_flags;
    filter->nocase = spec->nocase;
    filter->fill = mdc_fill_of(spec);
    for (size_t i = 0; i < spec->rule_count; i++)
        if (spec->rules[i].fields & MDC_RULE_KIND) filter->kinds |= spec->rules[i].kinds;
    mdc_status status = make_threads(c, err);
    if (status == MDC_OK) status = make_modules(c, err);
    if (status == MDC_OK)
        status = copy_ranges(filter, spec->memory_add, spec->memory_add_count, &filter->memory_add,
                             &filter->memory_add_count, err);
    if (status == MDC_OK)
        status = copy_ranges(filter, spec->memory_remove, spec->memory_remove_count, &filter->memory_remove,
                             &filter->memory_remove_count, err);
    return status;
}

/* ---- life ---- */

mdc_filter *mdc_filter_new(const mdc_filter_spec *spec, mdc_error *err) {
    mdc_error_clear(err);
    if (mdc_filter_check(spec, err) != MDC_OK) return NULL;
    mdc_filter *filter = mdc_alloc(1, sizeof *filter, err);
    if (filter == NULL) return NULL;
    atomic_init(&filter->references, 1);
    filter->bytes = sizeof *filter;
    compiler c = {.spec = spec, .filter = filter};
    mdc_status status = mdc_condition_sets_gather(&c.sets, filter, spec, err);
    if (status == MDC_OK) status = find_tops(&c, err);
    if (status == MDC_OK) status = make_global(&c, err);
    if (status == MDC_OK) status = mdc_condition_sets_rows(&c.sets, filter, err);
    if (status == MDC_OK) status = make_intervals(&c, err);
    if (status == MDC_OK) status = make_heads(&c, err);
    if (status == MDC_OK) status = make_lists(&c, err);
    if (status == MDC_OK) status = note_dead(&c, err);
    if (status == MDC_OK) status = mdc_redactor_new(spec, &filter->redactor, err);
    if (status == MDC_OK) filter->bytes += mdc_redactor_bytes(filter->redactor);
    mdc_condition_sets_fini(&c.sets);
    mdc_dealloc(c.top);
    mdc_dealloc(c.seen);
    if (status == MDC_OK) return filter;
    mdc_filter_release(filter);
    return NULL;
}

mdc_filter *mdc_filter_retain(mdc_filter *filter) {
    if (filter != NULL) atomic_fetch_add_explicit(&filter->references, 1, memory_order_relaxed);
    return filter;
}

static void free_patterns(mdc_patterns *p) {
    mdc_dealloc(p->pool);
    mdc_dealloc(p->offset);
    mdc_dealloc(p->first);
    mdc_dealloc(p->bits);
    mdc_dealloc(p->base);
}

void mdc_filter_release(mdc_filter *filter) {
    if (filter == NULL || atomic_fetch_sub_explicit(&filter->references, 1, memory_order_acq_rel) != 1) return;
    void *blocks[] = {filter->start,        filter->entry,       filter->items,      filter->protect_rows,
                      filter->state_rows,   filter->size_rows,   filter->kind_rows,  filter->global_code,
                      filter->attributes,   filter->bounds,      filter->head_bytes, filter->threads,
                      filter->module_rules, filter->module_pool, filter->memory_add, filter->memory_remove,
                      filter->dead};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) mdc_dealloc(blocks[i]);
    free_patterns(&filter->names);
    free_patterns(&filter->modules);
    mdc_redactor_free(filter->redactor);
    mdc_dealloc(filter);
}

uint64_t mdc_filter_bytes(const mdc_filter *filter) { return filter->bytes; }
uint64_t mdc_filter_intervals(const mdc_filter *filter) { return filter->interval_count; }

size_t mdc_filter_dead_rules(const mdc_filter *filter, uint32_t *out, size_t capacity) {
    size_t count = filter->dead_count < capacity ? filter->dead_count : capacity;
    if (count > 0) memcpy(out, filter->dead, count * sizeof *out);
    return filter->dead_count;
}
