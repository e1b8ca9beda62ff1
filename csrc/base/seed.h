/* A secret number, so that the source of the keys of a hash table cannot choose keys that collide. */
#ifndef MDC_BASE_SEED_H
#define MDC_BASE_SEED_H

#include <stdint.h>

/* Another one each time. From the system's random numbers; where those are not ready yet, from the clock and an
 * address.
 */
uint64_t mdc_seed(void);

#endif
