/* What a callback remembers during one dump. Shared by the files of callback/ only.
 *
 * One call is inside at a time (`lock`); it alone touches everything that is not atomic. The atomic fields may be
 * read or set from any thread at any time. */
#ifndef MDC_CALLBACK_STATE_H
#define MDC_CALLBACK_STATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "../api/callback.h"
#include "../filter/match_hot.h"
#include "biased_lock.h"
#include "excluded_gaps.h"
#include "module_map.h"
#include "redaction.h"
#include "rows.h"

/* What can go wrong in the routine; the first one stays until the next dump. */
enum {
    MDC_FAULT_NONE = 0,
    MDC_FAULT_SECOND_USER = 1,
    MDC_FAULT_MODULES_FULL = 2,
    MDC_FAULT_PATH_TOO_LONG = 3,
    MDC_FAULT_NAME_TOO_LONG = 4,
    MDC_FAULT_FACTS = 5,
    MDC_FAULT_POINTEES_FULL = 6
};

/* mdc_callback.cancel */
enum { MDC_CANCEL_NO = 0, MDC_CANCEL_ASKED = 1, MDC_CANCEL_ANSWERED = 2 };

/* No CallbackType, which has 32 bits: the first one after those known today may come any day. */
#define MDC_NO_TYPE UINT64_MAX

/* Where Memory or RemoveMemory has got to. */
typedef struct mdc_range_cursor {
    const mdc_range *ranges;
    size_t count;
    size_t index;
    uint64_t done; /* bytes of ranges[index] handed out */
} mdc_range_cursor;

typedef struct mdc_counters {
    _Atomic uint64_t calls[32];
    _Atomic uint64_t excluded;
    _Atomic uint64_t narrowed;
    _Atomic uint64_t tolerated;
    _Atomic int32_t kernel_status;
} mdc_counters;

struct mdc_callback {
    mdc_biased_lock lock;        /* one call in the routine at a time */
    _Atomic uint32_t extensions; /* MDC_EXT_* of the engine */
    uint64_t hot_type;           /* MDC_CB_INCLUDE_VM_REGION while the short way to answer it is open, or MDC_NO_TYPE */
    mdc_hot hot;
    mdc_cursor cursor;
    mdc_filter *filter;
    uint64_t *no_name;      /* row of mappings without a name */
    uint32_t name_capacity; /* entries of name_row but [0] */
    uint32_t hook_types;
    bool has_names;
    bool has_modules;
    bool snapshot_asked; /* IsProcessSnapshot was the last call: VmStart right after it belongs to the same dump */
    mdc_module_map map;  /* of `modules`, once sealed */
    mdc_module_table modules;
    mdc_rows rows;      /* row 0: base of modules; names' rows among them */
    uint32_t *name_row; /* by NameId: row + 1, 0: not matched yet */
    uint32_t name_used; /* highest NameId + 1 that was set */
    mdc_counters counters;

    mdc_excluded_gaps gaps;  /* what is overwritten inside hulls */
    mdc_redaction redaction; /* what else is overwritten in reads */
    mdc_range_cursor add;
    mdc_range_cursor remove;
    uint64_t piece; /* bytes handed out at once */
    uint8_t *path;  /* MDC_PATH_BYTES_MAX bytes */
    mdc_hook hook;
    void *hook_context;
    atomic_int cancel;        /* MDC_CANCEL_* */
    atomic_int fault;         /* MDC_FAULT_* */
    atomic_int acquired;      /* the owner mark */
    uint32_t last_extensions; /* extensions of the last released dump, for the accounting */
    MINIDUMP_CALLBACK_INFORMATION information;
};

/* Counters have one writer: a plain addition that other threads may read. Compilers make three instructions of the
 * relaxed load and store. */
static inline void mdc_counters_add(_Atomic uint64_t *counter) {
#if defined(__GNUC__) && defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    __asm__("incq %0" : "+m"(*counter) : : "cc");
#else
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
#endif
}

/* Whether globs ignore case: because this system does, or that of the target. */
bool mdc_callback_nocase(const mdc_callback *callback);
/* Remembers the first fault. */
void mdc_callback_fault(mdc_callback *callback, int fault);
/* Everything but the cancel flag and the extensions goes back to the start. */
void mdc_callback_rewind(mdc_callback *callback);

/* The types that look at the filter. */
int32_t mdc_answer_module(mdc_callback *callback, const MINIDUMP_MODULE_CALLBACK *module,
                          MINIDUMP_CALLBACK_OUTPUT *output);
int32_t mdc_answer_region(mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                          MINIDUMP_CALLBACK_OUTPUT *output);
int32_t mdc_answer_memory(mdc_callback *callback, mdc_range_cursor *list, MINIDUMP_CALLBACK_OUTPUT *output);

/* The facts if they can be used, else NULL. */
static inline const mdc_region_facts *mdc_callback_facts(const mdc_region_facts *facts) {
    return facts->Version >= 1 && facts->Size >= sizeof *facts ? facts : NULL;
}

/* Fills in the question about a region (of at least one byte). `facts` NULL: the region is all there is to know. */
static inline void mdc_callback_question(const MINIDUMP_MEMORY_INFO *region, const mdc_region_facts *facts,
                                         const uint64_t *name_row, const mdc_module_map *map, mdc_question *question) {
    uint64_t base = region->BaseAddress, more = region->RegionSize - 1;
    question->base = base;
    question->last = more > UINT64_MAX - base ? UINT64_MAX : base + more;
    question->state = region->State;
    question->protect = region->Protect;
    question->type = region->Type;
    question->name_row = name_row;
    question->modules = map;
    if (facts != NULL) {
        question->mapping_base = facts->MappingBase;
        question->mapping_size = facts->MappingSize;
        question->kinds = facts->Kinds & MDC_KINDS_KNOWN;
        question->flags = facts->Flags;
    } else {
        question->mapping_base = base;
        question->mapping_size = region->RegionSize;
        question->kinds = mdc_kinds_of_type(region->Type);
        question->flags = 0;
    }
}

#endif
