/* What a callback remembers during one dump. Shared by the files of callback/ only.
 *
 * One call is inside at a time (`inside`); it alone touches everything that is not atomic. The atomic fields may be
 * read or set from any thread at any time. */
#ifndef MDC_CALLBACK_STATE_H
#define MDC_CALLBACK_STATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "../api/callback.h"
#include "../filter/match.h"
#include "modmap.h"
#include "rows.h"

/* What can go wrong in the routine; the first one stays until the next dump. */
enum {
    MDC_FAULT_NONE = 0,
    MDC_FAULT_SECOND_USER = 1,
    MDC_FAULT_MODULES_FULL = 2,
    MDC_FAULT_PATH_TOO_LONG = 3,
    MDC_FAULT_NAME_TOO_LONG = 4,
    MDC_FAULT_FACTS = 5
};

/* mdc_callback.cancel */
enum { MDC_CANCEL_NO = 0, MDC_CANCEL_ASKED = 1, MDC_CANCEL_ANSWERED = 2 };

/* Where Memory or RemoveMemory has got to. */
typedef struct mdc_handout {
    const mdc_range *ranges;
    size_t count;
    size_t index;
    uint64_t done; /* bytes of ranges[index] handed out */
} mdc_handout;

typedef struct mdc_tally {
    _Atomic uint64_t calls[32];
    _Atomic uint64_t excluded;
    _Atomic uint64_t narrowed;
    _Atomic uint64_t tolerated;
    _Atomic int32_t kernel_status;
} mdc_tally;

struct mdc_callback {
    atomic_uint inside;    /* 1 while a call is in the routine */
    _Atomic uint32_t extensions; /* MDC_EXT_* of the engine */
    uint32_t hook_types;
    mdc_cursor cursor;
    mdc_filter *filter;
    const uint64_t *no_name_row; /* of mappings without a name */
    uint32_t name_capacity; /* entries of name_row but [0] */
    bool has_names;
    bool has_modules;
    bool snapshot_asked;    /* 16 was the last call: a 17 right behind it belongs to the same dump */
    mdc_modmap modules;
    mdc_rows rows;          /* row 0: base of modules; names' rows among them */
    uint32_t *name_row;     /* by NameId: row + 1, 0: not matched yet */
    uint32_t name_used;     /* highest NameId + 1 that was set */
    mdc_tally tally;

    mdc_handout add;
    mdc_handout remove;
    uint64_t piece; /* bytes handed out at once */
    uint8_t *path;  /* MDC_PATH_BYTES_MAX bytes */
    mdc_hook hook;
    void *hook_context;
    atomic_int cancel;   /* MDC_CANCEL_* */
    atomic_int fault;    /* MDC_FAULT_* */
    atomic_int acquired; /* the owner mark */
    uint32_t told;       /* extensions of the dump that was released last, for the accounting */
    MINIDUMP_CALLBACK_INFORMATION information;
    uint64_t *no_name;   /* what no_name_row points at */
};

/* Counters have one writer: a plain addition that other threads may read. */
static inline void mdc_tally_add(_Atomic uint64_t *counter) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Remembers the first fault. */
void mdc_callback_fault(mdc_callback *callback, int fault);
/* Everything but the cancel flag and the extensions goes back to the start. */
void mdc_callback_rewind(mdc_callback *callback);

/* The types that look at the filter. */
int32_t mdc_answer_module(mdc_callback *callback, const MINIDUMP_MODULE_CALLBACK *module,
                          MINIDUMP_CALLBACK_OUTPUT *output);
int32_t mdc_answer_region(mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                          MINIDUMP_CALLBACK_OUTPUT *output);
int32_t mdc_answer_memory(mdc_callback *callback, mdc_handout *list, MINIDUMP_CALLBACK_OUTPUT *output);

/* Fills in the question about a region. `facts` NULL: the region is all there is to know. `row` has room for a row and
 * is used for a name whose row is not remembered. Seals the module table. */
void mdc_callback_question(const mdc_callback *callback, const MINIDUMP_MEMORY_INFO *region,
                           const mdc_region_facts *facts, const uint64_t *name_row, mdc_question *question,
                           mdc_module_map *map);
/* The facts if they can be used, else NULL. */
const mdc_region_facts *mdc_callback_facts(const mdc_region_facts *facts);

#endif
