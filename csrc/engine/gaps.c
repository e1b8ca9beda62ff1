/* The last entry of the table covers the rest when it is full. */
#include "gaps.h"

#include <inttypes.h>

#include "../base/arith.h"
#include "../base/fail.h"

enum { NAME_SHOWN = 255 }; /* bytes of a mapping's name in a message */

mdc_status mdc_gaps_init(mdc_gaps *gaps, const mdc_capture *capture, mdc_error *err) {
    gaps->engine = capture->engine;
    gaps->capture = capture;
    gaps->room = capture->engine->options.gaps_max;
    gaps->all = mdc_alloc_buffer(capture->engine->options.gaps_max, sizeof *gaps->all, err);
    return gaps->all != NULL ? MDC_OK : err->code;
}

void mdc_gaps_fini(mdc_gaps *gaps) {
    mdc_dealloc(gaps->all);
    mdc_dealloc(gaps->planned);
}

void mdc_gaps_add(mdc_gaps *gaps, uint64_t address, uint64_t size, uint32_t reason, int32_t os_errno) {
    if (size == 0) return;
    mdc_gap *last = gaps->count > 0 ? &gaps->all[gaps->count - 1] : NULL;
    bool same_time = gaps->count != gaps->planned_count || gaps->planned_count == 0;
    if (last != NULL && same_time && last->address + last->size == address && last->reason == reason &&
        last->os_errno == os_errno) {
        last->size += size;
        return;
    }
    if (gaps->count < gaps->room) {
        gaps->all[gaps->count++] = (mdc_gap){address, size, reason, os_errno};
        return;
    }
    /* The last entry becomes the hull of all that found no room. */
    uint64_t first = mdc_min_u64(last->address, address);
    uint64_t end = mdc_max_u64(last->address + last->size, address + size);
    *last = (mdc_gap){first, end - first, MDC_GAP_TRUNCATED, last->os_errno};
    gaps->full = true;
}

mdc_status mdc_gaps_ask(mdc_gaps *gaps, uint64_t first, uint64_t end, uint32_t reason, int32_t os_errno,
                        const char *why, mdc_error *err) {
    mdc_engine *engine = gaps->engine;
    bool tolerated = mdc_gaps_tolerated(engine);
    while (first < end && !engine->options.plan_only && !tolerated) {
        uint32_t part = (uint32_t)mdc_min_u64(end - first, UINT32_MAX & ~(MDC_PAGE_SIZE - 1));
        if (!mdc_calls_read_failure(&engine->calls, first, part)) {
            int64_t found = mdc_regions_find(gaps->capture, first);
            mdc_name name = found != MDC_NO_REGION ? mdc_region_name(gaps->capture, (size_t)found) : (mdc_name){0, 0};
            int size = (int)mdc_min_u64(name.size, NAME_SHOWN);
            mdc_fail(err, MDC_ERR_READ, atomic_load(&engine->control->phase), 0, "0x%" PRIx64 "%s%.*s %s%s", first,
                     size > 0 ? " of " : "", size, (const char *)mdc_capture_name(gaps->capture, name), why,
                     engine->calls.callback.CallbackRoutine != NULL ? "; the callback did not tolerate it" : "");
            err->address = first;
            err->hresult = MDC_E_PARTIAL_COPY;
            return err->code;
        }
        mdc_gaps_add(gaps, first, part, reason, os_errno);
        first += part;
    }
    if (first < end) mdc_gaps_add(gaps, first, end - first, reason, os_errno);
    return MDC_OK;
}

mdc_status mdc_gaps_plan_ends(mdc_gaps *gaps, mdc_error *err) {
    gaps->planned_count = gaps->count;
    gaps->planned = mdc_alloc(gaps->count, sizeof *gaps->planned, err);
    if (gaps->planned == NULL) return err->code;
    /* A copy: the stream of planned gaps is written again when lists are patched, and the table's last entry may have
     * become the hull of what found no room. */
    for (size_t i = 0; i < gaps->count; i++) gaps->planned[i] = gaps->all[i];
    return MDC_OK;
}

bool mdc_gaps_tolerated(const mdc_engine *engine) {
    return engine->full && (engine->options.dump_type & MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY) != 0;
}
