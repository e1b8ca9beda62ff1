/* Content of a finished dump by dbghelp that is not memory: registers, names, the exception. dbghelp does not ask
 * about most of it, and shows none of it; so what the filter leaves out or hides is overwritten in the file. */
#ifndef MDC_DBGHELP_SCRUB_ITEMS_H
#define MDC_DBGHELP_SCRUB_ITEMS_H

#include "../api/callback.h"
#include "dump_reader.h"
#include "proxy.h"

typedef struct mdc_scrub_items {
    mdc_callback *callback;
    const mdc_proxy *proxy;
    const mdc_dump_reader *file;
    mdc_staging_file *store;
    bool redacts;          /* hide patterns in what stays */
    bool exception_hidden; /* memory that describes the exception is left out */
    uint64_t edited_bytes; /* out: that differ now */
    bool left_out;         /* out: registers, or an exception, went from the file */
} mdc_scrub_items;

mdc_status mdc_scrub_items_hide(mdc_scrub_items *items, mdc_dump_control *control, mdc_error *err);

#endif
