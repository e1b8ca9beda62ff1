/* Single bits of machine words. */
#ifndef MDC_FILTER_BITS_H
#define MDC_FILTER_BITS_H

#include <stdint.h>

#if defined(__GNUC__)
/* On the hot path the call would cost as much as the work. */
#define MDC_HOT static inline __attribute__((always_inline))
#define MDC_COLD __attribute__((noinline, cold))
/* Out of the way, but still compiled for speed: cold code is compiled for size. */
#define MDC_OUTLINE __attribute__((noinline))
#define MDC_PREFETCH(address) __builtin_prefetch(address)
#define MDC_LIKELY(condition) __builtin_expect(!!(condition), 1)
#else
#define MDC_HOT static inline
#define MDC_COLD
#define MDC_OUTLINE
#define MDC_PREFETCH(address) ((void)(address))
#define MDC_LIKELY(condition) (condition)
#endif

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

/* The compiler begins nothing of what follows before it has the value. Where several tables are looked up it would
 * otherwise fetch from all of them at once, and save registers of the caller for that. */
#if defined(__GNUC__)
#define MDC_SETTLE(value) __asm__ volatile("" : "+r"(value) : : "memory")
#else
#define MDC_SETTLE(value) ((void)(value))
#endif

static inline int mdc_test_bit(const uint64_t *row, uint32_t bit) { return (row[bit >> 6] >> (bit & 63)) & 1; }
static inline void mdc_set_bit(uint64_t *row, uint32_t bit) { row[bit >> 6] |= UINT64_C(1) << (bit & 63); }
static inline void mdc_clear_bit(uint64_t *row, uint32_t bit) { row[bit >> 6] &= ~(UINT64_C(1) << (bit & 63)); }

#endif
