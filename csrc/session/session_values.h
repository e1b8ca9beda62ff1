/* The values of variables that a filter hides everywhere: gathered from the environment of the target when it is
 * stopped, and then patterns of its callback until the dump is over. */
#ifndef MDC_SESSION_SESSION_VALUES_H
#define MDC_SESSION_SESSION_VALUES_H

#include <stdbool.h>

#include "../base/hash.h"
#include "../base/vec.h"
#include "../callback/redaction.h"

/* Strings of bytes, each once. */
typedef struct mdc_distinct {
    mdc_vec pool; /* uint8_t */
    mdc_vec ends; /* size_t, of each in the pool */
    mdc_hash table;
} mdc_distinct;

typedef struct mdc_session_values {
    mdc_callback *callback; /* NULL: no values are wanted */
    mdc_distinct told;      /* values, until all are known */
    mdc_distinct pieces;    /* what is searched for */
    uint64_t searched;      /* distinct values */
    uint64_t shorter;       /* distinct values too short to be searched for */
    bool unknown;           /* values could not be read: no environment was found, or pages of it are missing */
} mdc_session_values;

void mdc_session_values_init(mdc_session_values *values);
void mdc_session_values_fini(mdc_session_values *values);
/* One value; wide: UTF-16. More than MDC_VALUES_MAX different pieces, or MDC_VALUES_BYTES_MAX of them, are an error:
 * nothing that is to be hidden may stay because there is much of it. */
mdc_status mdc_session_values_add(void *values, const uint8_t *value, size_t size, bool wide, mdc_error *err);
/* All were added: hands them to the callback. */
mdc_status mdc_session_values_all(void *values, size_t unknown, mdc_error *err);

#endif
