/* Which arguments of a command line are values of options that have the name of a variable to be dropped. One argument
 * after the other:
 *
 *     mdc_options options = {.drops = drops, .context = filter};
 *     for each argument
 *         mdc_option_value value = mdc_options_take(&options, text, size);
 */
#ifndef MDC_SOURCE_OPTION_VALUES_H
#define MDC_SOURCE_OPTION_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether variables with this name are dropped. */
typedef bool (*mdc_drops)(const void *context, const uint8_t *name, size_t size);

typedef struct mdc_options {
    mdc_drops drops;
    const void *context;
    bool wanted; /* the argument before was such an option, and the next one is its value */
} mdc_options;

/* Where values begin in an argument, each up to its end; its size: there is none. */
typedef struct mdc_option_value {
    size_t first;
    size_t assigned; /* in a value that is an assignment to such a name itself: where that one's begins */
} mdc_option_value;

/* NAME=VALUE, with dashes or without, or the argument after --NAME. That one may begin with a dash, as getopt(3)
 * allows, but not with two. */
mdc_option_value mdc_options_take(mdc_options *options, const uint8_t *text, size_t size);

#endif
