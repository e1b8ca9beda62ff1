/* Asking IncludeVmRegion (10): with facts about the mapping, again about the remainder if the callee understands that,
 * and about pieces of a Normal dump. The engine asks once per part and remembers by what it plans. */
#include "../base/arith.h"
#include "../base/bound.h"
#include "../source/describe.h"
#include "dump_state.h"

enum { REGIONS_PER_CHECK = 64 }; /* the monitor reads the clock: dearer than a callback */

int64_t mdc_regions_find(const mdc_dump *dump, uint64_t address) {
    size_t at;
    mdc_lower_bound(at, 0, dump->region_count, dump->regions[at].base <= address);
    if (at == 0 || address - dump->regions[at - 1].base >= dump->regions[at - 1].size) return MDC_NO_REGION;
    return (int64_t)(at - 1);
}

bool mdc_regions_closed(const mdc_dump *dump, size_t region) {
    const mdc_region *it = &dump->regions[region];
    if ((it->flags & MDC_REGION_NEVER_READ) != 0 || it->state != MDC_MEM_COMMIT) return true;
    if (it->filtered == it->size) return true;
    if ((it->flags & MDC_REGION_DONTDUMP) == 0) return false;
    bool can_ask = dump->calls.callback.CallbackRoutine != NULL;
    return dump->options.dontdump == MDC_DONTDUMP_HONOUR || (dump->options.dontdump == MDC_DONTDUMP_ASK && !can_ask);
}

static void put_facts(mdc_dump *dump, size_t index, uint32_t flags) {
    const mdc_region *region = &dump->regions[index];
    mdc_region_facts *facts = &dump->calls.input.u.RegionFacts;
    mdc_name name = region->name_id != 0 ? dump->lists->names[region->name_id - 1] : (mdc_name){0, 0};
    mdc_describe_facts(region, dump->lists->pool, name, facts);
    facts->Kinds = mdc_vec_at(&dump->report_regions, mdc_report_region, index).kinds;
    facts->Flags |= flags;
    if ((region->flags & MDC_REGION_DONTDUMP) != 0 && dump->options.dontdump == MDC_DONTDUMP_ASK)
        facts->Flags |= MDC_FACT_DONTDUMP;
}

mdc_status mdc_regions_ask(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t fact_flags,
                           uint32_t extent_flags, mdc_keep keep, mdc_error *err) {
    mdc_calls *calls = &dump->calls;
    if (!calls->ask_regions) return keep(dump, region, first, end, extent_flags, err);
    MINIDUMP_MEMORY_INFO info = mdc_describe_info(&dump->regions[region]);
    bool speaks_facts = (calls->extensions & (MDC_EXT_REGION_FACTS | MDC_EXT_PIECES)) != 0;
    bool exact = (fact_flags & MDC_FACT_PIECE) != 0;
    while (first < end && calls->ask_regions) {
        if (mdc_calls_cancel(calls, err) != MDC_OK) return err->code;
        if (speaks_facts) put_facts(dump, region, fact_flags);
        uint64_t kept_first = first, kept_end = end;
        if (mdc_calls_include_region(calls, &info, exact, &kept_first, &kept_end, err) != MDC_OK) return err->code;
        if (kept_first == kept_end) return MDC_OK;
        if (keep(dump, region, kept_first, kept_end, extent_flags, err) != MDC_OK) return err->code;
        if ((calls->extensions & MDC_EXT_RESUBMIT) == 0) return MDC_OK;
        first = kept_end;
    }
    return MDC_OK;
}

/* A kept part of a full dump, cut where stacks begin and end: their bytes are elsewhere in the file. */
static mdc_status keep_full(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t extent_flags,
                            mdc_error *err) {
    const mdc_stack *stacks = dump->stacks.data;
    size_t *cursor = &dump->stack_cursor;
    mdc_status status = MDC_OK;
    dump->kept_by_callee += end - first;
    while (first < end && status == MDC_OK) {
        while (*cursor < dump->stacks.count && stacks[*cursor].end <= first) ++*cursor;
        const mdc_stack *stack = *cursor < dump->stacks.count ? &stacks[*cursor] : NULL;
        bool inside = stack != NULL && stack->first <= first;
        uint64_t stop = end;
        if (stack != NULL) stop = mdc_min_u64(end, inside ? stack->end : mdc_max_u64(stack->first, first));
        status =
            mdc_extents_add(dump, region, first, stop, inside ? extent_flags | MDC_EXTENT_STACK : extent_flags, err);
        first = stop;
    }
    return status;
}

mdc_status mdc_regions_plan_full(mdc_dump *dump, mdc_error *err) {
    for (size_t i = 0; i < dump->region_count; i++) {
        if (i % REGIONS_PER_CHECK == 0 && mdc_monitor_check(dump->monitor, err) != MDC_OK) return err->code;
        if (mdc_regions_closed(dump, i)) continue;
        const mdc_region *region = &dump->regions[i];
        uint64_t size = region->size - region->filtered;
        dump->kept_by_callee = 0;
        if (mdc_regions_ask(dump, i, region->base, region->base + size, 0, 0, keep_full, err) != MDC_OK)
            return err->code;
        uint32_t *flags = &mdc_vec_at(&dump->report_regions, mdc_report_region, i).flags;
        if (dump->kept_by_callee == 0)
            *flags |= MDC_REGION_EXCLUDED;
        else if (dump->kept_by_callee < size)
            *flags |= MDC_REGION_NARROWED;
    }
    return MDC_OK;
}
