/* One dump by MiniDumpWriteDump: library, target, snapshot, the call itself, and what became of it.
 *
 * The output is in a store and is not handed out yet: the code that pairs engine and callee checks it first.
 */
#ifndef MDC_DBGHELP_INVOCATION_H
#define MDC_DBGHELP_INVOCATION_H

#include "../api/dbghelp.h"
#include "../api/engine.h"
#include "dump_reader.h"
#include "proxy.h"

typedef struct mdc_dbghelp_request {
    const mdc_dbghelp_options *options;
    const mdc_engine_options *engine; /* dump_type, callback, extensions, exception, user streams, gaps_max */
    int32_t pid;
    int64_t process;      /* 0, or the caller's HANDLE of the target */
    int64_t shown_handle; /* 0, or the HANDLE that callbacks see, which is not used */
    uint64_t start_time;  /* 0, or the FILETIME of its creation */
    int io;               /* MDC_PROXY_IO_* */
    bool ours;            /* the callee is the trampoline with a filter */
    bool own_io;          /* it takes the bytes of the finished dump, and gets an IoStart of its own then */
    bool tolerates;       /* reads that fail are gaps */
    bool asks_once;       /* the engine does not ask again about the rest of a region */
} mdc_dbghelp_request;

typedef struct mdc_dbghelp mdc_dbghelp;

/* Loads the library and opens the target. Everything given outlives the dump. */
mdc_dbghelp *mdc_dbghelp_new(const mdc_dbghelp_request *request, mdc_staging_file *store, mdc_dump_control *control,
                             mdc_error *err);
/* Waits for its turn, calls, and lets snapshot, target and library go. On failure the store is empty. */
mdc_status mdc_dbghelp_run(mdc_dbghelp *dbghelp, mdc_error *err);
/* Behind the run: what was seen, until mdc_dbghelp_free. */
mdc_proxy *mdc_dbghelp_proxy(mdc_dbghelp *dbghelp);
/* How long the call itself took, with a snapshot how long taking that took. */
uint64_t mdc_dbghelp_stop_time_ns(const mdc_dbghelp *dbghelp);
int32_t mdc_dbghelp_pid(const mdc_dbghelp *dbghelp);
void mdc_dbghelp_free(mdc_dbghelp *dbghelp); /* NULL is allowed */

#endif
