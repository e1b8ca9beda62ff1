/* All state of one dump, private to the engine: what capture, plan, layout and writer hand to each other.
 *
 * Capture fills lists, regions, thread and module plans, stacks. Plan fills extents, gaps known beforehand, the small
 * streams and the layout. Write only copies: everything it needs is allocated before it begins. */
#ifndef MDC_ENGINE_DUMP_STATE_H
#define MDC_ENGINE_DUMP_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/range_set.h"
#include "../base/vec.h"
#include "../format/minidump_file.h"
#include "engine.h"
#include "protocol_calls.h"

enum {
    MDC_DIRECTORY_ROOM = 24,     /* entries the directory has room for; 22 kinds of streams are written */
    MDC_USER_STREAMS_MAX = 4096, /* and as many more */
    MDC_MEMORY_LIST_MAX = 4096,  /* more, and Breakpad drops the list */
    MDC_BREAKPAD_THREADS = 4096, /* more, and Breakpad drops the list */
    MDC_BREAKPAD_MODULES = 2048,
    MDC_SPARE_MAX = 1024,  /* spare slots per list at most */
    MDC_BATCH_SPANS = 1024 /* spans per read: IOV_MAX of Linux */
};

/* The part of a stack a thread descriptor points at. Sorted, disjoint; threads with one page of SP share one. */
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

typedef struct mdc_thread_plan {
    uint32_t write; /* MDC_THREAD_WRITE_* in effect, 0: left out */
    uint32_t reserved;
    mdc_stack stack; /* empty if there is none */
} mdc_thread_plan;

typedef struct mdc_module_plan {
    uint32_t write; /* MDC_MODULE_WRITE_* in effect, 0: left out */
    uint32_t size;  /* bytes, made to fit: below 4 GiB and not into the next module */
} mdc_module_plan;

/* Bytes between the small streams and the lists, in file order. */
typedef struct mdc_part {
    uint64_t offset;     /* in the dump */
    uint64_t size;       /* bytes */
    const uint8_t *data; /* the source's, or NULL: target memory at `address` */
    uint64_t address;
} mdc_part;

/* A gap that is cut out of its extent, because the lists can be patched. */
typedef struct mdc_cut {
    size_t extent;
    uint64_t address;
    uint64_t size;
} mdc_cut;

/* A list whose final form is known only after the memory is written. */
typedef struct mdc_list_place {
    uint64_t offset;  /* in the dump */
    uint64_t slots;   /* entries there is room for */
    uint64_t count;   /* entries in it now */
    size_t directory; /* index of its directory entry */
} mdc_list_place;

/* One entry of the link map; its name is in dso_names. */
typedef struct mdc_dso_object {
    uint64_t addr;
    uint64_t ld;
    size_t name;
    size_t name_size; /* bytes */
} mdc_dso_object;

/* Copies target memory to the sink through the one buffer (copier.c). */
typedef struct mdc_copier {
    uint8_t *block;  /* as allocated */
    uint8_t *buffer; /* page-aligned in it */
    size_t room;     /* bytes; followed by `hold` more for the held-back head */
    size_t hold;
    /* The batch: memory still to be read, and the zeros between. */
    mdc_span *spans;
    uint64_t *zeros; /* bytes of zeros after span i */
    size_t *extent;  /* of span i; SIZE_MAX: none, a gap stays as zeros */
    size_t count;
    uint64_t lead; /* zeros before the first span */
    uint64_t memory_bytes, total_bytes;
    /* The window of callees that see each read: bytes read and not yet written. */
    uint64_t window_end; /* address after them */
    size_t held;
    size_t lent; /* of them, from the front: neighbours the callee is only shown, never written from here */
    /* Pages of zeros that were left out (sparse_output.c). */
    uint64_t cut_bytes; /* cut out so far: what follows is that far before its planned offset */
    size_t zero_extent; /* extent of the last of them */
    bool page_blank;    /* the page of the file that is being filled holds only zeros so far */
} mdc_copier;

struct mdc_dump {
    mdc_engine_options options; /* with the defaults filled in */
    mdc_source *source;
    mdc_sink *sink;    /* the caller's, or io_sink */
    mdc_sink *io_sink; /* ours; NULL unless the callee writes */
    mdc_monitor *monitor;
    mdc_calls calls;
    bool full;         /* WithFullMemory */
    uint64_t type;     /* bits of the dump type that are honoured: from mdc_capture_lists on */
    bool has_memory64; /* a Memory64List instead of a MemoryList */
    bool resumed;      /* the target runs */
    bool late;         /* what files hold may be read when it does */
    uint32_t secondary;
    uint32_t warnings;
    uint64_t stop_time_ns;
    int64_t now; /* seconds since 1970: the header's time stamp */

