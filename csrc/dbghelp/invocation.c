/* One call of MiniDumpWriteDump (see invocation.h). */
#include "invocation.h"

#include <inttypes.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/fail.h"
#include "../windows/win_process.h"
#include "caller_streams.h"
#include "exception_pointers.h"
#include "library.h"
#include "pss_snapshot.h"
#include "turn.h"

enum {
    TYPE_WITH_HANDLE_DATA = 0x4,
    TYPES_OF_ALL_VERSIONS = 0x1FFFFF, /* bits that dbghelp 6.3 of Windows 8.1 knows; younger ones have more */
    ERROR_OF_NEW_VERSIONS = 1         /* what those of Windows 10 and 11 return for every failure */
};

struct mdc_dbghelp {
    mdc_dbghelp_request request;
    mdc_exception_info exception; /* all zero if there was none, or if it is to be left out */
    mdc_dump_control *control;
    mdc_staging_file *store;
    mdc_dbghelp_library library;
    mdc_pss_snapshot snapshot;
    mdc_win_process process;
    mdc_proxy proxy;
    mdc_caller_streams streams;
    uint64_t stop_time_ns;
};

/* -- what is passed ------------------------------------------------------------------------------------------------ */

static mdc_status check_options(const mdc_engine_options *engine, mdc_error *err) {
    if (engine->plan_only)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                        "dbghelp cannot plan a dump without writing it: use the engine of this package");
    if (engine->dump_type > UINT32_MAX)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "MINIDUMP_TYPE has 32 bits, 0x%llX has more",
                        (unsigned long long)engine->dump_type);
    if (engine->exception.thread_id != 0 && engine->exception.pointers > UINTPTR_MAX)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
                        "the exception pointers lie outside what this process can address");
    return MDC_OK;
}

static mdc_status check_exception(const mdc_exception_info *exception, HANDLE process, mdc_error *err) {
    uint64_t address = 0;
    if (mdc_dbghelp_exception_readable(exception, process, &address)) return MDC_OK;
    mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0,
             "exception: there is nothing to read at 0x%" PRIx64 " in the memory of %s", address,
             exception->client != 0 ? "the target" : "this process");
    err->address = address;
    return err->code;
}

static mdc_status open_all(mdc_dbghelp *dbghelp, mdc_error *err) {
    const mdc_dbghelp_request *request = &dbghelp->request;
    bool snapshot = request->options->snapshot != 0;
    mdc_win_open how = {
        .pid = request->pid, .process = request->process, .start_time = request->start_time, .any_width = true};
    if (snapshot)
        how.access = PROCESS_CREATE_PROCESS | PROCESS_DUP_HANDLE;
    else if ((request->engine->dump_type & TYPE_WITH_HANDLE_DATA) != 0)
        how.access = PROCESS_DUP_HANDLE;
    if (mdc_dbghelp_library_load(&dbghelp->library, request->options->dll, err) != MDC_OK ||
        (snapshot && mdc_pss_snapshot_load(&dbghelp->snapshot, request->options->pss, err) != MDC_OK) ||
        mdc_caller_streams_init(&dbghelp->streams, request->engine, err) != MDC_OK)
        return err->code;
    return mdc_win_process_open(&dbghelp->process, &how, err);
}

