/* The gaps of a dump: a table of fixed size, whose last entry covers the rest when it is full. */
#include <inttypes.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "dump_state.h"

enum { NAME_SHOWN = 255 }; /* bytes of a mapping's name in a message */

void mdc_gaps_add(mdc_dump *dump, uint64_t address, uint64_t size, uint32_t reason, int32_t os_errno) {
    if (size == 0) return;
    mdc_gap *last = dump->gap_count > 0 ? &dump->gaps[dump->gap_count - 1] : NULL;
    bool same_time = dump->gap_count != dump->planned_gaps || dump->planned_gaps == 0;
    if (last != NULL && same_time && last->address + last->size == address && last->reason == reason &&
        last->os_errno == os_errno) {
        last->size += size;
        return;
    }
    if (dump->gap_count < dump->options.gaps_max) {
        dump->gaps[dump->gap_count++] = (mdc_gap){address, size, reason, os_errno};
        return;
    }
    /* The last entry becomes the hull of all that found no room. */
    uint64_t first = mdc_min_u64(last->address, address);
    uint64_t end = mdc_max_u64(last->address + last->size, address + size);
    *last = (mdc_gap){first, end - first, MDC_GAP_TRUNCATED, last->os_errno};
    dump->warnings |= MDC_WARN_GAP_TABLE_FULL;
}

mdc_status mdc_gaps_ask(mdc_dump *dump, uint64_t first, uint64_t end, uint32_t reason, int32_t os_errno,
                        const char *why, mdc_error *err) {
    bool tolerated = dump->full && (dump->options.dump_type & MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY) != 0;
    while (first < end && !dump->options.plan_only && !tolerated) {
        uint32_t part = (uint32_t)mdc_min_u64(end - first, UINT32_MAX & ~(MDC_PAGE_SIZE - 1));
        if (!mdc_calls_read_failure(&dump->calls, first, part)) {
            int64_t found = mdc_regions_find(dump, first);
            uint32_t id = found != MDC_NO_REGION ? dump->regions[found].name_id : 0;
            mdc_name name = id != 0 ? dump->lists->names[id - 1] : (mdc_name){0, 0};
            int size = (int)mdc_min_u64(name.size, NAME_SHOWN);
            mdc_fail(err, MDC_ERR_READ, atomic_load(&dump->monitor->phase), 0, "0x%" PRIx64 "%s%.*s %s%s", first,
                     size > 0 ? " of " : "", size, (const char *)mdc_dump_name(dump, name), why,
                     dump->calls.callback.CallbackRoutine != NULL ? "; the callback did not tolerate it" : "");
            err->address = first;
            err->hresult = MDC_E_PARTIAL_COPY;
            return err->code;
        }
        mdc_gaps_add(dump, first, part, reason, os_errno);
        first += part;
    }
    if (first < end) mdc_gaps_add(dump, first, end - first, reason, os_errno);
    return MDC_OK;
}
