/* What a filter requires of an engine (see api/filter.h), from the compiled table. Cold. */
#include "../api/minidump_protocol.h"
#include "match.h"
#include "redact.h"
#include "table.h"

enum { KEEPS = 1, EXCLUDES = 2 };

/* What the rule of a code can do to a region by itself. The default may be overruled by a fact (a do-not-dump
 * mapping, a block that was added), so that it can do both; a head keeps first and then excludes. */
static unsigned does(uint32_t code) {
    if (code <= MDC_CODE_ACTION) return KEEPS | EXCLUDES;
    if ((code & MDC_CODE_ACTION) == MDC_EXCLUDE) return EXCLUDES;
    return (code & MDC_CODE_ACTION) == MDC_HEAD ? KEEPS | EXCLUDES : KEEPS;
}

static bool is_head(uint32_t code) { return code > MDC_CODE_ACTION && (code & MDC_CODE_ACTION) == MDC_HEAD; }

typedef struct scope {
    unsigned does; /* KEEPS, EXCLUDES */
    bool head;
    bool rule_excludes; /* a rule, not a range of RemoveMemory */
    bool rule_includes; /* a rule, not the default */
} scope;

static void add(const mdc_filter *filter, scope *s, uint32_t code) {
    unsigned what = does(code);
    s->does |= what;
    s->head |= is_head(code);
    s->rule_includes |= code > MDC_CODE_ACTION && what == KEEPS;
    if (code <= MDC_CODE_ACTION)
        s->rule_excludes |= code == MDC_EXCLUDE;
    else
        s->rule_excludes |= (what & EXCLUDES) != 0 && (code >> 2) - 1 < filter->rule_count;
}

/* All that may decide in one interval, whatever the conditions. */
static scope scope_of(const mdc_filter *filter, uint32_t entry) {
    scope s = {.does = 0};
    uint32_t bound = filter->floor_code;
    if (!(entry & MDC_ENTRY_LIST)) {
        if (entry > bound) bound = entry;
    } else {
        const mdc_item *item = filter->items + (entry & ~MDC_ENTRY_LIST);
        for (; item->code > bound && item->conditions != MDC_CONDITIONS_ALWAYS; item++) add(filter, &s, item->code);
        if (item->code > bound) bound = item->code;
    }
    add(filter, &s, bound);
    for (uint32_t bit = 0; bit < filter->global_words * 64; bit++)
        if (filter->global_code[bit] > bound) add(filter, &s, filter->global_code[bit]);
    return s;
}

bool mdc_filter_leaves_excluded_gaps(const mdc_filter *filter) {
    bool kept = false, cut = false; /* so far: something may be kept, and something excluded after it */
    for (uint32_t i = 0; i < filter->interval_count; i++) {
        scope s = scope_of(filter, filter->entry[i]);
        /* Modules change from address to address within an interval. */
        if (mdc_filter_has_modules(filter) && s.does == (KEEPS | EXCLUDES)) return true;
        if (cut && (s.does & KEEPS) != 0) return true;
        cut = cut || (kept && (s.does & EXCLUDES) != 0) || s.head;
        kept = kept || (s.does & KEEPS) != 0;
    }
    return false;
}

bool mdc_filter_adds(const mdc_filter *filter) {
    for (uint32_t i = 0; i < filter->interval_count; i++)
        if (scope_of(filter, filter->entry[i]).rule_includes) return true;
    return false;
}

uint32_t mdc_filter_requirements(const mdc_filter *filter) {
    const uint32_t told = MDC_KIND_IMAGE | MDC_KIND_FILE | MDC_KIND_ANONYMOUS;
    uint32_t required = 0;
    if (mdc_filter_has_names(filter) || (filter->kinds & ~told) != 0) required |= MDC_REQUIRES_REGION_FACTS;
    if (mdc_filter_leaves_excluded_gaps(filter)) required |= MDC_REQUIRES_EXCLUDED_GAPS;
    for (uint32_t i = 0; i < filter->interval_count && (required & MDC_REQUIRES_PIECES) == 0; i++)
        if (scope_of(filter, filter->entry[i]).rule_excludes) required |= MDC_REQUIRES_PIECES;
    if (mdc_filter_redactor(filter) != NULL) required |= MDC_REQUIRES_READS;
    if (mdc_filter_hold(filter) != 0) required |= MDC_REQUIRES_HOLD_BACK;
    if (mdc_filter_decides_environ(filter)) required |= MDC_REQUIRES_ENVIRON;
    return required;
}
