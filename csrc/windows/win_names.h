/* The name pool of a Windows source: paths, names of regions (each distinct one once) and CodeView records. */
#ifndef MDC_WINDOWS_WIN_NAMES_H
#define MDC_WINDOWS_WIN_NAMES_H

#include "../base/hash.h"
#include "../base/vec.h"
#include "../source/source.h"

enum { MDC_WIN_PATH_UNITS = 32768 }; /* the longest path Windows knows, with its NUL */

typedef struct mdc_win_names {
    mdc_vec pool;    /* uint8_t */
    mdc_vec names;   /* mdc_name, by name_id - 1 */
    mdc_hash table;  /* names by their bytes */
    uint16_t *units; /* MDC_WIN_PATH_UNITS of them, used when a name is filled in */
    uint8_t *bytes;  /* three times as many, likewise */
} mdc_win_names;

/* The scratch space is allocated, so that nothing else is while a name is asked for. */
mdc_status mdc_win_names_init(mdc_win_names *names, mdc_error *err);
void mdc_win_names_fini(mdc_win_names *names); /* also of one that is all zero */
/* Bytes into the pool, each time anew. */
mdc_status mdc_win_names_put(mdc_win_names *names, const void *bytes, size_t size, mdc_name *name, mdc_error *err);
mdc_status mdc_win_names_put16(mdc_win_names *names, const uint16_t *units, size_t count, mdc_name *name,
                               mdc_error *err);
/* The number of a region's name, the same for the same bytes; 0 for no bytes. */
mdc_status mdc_win_names_id(mdc_win_names *names, const uint8_t *bytes, size_t size, uint32_t *id, mdc_error *err);

#endif
