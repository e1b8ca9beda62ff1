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
    mdc_dealloc(bytes->kept); /* one block for both */
    bytes->kept = bytes->excluded = NULL;
}

mdc_status mdc_session_rule_stats_reserve(mdc_session_rule_stats *bytes, const mdc_callback *callback, mdc_error *err) {
    size_t entries = mdc_callback_rule_count(callback) + 1;
    bytes->kept = mdc_alloc(entries, 3 * sizeof *bytes->kept, err); /* kept, excluded, and what is not asked for */
    if (bytes->kept == NULL) return err->code;
    bytes->excluded = bytes->kept + entries;
    bytes->entries = entries;
    return MDC_OK;
}

static bool was_read(const mdc_report_region *region, const mdc_engine_options *options) {
    if ((region->flags & MDC_REGION_NEVER_READ) != 0 || region->state != MDC_MEM_COMMIT) return false;
    return (region->flags & MDC_REGION_DONTDUMP) == 0 || options->dontdump != MDC_DONTDUMP_HONOUR;
}

/* The question the engine asked about [first, end) of a mapping, asked again. */
static mdc_status count_by_rule(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                                const mdc_report_region *region, const mdc_engine_options *options, uint32_t flags,
                                uint64_t first, uint64_t end, uint64_t *kept, uint64_t *excluded) {
    /* The engine's number of this name is not in the report; one that no table holds makes the callee look again. */
    const mdc_region mapping = {.base = region->base,
                                .size = region->size,
                                .state = region->state,
                                .protect = region->protect,
                                .type = region->type,
                                .kinds = region->kinds,
                                .alloc_base = region->base,
                                .name_id = region->name_size != 0 ? UINT32_MAX : 0};
    MINIDUMP_MEMORY_INFO info = mdc_describe_info(&mapping);
    mdc_region_facts facts;
    mdc_describe_facts(&mapping, report->names, (mdc_name){region->name, region->name_size}, &facts);
    info.BaseAddress = first;
    info.RegionSize = end - first;
    facts.Flags |= flags;
    if ((region->flags & MDC_REGION_DONTDUMP) != 0 && options->dontdump == MDC_DONTDUMP_ASK)
        facts.Flags |= MDC_FACT_DONTDUMP;
    return mdc_callback_rule_stats(callback, &info, &facts, first, end, kept, excluded, bytes->entries, &bytes->error);
}

void mdc_session_rule_stats_count(mdc_session_rule_stats *bytes, const mdc_callback *callback, const mdc_report *report,
                                  const mdc_engine_options *options) {
    bool full = (options->dump_type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    uint64_t *nowhere = bytes->excluded + bytes->entries;
    for (size_t i = 0; i < report->region_count; i++) {
        const mdc_report_region *region = &report->regions[i];
        uint64_t end;
        if (!was_read(region, options) || !mdc_add_u64(region->base, region->size - region->filtered, &end)) continue;
        if (end == region->base) continue;
        if (count_by_rule(bytes, callback, report, region, options, 0, region->base, end, full ? bytes->kept : nowhere,
                          bytes->excluded) != MDC_OK)
            return;
    }
    for (size_t i = 0; !full && i < report->extent_count; i++) {
        const mdc_extent *extent = &report->extents[i];
        uint64_t end;
        if (extent->region >= report->region_count || !mdc_add_u64(extent->address, extent->size, &end)) continue;
        uint32_t flags = MDC_FACT_PIECE | ((extent->flags & MDC_EXTENT_BLOCK) != 0 ? MDC_FACT_ADDED : 0u);
        if (count_by_rule(bytes, callback, report, &report->regions[extent->region], options, flags, extent->address,
                          end, bytes->kept, nowhere) != MDC_OK)
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
