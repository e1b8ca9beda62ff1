/* Options of the engine that drives the protocol. The engine does not know the filter, nor the callee the engine. */
#ifndef MDC_API_ENGINE_H
#define MDC_API_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "minidump_protocol.h"
#include "report.h"

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
/* mdc_engine_options.untouched: how pages that were never written are stored. */
enum { MDC_UNTOUCHED_AUTO = 0, MDC_UNTOUCHED_HOLE = 1, MDC_UNTOUCHED_OMIT = 2 };
/* mdc_engine_options.dontdump: how MADV_DONTDUMP memory is treated. */
enum { MDC_DONTDUMP_HONOUR = 0, MDC_DONTDUMP_ASK = 1, MDC_DONTDUMP_IGNORE = 2 };
/* mdc_engine_options.file_pages: how non-resident pages of mapped files are treated. */
enum { MDC_FILE_PAGES_ALL = 0, MDC_FILE_PAGES_RESIDENT = 1 };
/* mdc_engine_options.names: what strings may hold; ASCII: other bytes are escaped (format/escape.h). */
enum { MDC_NAMES_UNICODE = 0, MDC_NAMES_ASCII = 1 };
/* mdc_engine_options.module_names: the names of ModuleList. SONAME: the library's own name in place of the file's,
 * where it has one; after the path of an archive. */
enum { MDC_MODULE_NAMES_PATH = 0, MDC_MODULE_NAMES_SONAME = 1 };

/* mdc_engine_options.stop: for how long the target's threads are stopped.
 * WHOLE: until all is written. MEMORY: until all is copied to memory of ours, which is written when they run again.
 * SNAPSHOT: until a copy-on-write child has been made inside the target, which is read when they run again. */
enum { MDC_STOP_WHOLE = 0, MDC_STOP_MEMORY = 1, MDC_STOP_SNAPSHOT = 2 };

/* mdc_engine_options.unknown_streams: KEEP copies them; offsets in them lead nowhere then. */
enum { MDC_UNKNOWN_DROP = 0, MDC_UNKNOWN_KEEP = 1 };

/* Edits in place bytes that are about to be stored and were not read from the target: names, texts and registers, as
 * reported by the kernel. address: their address in the target, 0 if they are not there. The size does not change, but
 * that of a name may when it is encoded. stored: 0 if only the size of the result matters, and the same bytes will be
 * edited again. */
typedef void (*mdc_edit)(void *context, uint64_t address, uint8_t *bytes, size_t size, uint32_t stored);

/* Reports to a callee that edits stack words a stack without a Thread callback: a signal handler interrupted it. */
typedef void (*mdc_note_stack)(void *context, uint64_t first, uint64_t end);

/* Says what of a finished plan is left out so that the rest fits into max_bytes (engine/budget.h): fills in a set. */
typedef struct mdc_cut_request mdc_cut_request;
typedef struct mdc_cut_list mdc_cut_list;
typedef mdc_status (*mdc_choose_cut)(void *context, const mdc_cut_request *request, mdc_cut_list *cut, mdc_error *err);

/* Says in which order the memory of a finished plan is copied if the copying may end before all of it is
 * (engine/copy_order.h). */
typedef struct mdc_order_list mdc_order_list;
typedef mdc_status (*mdc_choose_order)(void *context, const mdc_cut_request *request, mdc_order_list *order,
                                       mdc_error *err);

/* A stream that is written to the dump unchanged: MINIDUMP_USER_STREAM.
 *
 * One that contains offsets in the file needs to know its own place, and has to be made before the target is stopped.
 * So streams with an `rva` come first in the file, after the header: the first one at MDC_USER_STREAM_RVA, each other
 * at the next multiple of 8 after the one before. */
enum { MDC_USER_STREAM_RVA = 32, MDC_USER_STREAMS_FIRST_MAX = 1 << 28 };
typedef struct mdc_user_stream {
    uint32_t type; /* above 0xFFFF: lower numbers are reserved by Microsoft */
    uint32_t rva;  /* 0: it may be anywhere; else where it is, as above, all of them below MDC_USER_STREAMS_FIRST_MAX */
    const void *data;
    uint64_t size; /* bytes, below 4 GiB */
} mdc_user_stream;

