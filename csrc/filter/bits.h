/* Single bits of machine words. */
#ifndef MDC_FILTER_BITS_H
#define MDC_FILTER_BITS_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
/* Index of the lowest bit set; v is not 0. */
static inline uint32_t mdc_lowest_bit(uint64_t v) {
    unsigned long i;
    _BitScanForward64(&i, v);
    return i;
}
static inline uint32_t mdc_highest_bit(uint64_t v) {
    unsigned long i;
    _BitScanReverse64(&i, v);
    return i;
}
#else
static inline uint32_t mdc_lowest_bit(uint64_t v) { return (uint32_t)__builtin_ctzll(v); }
static inline uint32_t mdc_highest_bit(uint64_t v) { return 63u - (uint32_t)__builtin_clzll(v); }
#endif

/* How many binary digits v has: 0 for 0, 64 for 2**63 and above. */
static inline uint32_t mdc_bit_width(uint64_t v) { return v == 0 ? 0 : mdc_highest_bit(v) + 1; }

static inline int mdc_test_bit(const uint64_t *row, uint32_t bit) { return (row[bit >> 6] >> (bit & 63)) & 1; }
static inline void mdc_set_bit(uint64_t *row, uint32_t bit) { row[bit >> 6] |= UINT64_C(1) << (bit & 63); }
static inline void mdc_clear_bit(uint64_t *row, uint32_t bit) { row[bit >> 6] &= ~(UINT64_C(1) << (bit & 63)); }

#endif
