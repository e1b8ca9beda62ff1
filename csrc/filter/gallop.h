/* Finding the interval of an address, from where the last one was found: engines ask in rising order, so the cursor is
 * right or one short nearly always. */
#ifndef MDC_FILTER_GALLOP_H
#define MDC_FILTER_GALLOP_H

#include <stdint.h>

/* From any cursor (at < count) to any address: doubles the step forwards, searches backwards. */
uint32_t mdc_gallop_far(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address);

/* start[0] is 0; start[count] is 0 for 2**64: start[i + 1] - 1 is the last address of interval i, also of the last. */
static inline uint32_t mdc_gallop(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address) {
    if (address < start[at]) return mdc_gallop_far(start, count, at, address);
    for (uint32_t limit = at + 4; address > start[at + 1] - 1; at++)
        if (at == limit) return mdc_gallop_far(start, count, at, address);
    return at;
}

#endif
