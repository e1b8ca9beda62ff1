/* Capture: what the target is, and what the callee wants of it.
 *
 * Takes a source that is prepared, then stopped. Made by mdc_capture_before_stop, _lists and _items, in this order;
 * afterwards it does not change. Promises: lists that were checked, flags that the callee agreed to, stacks that are
 * sorted and disjoint. */
#ifndef MDC_ENGINE_CAPTURE_H
#define MDC_ENGINE_CAPTURE_H

#include "../base/range_set.h"
#include "crash.h"
#include "engine_parts.h"

/* The part of a stack a thread descriptor points at. Threads with one page of SP share one. */
typedef struct mdc_stack {
    uint64_t first;
    uint64_t end;
    size_t region;
} mdc_stack;

/* Another stack of a thread: one that a signal handler has interrupted. */
typedef struct mdc_interrupted {
    size_t thread;
    mdc_stack stack;
} mdc_interrupted;

typedef struct mdc_thread_choice {
    uint32_t write; /* MDC_THREAD_WRITE_* in effect, 0: left out */
    uint32_t reserved;
    mdc_stack stack; /* empty if there is none */
} mdc_thread_choice;

typedef struct mdc_module_choice {
    uint32_t write; /* MDC_MODULE_WRITE_* in effect, 0: left out */
    uint32_t size;  /* bytes, made to fit: below 4 GiB and not into the next module */
} mdc_module_choice;

typedef struct mdc_capture {
    mdc_engine *engine;
    const mdc_snapshot *lists;
    const mdc_region *regions; /* the source's, or those of the callee */
    size_t region_count;
    bool queried;               /* the regions are answers to VmQuery: the source does not know them */
    mdc_vec answers;            /* mdc_region: those */
    uint32_t *kinds;            /* by region: MDC_KIND_*, also of what the threads make a stack */
    mdc_thread_choice *threads; /* by thread of the lists */
    mdc_module_choice *modules; /* by module of the lists */
    mdc_vec stacks;             /* mdc_stack: those of threads whose stack is kept */
    mdc_vec added;              /* mdc_set_range: the answers to Memory; in a Normal dump only */
    mdc_vec removed;            /* mdc_set_range: the answers to RemoveMemory; likewise */
    mdc_crash crash;            /* of a Linux process */
    uint64_t type;              /* bits of the dump type that are honoured */
    uint32_t secondary;         /* MDC_SECONDARY_* */
    uint32_t warnings;
} mdc_capture;

void mdc_capture_init(mdc_capture *capture, mdc_engine *engine);
void mdc_capture_fini(mdc_capture *capture);
/* *sink: the caller's; becomes *io_sink, and belongs to the caller, if the callee does the writing. */
mdc_status mdc_capture_before_stop(mdc_capture *capture, mdc_sink **sink, mdc_sink **io_sink, mdc_error *err);
mdc_status mdc_capture_lists(mdc_capture *capture, mdc_error *err);
/* reader: of this capture. */
struct mdc_reader;
mdc_status mdc_capture_items(mdc_capture *capture, const struct mdc_reader *reader, mdc_error *err);

enum { MDC_NO_REGION = -1 };
int64_t mdc_regions_find(const mdc_capture *capture, uint64_t address);
/* Whether the engine itself keeps out of it: never read, nothing there, do-not-dump. */
bool mdc_regions_closed(const mdc_capture *capture, size_t region);
/* Where that part of it ends which the target's coredump_filter does not leave out. */
static inline uint64_t mdc_region_end(const mdc_region *region) {
    return region->base + region->size - region->filtered;
}
/* The thread the dump is about: the one that crashed, or else the first. An index of the lists, 0 if they have none. */
size_t mdc_capture_crashed(const mdc_capture *capture);
const uint8_t *mdc_capture_name(const mdc_capture *capture, mdc_name name);
/* {0, 0} if it has none. */
mdc_name mdc_region_name(const mdc_capture *capture, size_t region);
/* The CodeView record of a module, NULL and size 0 if there is none. elf: room for one of a build id. */
const uint8_t *mdc_module_record(const mdc_capture *capture, const mdc_module *module, uint8_t *elf, size_t *size);

/* snapshot_check.c: the source's lists are hostile. */
mdc_status mdc_snapshot_check(const mdc_snapshot *lists, mdc_error *err);
/* streams/streams.c: whether the target can have the streams that the caller asks for. */
mdc_status mdc_streams_check(const mdc_capture *capture, mdc_error *err);

/* thread_stacks.c: where the stack of a thread's descriptor begins. Of a thread that handles the signal a dump is taken
 * for, that is the interrupted stack: readers unwind from the registers of the exception, within this stack. */
uint64_t mdc_stack_pointer(const mdc_capture *capture, size_t thread);
/* The part of every thread; then, when the callee has chosen, those that are kept. interrupted
 * (mdc_interrupted, by thread) is filled by the first for the second. */
mdc_status mdc_stacks_find(mdc_capture *capture, mdc_vec *interrupted, mdc_error *err);
mdc_status mdc_stacks_keep(mdc_capture *capture, const mdc_vec *interrupted, mdc_error *err);

/* scan_modules.c: sets MDC_MODULE_REFERENCED_BY_MEMORY of the modules that kept stacks, and their threads'
 * registers, refer to. */
mdc_status mdc_modules_scan(mdc_capture *capture, const struct mdc_reader *reader, mdc_error *err);

/* dump_type.c: the bits of the dump type that this engine honours, of this target. What it does not is not offered to
 * the callee and not claimed by the header. */
uint64_t mdc_type_honoured(const mdc_capture *capture);
/* Those that have no effect. A full dump has the memory that other bits ask for, and claims WithFullMemory for them, as
 * dbghelp does. */
uint64_t mdc_type_lost(const mdc_capture *capture);

#endif
