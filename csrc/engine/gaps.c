/* The gaps of a dump: a table of fixed size, whose last entry stands for the rest when it is full. */
#include "../base/arith.h"
#include "dump_state.h"

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
    dump->gaps_full = true;
}