mdc_dbghelp *mdc_dbghelp_new(const mdc_dbghelp_request *request, mdc_staging_file *store, mdc_dump_control *control,
                             mdc_error *err) {
    if (check_options(request->engine, err) != MDC_OK) return NULL;
    mdc_dbghelp *dbghelp = mdc_alloc(1, sizeof *dbghelp, err);
    if (dbghelp == NULL) return NULL;
    dbghelp->request = *request;
    dbghelp->control = control;
    dbghelp->store = store;
    if ((request->engine->omit_streams & MDC_STREAM_EXCEPTION) == 0) dbghelp->exception = request->engine->exception;
    if (mdc_proxy_init(&dbghelp->proxy, &request->engine->callback, control, err) != MDC_OK ||
        open_all(dbghelp, err) != MDC_OK ||
        check_exception(&dbghelp->exception, dbghelp->process.handle, err) != MDC_OK) {
        mdc_dbghelp_free(dbghelp);
        return NULL;
    }
    mdc_proxy *proxy = &dbghelp->proxy;
    proxy->store = store;
    proxy->pid = dbghelp->process.pid;
    if (!request->options->snapshot) {
        proxy->shown_handle = (void *)(intptr_t)request->shown_handle;
        proxy->passed = dbghelp->process.handle;
    }
    proxy->io = request->io;
    proxy->facts = (request->engine->extensions & MDC_EXT_REGION_FACTS) != 0;
    proxy->snapshot = request->options->snapshot != 0;
    proxy->told_io = request->ours && !request->own_io;
    proxy->resubmits = request->ours && !request->asks_once;
    proxy->exception = dbghelp->exception;
    proxy->annotated = request->engine->annotation_count > 0;
    if (request->engine->answers_max != 0) proxy->answers_max = request->engine->answers_max;
    if (request->engine->gaps_max != 0) proxy->gaps_max = request->engine->gaps_max;
    return dbghelp;
}

/* -- the call ------------------------------------------------------------------------------------------------------ */

/* What the HRESULT means, by the kind of thing that was refused. */
static mdc_status meaning(const mdc_dbghelp *dbghelp, uint32_t hresult) {
    if (!mdc_win_process_runs(&dbghelp->process)) return MDC_ERR_TARGET_GONE;
    if (hresult == MDC_E_OUTOFMEMORY) return MDC_ERR_NOMEM;
    if (hresult == MDC_E_CANCELLED) return MDC_ERR_CANCELLED;
    if (hresult == MDC_E_INVALIDARG) return MDC_ERR_INVALID;
    if (hresult >> 16 != 0x8007) return MDC_ERR_TARGET;
    switch (hresult & 0xFFFF) {
    case ERROR_ACCESS_DENIED:
    case ERROR_PRIVILEGE_NOT_HELD:
        return MDC_ERR_ACCESS;
    case ERROR_PARTIAL_COPY:
    case ERROR_NOACCESS:
    case ERROR_GEN_FAILURE:
    case ERROR_INVALID_USER_BUFFER:
        return MDC_ERR_READ;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_WRITE_FAULT:
    case ERROR_WRITE_PROTECT:
    case ERROR_FILE_TOO_LARGE:
    case ERROR_BROKEN_PIPE:
    case ERROR_NO_DATA:
        return MDC_ERR_SINK;
    default:
        return MDC_ERR_TARGET;
    }
}

static const char *advice(mdc_status code) {
    switch (code) {
    case MDC_ERR_ACCESS:
        return "; run as the target's user or as an administrator with SeDebugPrivilege enabled";
    case MDC_ERR_READ:
        return "; tolerate read failures, or take a snapshot";
    case MDC_ERR_TARGET_GONE:
        return "; the target has ended";
    case MDC_ERR_SINK:
        return "; check the disk of the output";
    default:
        return "";
    }
}

/* A dump type is looked at after the first callbacks, and before anything else. */
static bool refused_type(const mdc_dbghelp *dbghelp, uint32_t hresult) {
    const uint64_t *calls = dbghelp->proxy.calls;
    return (hresult == MDC_E_INVALIDARG || hresult == (0x80070000u | ERROR_OF_NEW_VERSIONS)) &&
           calls[MDC_CB_IO_START] != 0 && calls[MDC_CB_SECONDARY_FLAGS] == 0 && calls[MDC_CB_INCLUDE_THREAD] == 0 &&
           (dbghelp->request.engine->dump_type & ~(uint64_t)TYPES_OF_ALL_VERSIONS) != 0;
}