/* What the caller says of the dump, for the stream CrashpadInfo: UTF-8, NUL-terminated. */
typedef struct mdc_annotation {
    const char *key; /* not empty */
    const char *value;
} mdc_annotation;

/* Limits of annotations and comment together: how many, and bytes without the NULs. */
enum { MDC_ANNOTATIONS_MAX = 1024, MDC_CALLER_TEXT_MAX = 1048576 };

/* mdc_signal_info.given */
enum {
    MDC_SIGNAL_NUMBER = 1, /* signal, and not what siginfo says; the others likewise */
    MDC_SIGNAL_CODE = 2,
    MDC_SIGNAL_ADDRESS = 4,
    MDC_SIGNAL_SEARCH = 8 /* nothing: look for the frame of a fault's handler on the stack of the thread */
};
#define MDC_DUMP_REQUESTED 0xFFFFFFFF /* the signal of a dump without one, as Breakpad and Crashpad write it */

/* The signal a dump of a Linux process is taken for. */
typedef struct mdc_signal_info {
    uint32_t thread_id; /* 0: there was no signal */
    uint32_t given;     /* MDC_SIGNAL_* */
    uint32_t signal;
    int32_t code;             /* si_code */
    uint64_t address;         /* si_addr */
    uint64_t ucontext;        /* address of the ucontext_t in the target, 0: the registers of the thread are those */
    uint64_t siginfo;         /* address of the siginfo_t in the target, 0: not known */
    uint32_t parameter_count; /* 0: what siginfo says */
    uint32_t reserved;
    uint64_t parameters[3]; /* as MINIDUMP_EXCEPTION.ExceptionInformation has them */
} mdc_signal_info;

/* Why a dump is taken: MINIDUMP_EXCEPTION_INFORMATION. */
typedef struct mdc_exception_info {
    uint32_t thread_id; /* 0: there was no exception */
    int32_t client;     /* 1: `pointers` is an address in the target, 0: in this process */
    uint64_t pointers;  /* EXCEPTION_POINTERS */
} mdc_exception_info;

