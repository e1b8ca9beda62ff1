/* A source that wraps another one and hides texts of the target, whole or by the names of variables: every read of the
 * bytes of such a text, for any part of the dump, gets a fill byte instead. Only what the source knows the address of
 * is hidden (mdc_text, mdc_copy); copies that the program made elsewhere are not. */
#ifndef MDC_SOURCE_SANITIZED_SOURCE_H
#define MDC_SOURCE_SANITIZED_SOURCE_H

#include "option_values.h"
#include "source.h"

/* Whether the value of the variable with this name is hidden. A string without `=` is checked as a whole. */
typedef bool (*mdc_hides)(const void *context, const uint8_t *name, size_t size);

/* Gets the value of each variable that is hidden, as stop finds them (wide: UTF-16); and when all were told, how many
 * runs of bytes that may hold values could not be read. Lives as long as the source. */
typedef struct mdc_learner {
    mdc_status (*value)(void *context, const uint8_t *value, size_t size, bool wide, mdc_error *err);
    mdc_status (*all)(void *context, size_t unknown, mdc_error *err);
    void *context;
} mdc_learner;

typedef struct mdc_hiding {
    uint32_t streams;    /* MDC_STREAM_*: the memory of these texts is hidden whole */
    mdc_hides hides;     /* which variables of the environment; NULL: none */
    mdc_drops drops;     /* with a learner: options of the command line whose values are hidden and told; or NULL */
    const void *context; /* for both; lives as long as the source */
    const mdc_learner *learner; /* NULL: nothing is told */
    uint8_t fill;
} mdc_hiding;

/* Takes `inner` over, and frees it with itself; if it fails (NULL, *err filled), inner stays the caller's. */
mdc_source *mdc_sanitized_source_new(mdc_source *inner, const mdc_hiding *hiding, mdc_error *err);
/* After stop: how many variables are hidden. */
uint64_t mdc_sanitized_source_count(const mdc_source *sanitized);

#endif
