/* The routine that dbghelp really calls. It is between dbghelp and the callee of the dump and
 *
 * - ends the dump through Cancel as soon as the dump control requires it, whatever the callee answers;
 * - answers IsProcessSnapshot with S_FALSE exactly if a snapshot is dumped;
 * - adds region facts (MDC_EXT_REGION_FACTS) to IncludeVmRegion for a callee that understands them: dbghelp gives
 *   only base, size and protection there, the rest is queried from the target itself;
 * - takes the bytes (IoStart, IoWriteAll, IoFinish) where the dump goes to memory, or hides these types from a callee
 *   that gets the dump when it is finished;
 * - never answers FALSE to Module or Thread, which makes dbghelp fail the dump: TRUE, and nothing to write;
 * - rejects an answer to IncludeVmRegion that is not a part of the region: dbghelp would write this region and all
 *   later ones in full;
 * - shows the caller's own handle of the process, and not the duplicate that dbghelp got;
 * - records for the report what was asked and answered.
 *
 * The other end is a DLL that calls into this process, so nothing is checked against malice here, but counted tables
 * have an end. The target is never this process, so that its threads hold no lock that an allocation here needs. */
#ifndef MDC_DBGHELP_PROXY_H
#define MDC_DBGHELP_PROXY_H

#include <stdbool.h>

#include "../api/engine.h"
#include "../api/report.h"
#include "../base/dump_control.h"
#include "../base/range_set.h"
#include "../base/vec.h"
#include "region_map.h"
#include "staging_file.h"

/* mdc_proxy.io: the answer to IoStart, and where the bytes go without one. */
enum {
    MDC_PROXY_IO_CALLEE = 0,        /* the callee, else dbghelp writes to the file */
    MDC_PROXY_IO_FILE = 1,          /* none: dbghelp writes to the file, and the callee is not asked */
    MDC_PROXY_IO_CALLEE_MEMORY = 2, /* the callee, else the store's memory */
    MDC_PROXY_IO_MEMORY = 3         /* the store's memory, and the callee is not asked */
};

typedef struct mdc_proxy_thread {
    uint32_t tid;
    uint32_t flags;     /* THREAD_WRITE_FLAGS as answered; 0: left out */
    uint64_t stack_low; /* 0, 0 if unknown */
    uint64_t stack_high;
} mdc_proxy_thread;

typedef struct mdc_proxy_module {
    uint64_t base;
    uint64_t size;
    uint32_t flags; /* MODULE_WRITE_FLAGS as answered; 0: left out */
    mdc_name path;  /* in the map's names; size 0 if unknown */
} mdc_proxy_module;

typedef struct mdc_proxy_region {
    uint64_t base; /* as asked */
    uint64_t size;
    uint64_t kept_base;
    uint64_t kept_size; /* 0: nothing */
} mdc_proxy_region;

typedef struct mdc_proxy {
    MINIDUMP_CALLBACK_INFORMATION callee; /* CallbackRoutine NULL: none */
    mdc_dump_control *control;
    mdc_staging_file *store;
    int io;         /* MDC_PROXY_IO_* */
    bool facts;     /* the callee understands MDC_EXT_REGION_FACTS */
    bool annotated; /* the dump has annotations, which are completed in the finished file */
    bool told_io;   /* it is shown IoStart, whose answer does not count */
    bool resubmits; /* it relies on a further IncludeVmRegion for the rest after the part that it kept */
    bool asks_once; /* and this engine does not do that */
    bool snapshot;
    bool callee_io;           /* the callee has taken the bytes */
    bool callee_cancel_ended; /* the callee wants no Cancel calls any more */
    bool removes;             /* it has given memory to RemoveMemory (9) */
    bool callee_vm;           /* it has answered VmStart with S_FALSE */
    bool mapped;              /* the map was filled in */
    int32_t pid;
    void *shown_handle;   /* what the callee sees as ProcessHandle instead of `passed`; NULL: as dbghelp says */
    void *passed;         /* the handle that dbghelp was given */
    void *process;        /* source of the memory map: the target, or the clone; NULL: none */
    uint64_t io_end;      /* highest end of an IoWriteAll */
    uint64_t asked_up_to; /* end of the highest region asked about */
    uint64_t rest_base;   /* what IncludeVmRegion has to be asked about next, if resubmits */
    uint64_t rest_size;   /* 0: anything */
    uint32_t failure; /* HRESULT of the first answer to an Io callback, ReadMemoryFailure or VmStart that makes dbghelp
                         fail; 0: none */
    uint32_t gaps_max;
    uint32_t answers_max; /* ranges accepted from Memory and RemoveMemory each */
    uint32_t warnings;    /* MDC_WARN_GAP_TABLE_FULL */
    uint64_t calls[32];
    mdc_region_map map;
    mdc_vec threads;              /* mdc_proxy_thread */
    mdc_vec modules;              /* mdc_proxy_module */
    mdc_vec regions;              /* mdc_proxy_region, as asked: each one twice on Windows */
    mdc_vec added;                /* mdc_set_range: blocks the callee gave to Memory */
    mdc_vec gaps;                 /* mdc_gap */
    mdc_exception_info exception; /* of the dump; fill in after mdc_proxy_init */
    mdc_span exception_memory[3]; /* what dbghelp reads for it in the target: pointers, record, registers */
    size_t exception_spans;
    mdc_error error;   /* why the dump has to end */
    mdc_error refused; /* the first failed read that the callee did not tolerate: why dbghelp will end the dump */
    _Alignas(16) MINIDUMP_CALLBACK_INPUT input; /* of IncludeVmRegion with facts: the engine's may be shorter */
} mdc_proxy;

/* `process`, `store` and what the callee points at outlive the proxy. Fill in the flags after it. */
mdc_status mdc_proxy_init(mdc_proxy *proxy, const MINIDUMP_CALLBACK_INFORMATION *callee, mdc_dump_control *control,
                          mdc_error *err);
void mdc_proxy_fini(mdc_proxy *proxy); /* also of one that was zeroed only */
/* Behind the dump: puts what was noted into the order in which it is looked up. */
void mdc_proxy_complete(mdc_proxy *proxy);
/* A gap of the dump: a read that failed. */
void mdc_proxy_gap(mdc_proxy *proxy, uint64_t address, uint64_t size, int32_t os_errno);
/* Then: whether the callee gave all of [address, address + size) to Memory (5) in one block. */
bool mdc_proxy_was_added(const mdc_proxy *proxy, uint64_t address, uint64_t size);
/* Whether the byte at the address was; *last is moved down to where the same is true of all from there on. */
bool mdc_proxy_added_run(const mdc_proxy *proxy, uint64_t address, uint64_t *last);
/* THREAD_WRITE_FLAGS as answered about the thread, 0 if it is left out; `otherwise` if nothing was asked about it. */
uint32_t mdc_proxy_thread_flags(const mdc_proxy *proxy, uint32_t tid, uint32_t otherwise);
/* What is passed to MiniDumpWriteDump. */
MINIDUMP_CALLBACK_INFORMATION mdc_proxy_information(mdc_proxy *proxy);

#endif
