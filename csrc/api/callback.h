/* The trampoline: one C routine that answers every callback type of the protocol from a compiled filter, without
 * allocating, locking, printing or entering Python (except through the hooks given for Cancel and Io).
 *
 * Usable by any engine: pass mdc_callback_information() to MiniDumpWriteDump, or routine and param to anything else.
 * One mdc_callback serves one dump at a time: IsProcessSnapshot and VmStart (or mdc_callback_reset) begin a new one.
 *
 * An answer to IncludeVmRegion can be one contiguous part only. An engine that asks again (MDC_EXT_RESUBMIT) gets
 * every kept part. Any other engine gets the hull, from the first kept byte to the last, and the excluded bytes in it
 * are overwritten in VmPostRead, if the engine sent VmStart, which is answered S_FALSE where the filter can leave such
 * holes. If an engine takes the hull and neither shows the whole excluded gap to VmPostRead nor sends ReadMemoryFailure
 * for it, IoFinish (if sent) is answered E_FAIL, and mdc_callback_check reports that the dump must be discarded. If
 * VmStart was not sent, or there are more excluded gaps than excluded_gap_capacity, the answer is the longest kept
 * part, and the other kept bytes are lost (`lost`): an excluded byte is never stored.
 *
 * A filter that redacts makes the callback answer VmStart with S_FALSE and edit every read in VmPostRead. Set
 * `hold` of the engine to mdc_filter_hold, or patterns that span two reads are not found.
 */
#ifndef MDC_API_CALLBACK_H
#define MDC_API_CALLBACK_H

#include "error.h"
#include "filter.h"
#include "minidump_protocol.h"

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
typedef struct mdc_callback mdc_callback;

/* A hook answers one callback type in place of the table, with the same meaning as MINIDUMP_CALLBACK_ROUTINE:
 * returns TRUE (1) or FALSE (0) and writes the member of the type, which holds the engine's default on entry. */
typedef int32_t (*mdc_hook)(void *context, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

typedef struct mdc_callback_options {
    uint32_t hook_types; /* bit i: type i goes to `hook`. Used for Cancel, IoStart, IoWriteAll, IoFinish */
    uint32_t reserved;
    mdc_hook hook; /* NULL if hook_types is 0 */
    void *hook_context;
    uint32_t module_capacity; /* modules remembered per dump; 0: 65,536. More: MDC_ERR_CALLBACK at the end */
    uint32_t name_capacity;   /* distinct mapping names whose match is remembered; 0: 65,536. More: matched again */
    uint64_t memory_piece;    /* largest MemorySize handed out, bytes; 0: 4 GiB - 64 KiB. A test sets it low */
    uint32_t stack_capacity;  /* stacks remembered per dump to sanitize them; 0: 65,536. More: MDC_ERR_CALLBACK */
    uint32_t excluded_gap_capacity; /* excluded gaps in hulls per dump, 40 bytes each; 0: 65,536. More: the longest kept
                                       part */
} mdc_callback_options;

typedef struct mdc_callback_counters {
    uint64_t calls[32];    /* by callback type; [31]: types after CompressedMemoryStreamFinish */
    uint64_t excluded;     /* regions and pieces of which nothing was kept */
    uint64_t narrowed;     /* answers that kept a part of a region, hulls that are shorter than it among them */
    uint64_t tolerated;    /* read failures answered S_OK */
    int32_t kernel_status; /* last HRESULT of KernelMinidumpStatus */
    int32_t reserved;
    uint64_t scrubbed_bytes;     /* overwritten by ranges and patterns; bytes that were presented twice count twice */
    uint64_t scrubbed_hits;      /* occurrences of patterns */
    uint64_t sanitized_words;    /* of stacks */
    uint64_t uncovered_borders;  /* reads that continued an earlier read without its end being shown again: a
                                    pattern across the two was not found */
    uint64_t hulls;              /* regions kept with excluded gaps in them */
    uint64_t excluded_gap_bytes; /* in these gaps */
    uint64_t filled_bytes;       /* overwritten in reads because they are in such a gap; read twice, they count twice */
    uint64_t lost;               /* answers that kept only the longest of several kept parts of a region */
} mdc_callback_counters;

/* Everything is reserved here; nothing later allocates. Keeps a reference to the filter. options may be NULL. */
mdc_callback *mdc_callback_new(mdc_filter *filter, const mdc_callback_options *options, mdc_error *err);
/* MDC_ERR_BUSY while a dump uses it (between mdc_callback_acquire and mdc_callback_release). */
mdc_status mdc_callback_free(mdc_callback *callback, mdc_error *err);
/* In place of mdc_callback_free where an engine may still know the addresses: frees all but the lock, some 700 bytes,
 * which are never freed and answer late calls FALSE. No other function may be called with it afterwards. */
mdc_status mdc_callback_retire(mdc_callback *callback, mdc_error *err);

/* The routine itself; `param` is the mdc_callback. */
int32_t MDC_CALL mdc_callback_routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);
const MINIDUMP_CALLBACK_INFORMATION *mdc_callback_information(const mdc_callback *callback);

/* Sets the MDC_EXT_* that the engine of the next dump supports; 0 (plain protocol) is the default, restored by
 * mdc_callback_release. */
mdc_status mdc_callback_set_host(mdc_callback *callback, uint32_t extensions, mdc_error *err);

/* Owner mark: one dump at a time. A second acquire is MDC_ERR_BUSY. A routine call of a second, concurrent engine
 * (one call enters while another is inside) is answered FALSE and remembered as MDC_ERR_BUSY. */
mdc_status mdc_callback_acquire(mdc_callback *callback, mdc_error *err);
void mdc_callback_release(mdc_callback *callback);

/* Rewinds cursors, lists, module table and counters: the next call begins a new dump. */
mdc_status mdc_callback_reset(mdc_callback *callback, mdc_error *err);

/* Makes the next Cancel callback, and all that follow it in the same dump, answer Cancel = TRUE. Safe from any thread
 * and from a signal handler. mdc_callback_reset and mdc_callback_release undo it. */
void mdc_callback_cancel(mdc_callback *callback);

mdc_callback_counters mdc_callback_read_counters(const mdc_callback *callback);
/* What went wrong in the routine (tables full, second user, excluded gaps that were not shown), or MDC_OK. Call it
 * after the engine has returned: during a call, they are not checked. */
mdc_status mdc_callback_check(mdc_callback *callback, mdc_error *err);
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
