/* A secret number on POSIX (see seed.h). */
#include "seed.h"

#include <sys/random.h>
#include <sys/types.h>

#include "clock.h"

uint64_t mdc_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed) return seed;
    return mdc_clock_ns() ^ (uint64_t)(uintptr_t)&seed;
}