/* All zero is a good default: 0 stands for the value in brackets. */
typedef struct mdc_engine_options {
    uint64_t dump_type;       /* MDC_TYPE_*; goes to the header's Flags */
    uint64_t callee_types;    /* bits of it that the callee sees to: FilterMemory, if it edits stack words */
    uint32_t everything;      /* 1: all that the source has: WithFullMemory, and a dump stays what it is */
    uint32_t unknown_streams; /* MDC_UNKNOWN_*: streams of an existing dump whose layout is not known */
    MINIDUMP_CALLBACK_INFORMATION callback; /* CallbackRoutine NULL: no callbacks */
    uint32_t extensions;                    /* MDC_EXT_* the callee understands */
    uint32_t omit_streams;                  /* MDC_STREAM_* */
    uint32_t untouched;                     /* MDC_UNTOUCHED_* */
    uint32_t dontdump;                      /* MDC_DONTDUMP_* */
    uint32_t coredump_filter;               /* 1: what the target's coredump_filter leaves out is left out */
    uint32_t file_pages;                    /* MDC_FILE_PAGES_* */
    uint32_t names;                         /* MDC_NAMES_* */
    uint32_t module_names;                  /* MDC_MODULE_NAMES_* */
    uint32_t stop;                          /* MDC_STOP_* */
    uint32_t plan_only;                     /* 1: end after the plan; no memory is read, nothing written */
    uint32_t spare_slots;                   /* spare descriptors per list for ranges split by gaps [64] */
    uint64_t limit32;                       /* limit of 32-bit offsets and sizes, bytes [2**32]; tests set it low */
    uint64_t stack_limit;                   /* bytes of a stack the thread descriptor covers at most [8 MiB] */
    uint64_t buffer_bytes;                  /* the one copy buffer [1 MiB]; a multiple of 4096 */
    uint64_t stop_memory;      /* MEMORY and SNAPSHOT: bytes of target memory that are kept in memory of ours
                                  at most [2 GiB] */
    uint64_t referenced_max;   /* WithIndirectlyReferencedMemory: bytes of memory that threads point to, at most
                                  [64 MiB] */
    uint64_t hole_min;         /* unwritten runs of at least this size become holes or are left out, bytes [64 KiB] */
    uint64_t sparse_max;       /* files with holes stay below this, bytes [64 GiB] */
    uint64_t hold;             /* hold-back window, bytes [0]; with MDC_EXT_HOLD_BACK */
    uint64_t max_bytes;        /* the file is never longer than this [no limit]; with choose_cut */
    uint64_t truncate_ns;      /* no memory is copied after so long a stop: what is left is a gap, and the dump is
                                  written without it [no limit]; with choose_order, and a patchable output */
    uint32_t answers_max;      /* ranges accepted from Memory and from RemoveMemory each [1,048,576] */
    uint32_t gaps_max;         /* gaps remembered [65,536] */
    uint32_t late_files;       /* 1: pages that only mapped files hold may be read after the target was resumed, if
                                  the output is seekable, the callee does not see reads, and the file has no writer */
    uint32_t fsync;            /* 1: the sink flushes to the disk before the dump counts as written */
    mdc_edit edit;             /* NULL: they are stored unchanged */
    mdc_note_stack note_stack; /* NULL: not reported */
    void *edit_context;        /* for both */
    mdc_choose_cut choose_cut; /* NULL: no budget. Of what max_bytes has no room for; on the dumping thread */
    mdc_choose_order choose_order;       /* NULL: the order of addresses. Of what truncate_ns may end */
    void *cut_context;                   /* for both */
    const mdc_user_stream *user_streams; /* with their data; must outlive the dump */
    size_t user_stream_count;
    const mdc_annotation *annotations; /* with their texts; must outlive the dump */
    size_t annotation_count;
    const char *comment;          /* NULL, or UTF-8, NUL-terminated; must outlive the dump */
    mdc_exception_info exception; /* targets that are Windows processes */
    mdc_signal_info signal;       /* targets that are Linux processes */
} mdc_engine_options;

typedef struct mdc_progress {
    int32_t phase;        /* MDC_PHASE_* */
    int32_t stopped;      /* 1 while the target's threads are stopped */
    uint64_t bytes_done;  /* of target memory, holes included */
    uint64_t bytes_total; /* 0 until the plan is made */
    uint64_t elapsed_ns;
    int32_t aborted; /* not 0 once the dump must end: cancelled, a limit passed, the target exited */
    int32_t stalled; /* 1: because there was no progress */
} mdc_progress;

/* mdc_activity.kind: what the dumping thread is doing; all of these may hang. */
enum {
    MDC_DOING_OTHER = 0,  /* nothing of the following */
    MDC_DOING_READ = 1,   /* reads memory at `address`, of the mapping `name` */
    MDC_DOING_WRITE = 2,  /* writes the output */
    MDC_DOING_CALL = 3,   /* is inside the callback */
    MDC_DOING_OPEN = 4,   /* opens or reads the file `name`, mapped at `address` */
    MDC_DOING_LIST = 5,   /* asks the system for mappings, pages, modules */
    MDC_DOING_STOP = 6,   /* stops the threads of the target */
    MDC_DOING_STOPPED = 7 /* does not run: a debugger or a signal has stopped us. address: our tracer's pid, 0: none */
};

enum { MDC_ACTIVITY_NAME = 128 };

typedef struct mdc_activity {
    int32_t kind;          /* MDC_DOING_* */
    int32_t callback_type; /* MDC_CB_*, or -1 */
    uint64_t address;
    char name[MDC_ACTIVITY_NAME]; /* any bytes, NUL-terminated; only the end of a long name */
} mdc_activity;
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