    const mdc_lists *lists;
    const mdc_region *regions; /* the source's, or those of queried */
    size_t region_count;
    mdc_vec queried;         /* mdc_region: the answers to VmQuery, if any */
    mdc_vec thread_plans;    /* mdc_thread_plan, by thread */
    mdc_vec module_plans;    /* mdc_module_plan, by module */
    mdc_vec interrupted;     /* mdc_interrupted, by thread */
    mdc_vec stacks;          /* mdc_stack of threads whose stack is kept */
    size_t stack_cursor;     /* first of stacks that may be after the address being planned */
    uint64_t kept_by_callee; /* bytes of the region being asked about */
    mdc_vec added;           /* mdc_set_range: Memory (5), Normal only */
    mdc_vec removed;         /* mdc_set_range: RemoveMemory (9), Normal only */
    mdc_vec report_regions;  /* mdc_report_region, by region */
    mdc_vec report_threads;
    mdc_vec report_modules;
    mdc_vec names; /* uint8_t: copy of the source's pool */

    /* Data order: stacks by address, then the rest by address. */
    mdc_vec extents;      /* mdc_extent */
    mdc_vec rest_extents; /* mdc_extent: the second half while it grows */
    size_t stack_extents; /* how many of extents are stacks */
    size_t offset32_end;  /* extents before this one have 32-bit offsets in the file */
    mdc_gap *gaps;        /* options.gaps_max of them */
    size_t gap_count;
    mdc_gap *planned;    /* the first planned_gaps of them, as the plan had them */
    size_t planned_gaps; /* how many were known before the write */
    mdc_cut *cuts;       /* spare of them */
    size_t cut_count;
    size_t spare; /* gaps that can be cut out: 0 on a stream */

    /* Layout: the small streams are at offset 0, so an index into them is an offset in the dump. */
    mdc_vec small;                 /* uint8_t */
    mdc_vec parts;                 /* mdc_part */
    mdc_file_directory *directory; /* directory_room of them */
    size_t directory_room;
    size_t stream_count;
    uint64_t end; /* of what is laid out so far */
    mdc_list_place memory_list, memory_info_list;
    uint64_t thread_list_offset;
    uint64_t gap_stream_offset;
    uint64_t memory_offset; /* of the first extent */
    uint64_t memory_bytes;  /* that the extents take in the file */
    uint64_t tail_offset;
    uint32_t omitted_streams;
    bool has_exception;
    mdc_file_exception exception;
    mdc_vec exception_context; /* uint8_t */
    bool has_dso;              /* the link map was there, and kept */
    mdc_file_dso_debug dso_debug;
    mdc_vec dso_dynamic; /* uint8_t: the dynamic section */
    mdc_vec dso_objects; /* mdc_dso_object */
    mdc_vec dso_names;   /* uint8_t */

    mdc_vec edited;        /* uint8_t: texts and contexts as options.edit made them, empty without it */
    mdc_vec edited_at;     /* size_t: where each begins, texts first */
    mdc_vec edited_string; /* uint8_t: the string being edited */

    mdc_copier copier;
    mdc_report report;
};

/* dump.c */
void mdc_dump_phase(mdc_dump *dump, int32_t phase);
/* Lets the target run, once. What was read counts only if this succeeds. */
mdc_status mdc_dump_resume(mdc_dump *dump, mdc_error *err);

/* capture.c */
mdc_status mdc_capture_before_stop(mdc_dump *dump, mdc_error *err);
mdc_status mdc_capture_lists(mdc_dump *dump, mdc_error *err);
mdc_status mdc_capture_items(mdc_dump *dump, mdc_error *err);
/* lists_check.c: the source's lists are hostile. */
mdc_status mdc_lists_check(const mdc_lists *lists, mdc_error *err);

/* thread_stacks.c */
mdc_status mdc_stacks_find(mdc_dump *dump, mdc_error *err); /* the part of every thread */
mdc_status mdc_stacks_keep(mdc_dump *dump, mdc_error *err); /* those of threads that keep theirs, into dump->stacks */

/* dump_type.c */
/* The bits of the dump type that this engine honours, of this target. What it does not is not offered to the callee and
 * not claimed by the header. */
uint64_t mdc_types_honoured(const mdc_dump *dump);
/* Those that have no effect. A full dump has the memory that other bits ask for, and claims WithFullMemory for them, as
 * dbghelp does. */
