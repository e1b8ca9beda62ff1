/* The engine asks once per part and remembers by what it plans. */
#include "include_region.h"

#include "../source/describe.h"

static void put_facts(const mdc_capture *capture, size_t index, uint32_t flags) {
    const mdc_engine *engine = capture->engine;
    const mdc_region *region = &capture->regions[index];
    mdc_region_facts *facts = &capture->engine->calls.input.u.RegionFacts;
    mdc_describe_facts(region, capture->lists->pool, mdc_region_name(capture, index), facts);
    facts->Kinds = capture->kinds[index];
    facts->Flags |= flags;
    if ((region->flags & MDC_REGION_DONTDUMP) != 0 && engine->options.dontdump == MDC_DONTDUMP_ASK)
        facts->Flags |= MDC_FACT_DONTDUMP;
}

mdc_status mdc_include_region(const mdc_capture *capture, size_t region, uint64_t first, uint64_t end,
                              uint32_t fact_flags, mdc_keep keep, void *context, mdc_error *err) {
    mdc_calls *calls = &capture->engine->calls;
    if (!calls->ask_regions) return keep(context, region, first, end, err);
    MINIDUMP_MEMORY_INFO info = mdc_describe_info(&capture->regions[region]);
    bool speaks_facts = (calls->extensions & (MDC_EXT_REGION_FACTS | MDC_EXT_PIECES)) != 0;
    bool exact = (fact_flags & MDC_FACT_PIECE) != 0;
    while (first < end && calls->ask_regions) {
        if (mdc_calls_cancel(calls, err) != MDC_OK) return err->code;
        if (speaks_facts) put_facts(capture, region, fact_flags);
        uint64_t kept_first = first, kept_end = end;
        if (mdc_calls_include_region(calls, &info, exact, &kept_first, &kept_end, err) != MDC_OK) return err->code;
        if (kept_first == kept_end) return MDC_OK;
        if (keep(context, region, kept_first, kept_end, err) != MDC_OK) return err->code;
        if ((calls->extensions & MDC_EXT_RESUBMIT) == 0) return MDC_OK;
        first = kept_end;
    }
    return MDC_OK;
}
