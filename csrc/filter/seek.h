/* Finding the interval of an address, from where the last one was found: engines ask in rising order, so the cursor is
 * right or one short nearly always. */
#ifndef MDC_FILTER_SEEK_H
#define MDC_FILTER_SEEK_H

#include <stdint.h>

/* The last i < count with start[i] <= address; start[0] is 0. No branch depends on the data. */
static inline uint32_t mdc_seek_search(const uint64_t *start, uint32_t count, uint64_t address) {
    const uint64_t *base = start;
    while (count > 1) {
        uint32_t half = count / 2;
        base = base[half] <= address ? base + half : base;
        count -= half;
    }
    return (uint32_t)(base - start);
}

/* Doubles the step from `at`, whose start is <= address, then searches what the last step jumped over. */
uint32_t mdc_seek_gallop(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address);

/* start[count] is 0 for 2**64: start[i + 1] - 1 is the last address of interval i, also of the last one. */
static inline uint32_t mdc_seek(const uint64_t *start, uint32_t count, uint32_t at, uint64_t address) {
    if (address >= start[at]) {
        if (address <= start[at + 1] - 1) return at;
        if (address <= start[at + 2] - 1) return at + 1; /* interval `at` is not the last one: at + 2 <= count */
        return mdc_seek_gallop(start, count, at + 2, address);
    }
    return mdc_seek_search(start, count, address);
}

#endif
