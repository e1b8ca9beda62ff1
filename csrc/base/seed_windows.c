/* A secret number on Windows (see seed.h). */
#define _CRT_RAND_S
#include <stdlib.h>

#include "clock.h"
#include "seed.h"

uint64_t mdc_seed(void) {
    unsigned high, low;
    if (rand_s(&high) == 0 && rand_s(&low) == 0) return (uint64_t)high << 32 | low;
    return mdc_clock_ns() ^ (uint64_t)(uintptr_t)&high;
}
