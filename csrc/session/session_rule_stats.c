/* Bytes by rule (see session_rule_stats.h). */
#include "session_rule_stats.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/vec.h"
#include "../callback/callback_rule_stats.h"
#include "../source/describe.h"

void mdc_session_rule_stats_init(mdc_session_rule_stats *bytes) {
    memset(bytes, 0, sizeof *bytes);
    mdc_error_clear(&bytes->error);
}

void mdc_session_rule_stats_fini(mdc_session_rule_stats *bytes) {
    mdc_dealloc(bytes->kept); /* one block for all */
    bytes->kept = bytes->excluded = bytes->over_budget = NULL;
}

mdc_status mdc_session_rule_stats_reserve(mdc_session_rule_stats *bytes, const mdc_callback *callback, mdc_error *err) {
    size_t entries = mdc_callback_rule_count(callback) + 1;
    /* kept, excluded, over the budget, and what is not asked for */
    bytes->kept = mdc_alloc(entries, 4 * sizeof *bytes->kept, err);
    if (bytes->kept == NULL) return err->code;
    bytes->excluded = bytes->kept + entries;
    bytes->over_budget = bytes->excluded + entries;
    bytes->entries = entries;
    return MDC_OK;
}

static bool was_read(const mdc_report_region *region, const mdc_engine_options *options) {
    if ((region->flags & MDC_REGION_NEVER_READ) != 0 || region->state != MDC_MEM_COMMIT) return false;
    return (region->flags & MDC_REGION_DONTDUMP) == 0 || options->dontdump != MDC_DONTDUMP_HONOUR;
}

/* The question the engine asked about [first, end) of a mapping. */
typedef struct question {
    MINIDUMP_MEMORY_INFO info;
    mdc_region_facts facts;
} question;

static question make_question(const mdc_report *report, const mdc_report_region *region,
                              const mdc_engine_options *options, uint32_t flags, uint64_t first, uint64_t end) {
    /* The engine's number of this name is not in the report; one that no table holds makes the callee look again. */
    const mdc_region mapping = {.base = region->base,
                                .size = region->size,
                                .state = region->state,
                                .protect = region->protect,
                                .type = region->type,
                                .kinds = region->kinds,
                                .alloc_base = region->base,
                                .name_id = region->name_size != 0 ? UINT32_MAX : 0};
    question made = {.info = mdc_describe_info(&mapping)};
    mdc_describe_facts(&mapping, report->names, (mdc_name){region->name, region->name_size}, &made.facts);
    made.info.BaseAddress = first;
    made.info.RegionSize = end - first;
    made.facts.Flags |= flags;
    if ((region->flags & MDC_REGION_DONTDUMP) != 0 && options->dontdump == MDC_DONTDUMP_ASK)
        made.facts.Flags |= MDC_FACT_DONTDUMP;
    return made;
}

static uint32_t piece_flags(const mdc_extent *extent) {
    return MDC_FACT_PIECE | ((extent->flags & MDC_EXTENT_BLOCK) != 0 ? MDC_FACT_ADDED : 0u);
}

static mdc_status count_region(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                               const mdc_report_region *region, const mdc_engine_options *options, uint64_t end,
                               uint64_t *kept) {
    question asked = make_question(report, region, options, 0, region->base, end);
    return mdc_callback_rule_stats(callback, &asked.info, &asked.facts, region->base, end, kept, bytes->excluded,
                                   bytes->entries, &bytes->error);
}

/* Of a piece of the plan, or of what was taken out of it. */
static mdc_status count_extent(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                               const mdc_extent *extent, const mdc_engine_options *options, uint64_t *kept) {
    uint64_t end, *nowhere = bytes->over_budget + bytes->entries;
    if (extent->region >= report->region_count || !mdc_add_u64(extent->address, extent->size, &end)) return MDC_OK;
    question asked =
        make_question(report, &report->regions[extent->region], options, piece_flags(extent), extent->address, end);
    return mdc_callback_rule_stats(callback, &asked.info, &asked.facts, extent->address, end, kept, nowhere,
                                   bytes->entries, &bytes->error);
}

mdc_status mdc_session_rules_walk(const mdc_callback *callback, const mdc_report *plan, const mdc_extent *extent,
                                  const mdc_engine_options *options, mdc_match_visit visit, void *context,
                                  mdc_error *err) {
    uint64_t end;
    if (extent->region >= plan->region_count || !mdc_add_u64(extent->address, extent->size, &end)) return MDC_OK;
    question asked =
        make_question(plan, &plan->regions[extent->region], options, piece_flags(extent), extent->address, end);
    return mdc_callback_rule_walk(callback, &asked.info, &asked.facts, extent->address, end, visit, context, err);
}

void mdc_session_rule_stats_count(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                                  const mdc_engine_options *options) {
    bool full = (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    uint64_t *nowhere = bytes->over_budget + bytes->entries;
    for (size_t i = 0; i < report->region_count; i++) {
        const mdc_report_region *region = &report->regions[i];
        uint64_t end;
        if (!was_read(region, options) || !mdc_add_u64(region->base, region->size - region->filtered, &end)) continue;
        if (end == region->base) continue;
        if (count_region(bytes, callback, report, region, options, end, full ? bytes->kept : nowhere) != MDC_OK) return;
    }
    for (size_t i = 0; !full && i < report->extent_count; i++)
        if (count_extent(bytes, callback, report, &report->extents[i], options, bytes->kept) != MDC_OK) return;
    for (size_t i = 0; i < report->cut_count; i++) {
        const mdc_extent *cut = &report->cut[i];
        if (count_extent(bytes, callback, report, cut, options, bytes->over_budget) != MDC_OK ||
            (!full && count_extent(bytes, callback, report, cut, options, bytes->kept) != MDC_OK))
            return;
    }
}

mdc_status mdc_session_rule_stats_add(const mdc_session_rule_stats *bytes, uint64_t *kept, uint64_t *excluded,
                                      size_t entries, mdc_error *err) {
    if (bytes->error.code != MDC_OK) {
        if (err->code == MDC_OK) *err = bytes->error;
        return bytes->error.code;
    }
    if (entries != bytes->entries)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "%zu entries were given for %zu rules and the default",
                        entries, bytes->entries - 1);
    for (size_t i = 0; i < entries; i++) {
        kept[i] += bytes->kept[i];
        excluded[i] += bytes->excluded[i];
    }
    return MDC_OK;
}