uint64_t mdc_types_lost(const mdc_dump *dump);
/* Appends to runs (mdc_set_range) what bits of the type add to a Normal dump. */
mdc_status mdc_types_memory(mdc_dump *dump, mdc_vec *runs, mdc_error *err);

/* regions.c */
enum { MDC_NO_REGION = -1 };
int64_t mdc_regions_find(const mdc_dump *dump, uint64_t address);
/* Whether the engine itself keeps out of it: never read, nothing there, do-not-dump. */
bool mdc_regions_closed(const mdc_dump *dump, size_t region);
/* What becomes of a kept part [first, end). */
typedef mdc_status (*mdc_keep)(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t extent_flags,
                               mdc_error *err);
/* Asks 10 about [first, end) of the region, in parts if the callee is asked again, and keeps what it keeps. */
mdc_status mdc_regions_ask(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t fact_flags,
                           uint32_t extent_flags, mdc_keep keep, mdc_error *err);
mdc_status mdc_regions_plan_full(mdc_dump *dump, mdc_error *err);

/* plan_normal.c */
mdc_status mdc_plan_normal(mdc_dump *dump, mdc_error *err);
/* true if the callee keeps every byte of [first, end): what text streams with target memory need. */
mdc_status mdc_memory_kept(mdc_dump *dump, uint64_t first, uint64_t end, bool *kept, mdc_error *err);

/* extents.c */
mdc_status mdc_extents_add(mdc_dump *dump, size_t region, uint64_t first, uint64_t end, uint32_t flags, mdc_error *err);
mdc_status mdc_extents_finish(mdc_dump *dump, mdc_error *err);
bool mdc_extents_cover(const mdc_dump *dump, uint64_t first, uint64_t end);

/* gaps.c */
void mdc_gaps_add(mdc_dump *dump, uint64_t address, uint64_t size, uint32_t reason, int32_t os_errno);
/* A read failure of a run, known before the write or after the resume: asks 14, unless this is a plan. why: "is not
 * mapped". */
mdc_status mdc_gaps_ask(mdc_dump *dump, uint64_t first, uint64_t end, uint32_t reason, int32_t os_errno,
                        const char *why, mdc_error *err);

/* file_ranges.c: ranges of memory as they are in the file, gaps cut out. */
typedef struct mdc_file_range {
    uint64_t address;
    uint64_t size;
    uint64_t offset; /* in the dump */
    size_t extent;   /* its first */
} mdc_file_range;
typedef struct mdc_range_walk {
    const mdc_dump *dump;
    size_t extent, end; /* next extent, and where to stop */
    size_t cut;
    uint64_t offset;
    uint64_t skip; /* bytes of `extent` already returned */
} mdc_range_walk;
mdc_range_walk mdc_ranges_begin(const mdc_dump *dump, size_t extent, size_t end);
bool mdc_ranges_next(mdc_range_walk *walk, mdc_file_range *range);
/* The range of a stack that holds the address (below offset32_end). */
bool mdc_ranges_find_stack(const mdc_dump *dump, uint64_t address, mdc_file_range *range);

/* layout.c */
mdc_status mdc_layout_build(mdc_dump *dump, mdc_error *err);
void mdc_layout_count(mdc_dump *dump); /* after the plan, and again when gaps were cut out */
mdc_status mdc_layout_stream(mdc_dump *dump, uint32_t type, uint64_t offset, uint64_t size, size_t *directory,
                             mdc_error *err);
mdc_status mdc_layout_put(mdc_dump *dump, const void *data, size_t size, size_t *offset, mdc_error *err);
mdc_status mdc_layout_align(mdc_dump *dump, size_t alignment, mdc_error *err);
mdc_status mdc_layout_string(mdc_dump *dump, const uint8_t *bytes, size_t size, uint32_t *rva, mdc_error *err);
const uint8_t *mdc_dump_name(const mdc_dump *dump, mdc_name name);