/* MiniDumpWriteDump's last error is an HRESULT; a Win32 code is taken for one, since old versions left some. */
static mdc_status fail_dump(mdc_dbghelp *dbghelp, uint32_t last, mdc_error *err) {
    mdc_proxy *proxy = &dbghelp->proxy;
    const uint16_t *version = dbghelp->library.version;
    uint32_t hresult = last == 0 ? MDC_E_FAIL : last < 0x10000 ? 0x80070000u | last : last;
    if (last == ERROR_OF_NEW_VERSIONS && proxy->failure != 0) hresult = proxy->failure;
    if (mdc_control_check(dbghelp->control, err) != MDC_OK || proxy->error.code != MDC_OK) {
        if (err->code == MDC_OK) *err = proxy->error;
        if (last == ERROR_OF_NEW_VERSIONS) hresult = MDC_E_CANCELLED; /* it was cancelled */
    } else if (proxy->refused.code != MDC_OK) {
        *err = proxy->refused;
        if (last == ERROR_OF_NEW_VERSIONS) hresult = proxy->refused.hresult;
    } else if (refused_type(dbghelp, hresult)) {
        hresult = MDC_E_INVALIDARG;
        mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_WRITE, 0,
                 "MiniDumpWriteDump refuses the dump type: its version, %u.%u.%u.%u, does not support some of the bits "
                 "0x%llX, or not together (0x%08X)",
                 version[0], version[1], version[2], version[3],
                 (unsigned long long)(dbghelp->request.engine->dump_type & ~(uint64_t)TYPES_OF_ALL_VERSIONS),
                 (unsigned)hresult);
    } else {
        mdc_status code = meaning(dbghelp, hresult);
        int32_t error = hresult >> 16 == 0x8007 ? (int32_t)(hresult & 0xFFFF) : 0;
        mdc_fail(err, code, MDC_PHASE_WRITE, error, "MiniDumpWriteDump failed with 0x%08X%s", (unsigned)hresult,
                 hresult == (0x80070000u | ERROR_OF_NEW_VERSIONS) ? ", which this version returns for every failure"
                                                                  : advice(code));
        err->os_errno = error;
    }
    err->hresult = hresult;
    return err->code;
}

/* ReadMemoryFailure (14) is never sent in a full dump: this bit is what makes it go on there. */
static uint32_t dump_type_of(const mdc_dbghelp *dbghelp) {
    uint32_t type = (uint32_t)dbghelp->request.engine->dump_type;
    if ((dbghelp->request.engine->omit_streams & MDC_STREAM_HANDLE_DATA) != 0) type &= ~(uint32_t)TYPE_WITH_HANDLE_DATA;
    bool goes_on = dbghelp->request.tolerates && (type & MDC_TYPE_WITH_FULL_MEMORY) != 0;
    return goes_on ? type | MDC_TYPE_IGNORE_INACCESSIBLE_MEMORY : type;
}

static mdc_status call(mdc_dbghelp *dbghelp, mdc_error *err) {
    MINIDUMP_EXCEPTION_INFORMATION exception = {.ThreadId = dbghelp->exception.thread_id,
                                                .ExceptionPointers = (void *)(uintptr_t)dbghelp->exception.pointers,
                                                .ClientPointers = dbghelp->exception.client};
    MINIDUMP_USER_STREAM_INFORMATION streams = {.UserStreamCount = dbghelp->streams.count,
                                                .UserStreamArray = dbghelp->streams.all};
    MINIDUMP_CALLBACK_INFORMATION callback = mdc_proxy_information(&dbghelp->proxy);
    void *snapshot = dbghelp->snapshot.handle;
    /* A snapshot without a clone of the memory gives no regions by itself. */
    dbghelp->proxy.process = snapshot != NULL ? dbghelp->snapshot.clone : dbghelp->process.handle;
    uint64_t began = mdc_clock_ns();
    atomic_store_explicit(&dbghelp->control->stopped, snapshot == NULL, memory_order_relaxed);
    SetLastError(0);
    BOOL written = dbghelp->library.write_dump(snapshot != NULL ? snapshot : dbghelp->process.handle,
                                               (DWORD)dbghelp->process.pid, dbghelp->store->file, dump_type_of(dbghelp),
                                               dbghelp->exception.thread_id != 0 ? &exception : NULL,
                                               streams.UserStreamCount != 0 ? &streams : NULL, &callback);
    uint32_t last = GetLastError();
    atomic_store_explicit(&dbghelp->control->stopped, 0, memory_order_relaxed);
    if (snapshot == NULL) dbghelp->stop_time_ns = mdc_clock_ns() - began;
    if (!written) return fail_dump(dbghelp, last, err);
    /* dbghelp that never asked about Cancel does not know that the dump was not wanted any more. */
    if (mdc_control_check(dbghelp->control, err) != MDC_OK) return err->code;
    if (dbghelp->proxy.error.code != MDC_OK) *err = dbghelp->proxy.error;
    return err->code;
}

