/* Checked arithmetic for numbers that come from outside, and ranges [first, end). */
#ifndef MDC_BASE_ARITH_H
#define MDC_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MDC_PAGE_SIZE UINT64_C(4096)

/* true and *sum on success, false (and *sum untouched) on overflow. */
static inline bool mdc_add_u64(uint64_t a, uint64_t b, uint64_t *sum) {
    if (a > UINT64_MAX - b) return false;
    *sum = a + b;
    return true;
}

static inline bool mdc_mul_u64(uint64_t a, uint64_t b, uint64_t *product) {
    if (b != 0 && a > UINT64_MAX / b) return false;
    *product = a * b;
    return true;
}

static inline bool mdc_to_size(uint64_t a, size_t *size) {
    if (a > SIZE_MAX) return false;
    *size = (size_t)a;
    return true;
}

static inline uint64_t mdc_min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t mdc_max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static inline uint64_t mdc_page_down(uint64_t a) { return a & ~(MDC_PAGE_SIZE - 1); }
/* Saturates at the last page boundary instead of wrapping. */
static inline uint64_t mdc_page_up(uint64_t a) {
    return a > UINT64_MAX - (MDC_PAGE_SIZE - 1) ? mdc_page_down(UINT64_MAX) : mdc_page_down(a + MDC_PAGE_SIZE - 1);
}

#endif
