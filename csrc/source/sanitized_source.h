/* A source that wraps another one and hides values of environment variables: every read of the bytes of such a
 * value, for any part of the dump, gets a fill byte instead. Only the block that the kernel knows as the environment is
 * hidden; copies that the program made of it elsewhere are not. */
#ifndef MDC_SOURCE_SANITIZED_SOURCE_H
#define MDC_SOURCE_SANITIZED_SOURCE_H

#include "source.h"

/* Whether the value of the variable with this name is hidden. A string without `=` is checked as a whole. */
typedef bool (*mdc_hides)(const void *context, const uint8_t *name, size_t size);

/* Takes `inner` over, and frees it with itself; if it fails (NULL, *err filled), inner stays the caller's. `context`
 * has to live as long. */
mdc_source *mdc_sanitized_source_new(mdc_source *inner, mdc_hides hides, const void *context, uint8_t fill,
                                     mdc_error *err);
/* After stop: how many variables are hidden. */
uint64_t mdc_sanitized_source_count(const mdc_source *sanitized);

#endif