static mdc_status take_snapshot(mdc_dbghelp *dbghelp, mdc_error *err) {
    if (dbghelp->request.options->snapshot == 0) return MDC_OK;
    uint64_t began = mdc_clock_ns();
    mdc_status status = mdc_pss_snapshot_take(&dbghelp->snapshot, dbghelp->process.handle, err);
    dbghelp->stop_time_ns = mdc_clock_ns() - began;
    return status;
}

static void set_phase(mdc_dbghelp *dbghelp, int32_t phase) {
    atomic_store_explicit(&dbghelp->control->phase, phase, memory_order_relaxed);
}

mdc_status mdc_dbghelp_run(mdc_dbghelp *dbghelp, mdc_error *err) {
    HANDLE turn = NULL;
    set_phase(dbghelp, MDC_PHASE_OPEN);
    mdc_status status = mdc_dbghelp_turn_take(&turn, dbghelp->control, err);
    if (status == MDC_OK) {
        set_phase(dbghelp, MDC_PHASE_STOP);
        status = take_snapshot(dbghelp, err);
    }
    if (status == MDC_OK) {
        set_phase(dbghelp, MDC_PHASE_WRITE);
        status = call(dbghelp, err);
    }
    mdc_dbghelp_turn_give(turn);
    dbghelp->proxy.process = NULL;
    if (status == MDC_OK && !dbghelp->proxy.mapped) { /* an engine that asked nothing at all */
        dbghelp->proxy.mapped = true;
        status = mdc_region_map_fill(&dbghelp->proxy.map, dbghelp->process.handle, dbghelp->process.pid, err);
        dbghelp->proxy.exception_spans = mdc_dbghelp_exception_find(&dbghelp->proxy.exception, dbghelp->process.handle,
                                                                    dbghelp->proxy.exception_memory);
    }
    mdc_proxy_complete(&dbghelp->proxy);
    if (status == MDC_OK && dbghelp->proxy.rest_size != 0) dbghelp->proxy.asks_once = true;
    mdc_pss_snapshot_drop(&dbghelp->snapshot);
    mdc_win_process_close(&dbghelp->process);
    mdc_dbghelp_library_unload(&dbghelp->library);
    if (status == MDC_OK && !dbghelp->proxy.callee_io) status = mdc_staging_file_measure(dbghelp->store, err);
    if (status != MDC_OK) {
        mdc_staging_file_cut(dbghelp->store);
        if (err->pid == 0) err->pid = dbghelp->process.pid;
    }
    set_phase(dbghelp, MDC_PHASE_FINISH);
    return status;
}

/* -- after the call ------------------------------------------------------------------------------------------------ */

mdc_proxy *mdc_dbghelp_proxy(mdc_dbghelp *dbghelp) { return &dbghelp->proxy; }
uint64_t mdc_dbghelp_stop_time_ns(const mdc_dbghelp *dbghelp) { return dbghelp->stop_time_ns; }
int32_t mdc_dbghelp_pid(const mdc_dbghelp *dbghelp) { return dbghelp->process.pid; }

void mdc_dbghelp_free(mdc_dbghelp *dbghelp) {
    if (dbghelp == NULL) return;
    mdc_proxy_fini(&dbghelp->proxy);
    mdc_pss_snapshot_drop(&dbghelp->snapshot);
    mdc_win_process_close(&dbghelp->process);
    mdc_dbghelp_library_unload(&dbghelp->library);
    mdc_caller_streams_fini(&dbghelp->streams);
    mdc_dealloc(dbghelp);
}