/* streams/: put their streams into the small ones. */
mdc_status mdc_streams_system(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_misc(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_threads(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_contexts(mdc_dump *dump, mdc_error *err); /* parts; patches the thread list in `small` */
void mdc_streams_thread_stacks(mdc_dump *dump);                  /* stack descriptors, when offsets are known */
mdc_status mdc_streams_modules(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_dso_read(mdc_dump *dump, mdc_error *err); /* before the layout, from target memory */
mdc_status mdc_streams_dso(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_texts(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_handles(mdc_dump *dump, mdc_error *err); /* unloaded modules, handles */
/* The CodeView record of a module, NULL and size 0 if there is none. elf: room for one of a build id. */
const uint8_t *mdc_modules_record(const mdc_dump *dump, const mdc_module *module, uint8_t *elf, size_t *size);
mdc_status mdc_streams_exception_check(mdc_dump *dump, mdc_error *err); /* can the target have one? */
mdc_status mdc_streams_exception_read(mdc_dump *dump, mdc_error *err);  /* before the layout */
mdc_status mdc_streams_exception(mdc_dump *dump, mdc_error *err);
mdc_status mdc_streams_user_check(const mdc_engine_options *options, mdc_error *err);
mdc_status mdc_streams_user(mdc_dump *dump, mdc_error *err); /* parts */

/* memory_lists.c: lists made while they are written, never stored. */
typedef struct mdc_out mdc_out;
void mdc_lists_count(mdc_dump *dump);
mdc_status mdc_lists_memory(mdc_dump *dump, mdc_out *out, mdc_error *err);
mdc_status mdc_lists_memory_info(mdc_dump *dump, mdc_out *out, mdc_error *err);

/* Buffered output: forwards to the sink, or as patches. */
struct mdc_out {
    mdc_dump *dump;
    size_t used;
    bool patching;
    uint64_t offset; /* of the next patch */
};
mdc_status mdc_out_put(mdc_out *out, const void *data, uint64_t size, mdc_error *err); /* data NULL: zeros */
mdc_status mdc_out_flush(mdc_out *out, mdc_error *err);

/* sanitized_copies.c: what options.edit makes of bytes that were not read; without it, the bytes themselves. */
mdc_status mdc_sanitized_make(mdc_dump *dump, mdc_error *err);
const uint8_t *mdc_sanitized_text(const mdc_dump *dump, size_t text);
const uint8_t *mdc_sanitized_context(const mdc_dump *dump, size_t thread);
/* *bytes may become a copy that lives until the next call. */
mdc_status mdc_sanitized_string(mdc_dump *dump, const uint8_t **bytes, size_t size, mdc_error *err);

/* read_context.c: up to `want` bytes right before `end`, or from `first` on, that may be looked at; *got of them. */
mdc_status mdc_look_before(mdc_dump *dump, uint64_t end, size_t want, uint8_t *out, size_t *got, mdc_error *err);
mdc_status mdc_look_after(mdc_dump *dump, uint64_t first, size_t want, uint8_t *out, size_t *got, mdc_error *err);

/* copier.c */
mdc_status mdc_copy_init(mdc_dump *dump, mdc_error *err);
void mdc_copy_fini(mdc_dump *dump);
/* Reads target memory before the plan is made; *done bytes from the start are valid. Through VmPreRead and VmPostRead
 * like all reads.
 */
mdc_status mdc_copy_peek(mdc_dump *dump, uint64_t address, void *out, size_t size, size_t *done, mdc_error *err);
/* A read without 20. *closed: the callee served it all or made it fail, and wants no 20. */
mdc_status mdc_copy_fetch(mdc_dump *dump, uint64_t address, uint8_t *out, size_t size, size_t *done, bool *closed,
                          int32_t *os_errno, mdc_error *err);
mdc_status mdc_copy_extents(mdc_dump *dump, mdc_error *err);
mdc_status mdc_copy_text(mdc_dump *dump, uint64_t address, uint64_t size, mdc_error *err);

/* sparse_output.c */
/* Memory goes to the sink as the callee left it; pages of zeros are holes where it has holes. */
mdc_status mdc_store(mdc_dump *dump, const uint8_t *data, size_t size, mdc_error *err);
mdc_status mdc_store_hole(mdc_dump *dump, uint64_t size, mdc_error *err); /* of the plan */
void mdc_store_cut(mdc_dump *dump, uint64_t size);                        /* that many bytes of the plan do not come */
/* Whole pages, written over a hole in the file; *zeros grows by those that remain a hole. */
mdc_status mdc_store_late(mdc_dump *dump, uint64_t offset, const uint8_t *data, size_t size, uint64_t *zeros,
                          mdc_error *err);

/* late_copy.c */
bool mdc_late_allowed(const mdc_dump *dump);
/* After resume: fills in what was left open for it. */
mdc_status mdc_late_copy(mdc_dump *dump, mdc_error *err);

/* writer.c */
mdc_status mdc_write_file(mdc_dump *dump, mdc_error *err);

/* report.c */
mdc_status mdc_report_fill(mdc_dump *dump, mdc_error *err);
void mdc_report_count(mdc_dump *dump);

#endif
