/* Bytes by rule (see callback_rule_stats.h). */
#include "callback_rule_stats.h"

#include "../base/fail.h"
#include "../base/vec.h"
#include "../filter/glob.h"
#include "state.h"

size_t mdc_callback_rule_count(const mdc_callback *callback) { return mdc_filter_rule_count(callback->filter); }

/* Where bytes are counted; or who is shown them. */
typedef struct asked {
    uint64_t *kept;
    uint64_t *excluded;
    mdc_match_visit visit;
    void *context;
} asked;

static mdc_status ask(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region, const mdc_region_facts *facts,
                      uint64_t first, uint64_t end, const asked *about, mdc_error *err) {
    const mdc_filter *filter = callback->filter;
    if (region->RegionSize == 0 || (end != 0 && end <= first)) return MDC_OK;
    if (facts != NULL) facts = mdc_callback_facts(facts);
    uint64_t *fresh = NULL;
    const uint64_t *names = callback->no_name;
    if (facts != NULL && callback->has_names && facts->NameId != 0) {
        uint32_t id = facts->NameId;
        if (id <= callback->name_capacity && callback->name_row[id] != 0) {
            names = mdc_rows_at(&callback->rows, callback->name_row[id] - 1);
        } else {
            fresh = mdc_alloc(mdc_filter_words(filter), sizeof *fresh, err);
            if (fresh == NULL) return err->code;
            mdc_filter_name_row(filter, mdc_callback_nocase(callback), facts->Name,
                                facts->Name == NULL ? 0 : facts->NameSize, fresh);
            names = fresh;
        }
    }
    mdc_module_table sealed = callback->modules; /* shares the arrays; the flag of the copy is not shared */
    mdc_module_table_seal(&sealed);
    mdc_module_map map = {
        .start = sealed.start, .row = sealed.row, .rows = callback->rows.data, .count = sealed.segments};
    mdc_question question;
    mdc_matcher matcher;
    mdc_callback_question(region, facts, names, callback->has_modules ? &map : NULL, &question);
    mdc_match_begin(&matcher, filter, &question);
    if (about->visit != NULL) {
        mdc_match_walk(&matcher, first, end - 1, about->visit, about->context);
        mdc_dealloc(fresh);
        return MDC_OK;
    }
    uint64_t keep_first = 0, keep_last = UINT64_MAX;
    uint32_t extensions = atomic_load(&callback->extensions) | callback->last_extensions;
    mdc_cursor cursor = {.interval = 0, .module = 0};
    if ((extensions & MDC_EXT_RESUBMIT) == 0 && !mdc_excluded_gaps_cover(&callback->gaps, &matcher)) {
        keep_first = 1;
        keep_last = 0;
        (void)mdc_match_longest(&matcher, &cursor, &keep_first, &keep_last);
    }
    mdc_match_rule_stats(&matcher, first, end - 1, keep_first, keep_last, about->kept, about->excluded);
    mdc_dealloc(fresh);
    return MDC_OK;
}

mdc_status mdc_callback_rule_stats(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                                   const mdc_region_facts *facts, uint64_t first, uint64_t end, uint64_t *kept,
                                   uint64_t *excluded, size_t entries, mdc_error *err) {
    const mdc_filter *filter = callback->filter;
    mdc_error_clear(err);
    if (entries != (size_t)mdc_filter_rule_count(filter) + 1)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_PLAN, 0, "%zu entries for %u rules", entries,
                        mdc_filter_rule_count(filter));
    const asked about = {.kept = kept, .excluded = excluded};
    return ask(callback, region, facts, first, end, &about, err);
}

mdc_status mdc_callback_rule_walk(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                                  const mdc_region_facts *facts, uint64_t first, uint64_t end, mdc_match_visit visit,
                                  void *context, mdc_error *err) {
    const asked about = {.visit = visit, .context = context};
    return ask(callback, region, facts, first, end, &about, err);
}
