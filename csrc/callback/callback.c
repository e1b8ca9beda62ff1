/* Life of a callback: made, lent to a dump, rewound, asked how it went (see api/callback.h). Cold. */
#include <stddef.h>
#include <string.h>

#include "../base/fail.h"
#include "../base/vec.h"
#include "../format/utf16_path.h"
#include "state.h"

/* More answers than this to Memory or RemoveMemory are a mistake: an engine takes them one call at a time. */
#define PIECES_MAX (UINT64_C(1) << 20)
#define DEFAULT_CAPACITY 65536u
#define CAPACITY_MAX (1u << 24)
/* Hooks for these would undo the redaction. */
#define READ_TYPES                                                                                                     \
    (1u << MDC_CB_VM_START | 1u << MDC_CB_VM_QUERY | 1u << MDC_CB_VM_PRE_READ | 1u << MDC_CB_VM_POST_READ)
#define DEFAULT_PIECE ((UINT64_C(1) << 32) - (UINT64_C(64) << 10))

void mdc_callback_fault(mdc_callback *callback, int fault) {
    int none = MDC_FAULT_NONE;
    atomic_compare_exchange_strong_explicit(&callback->fault, &none, fault, memory_order_relaxed, memory_order_relaxed);
}

void mdc_callback_rewind(mdc_callback *callback) {
    callback->cursor = (mdc_cursor){.interval = 0, .module = 0};
    callback->add.index = callback->remove.index = 0;
    callback->add.done = callback->remove.done = 0;
    callback->snapshot_asked = false;
    callback->last_extensions = 0;
    mdc_module_table_clear(&callback->modules);
    mdc_redaction_rewind(&callback->redaction);
    mdc_excluded_gaps_rewind(&callback->gaps);
    callback->hot_type = MDC_NO_TYPE; /* until the first region has sealed the module table */
    mdc_rows_clear(&callback->rows);
    if (callback->has_modules || callback->has_names) {
        uint32_t words = mdc_filter_words(callback->filter);
        if (words > 0)
            memcpy(mdc_rows_scratch(&callback->rows), mdc_filter_module_base(callback->filter),
                   words * sizeof(uint64_t));
        mdc_rows_keep(&callback->rows); /* becomes row 0 */
    }
    memset(callback->name_row, 0, callback->name_used * sizeof *callback->name_row);
    callback->name_used = 0;
    for (size_t i = 0; i < sizeof callback->counters.calls / sizeof callback->counters.calls[0]; i++)
        atomic_store_explicit(&callback->counters.calls[i], 0, memory_order_relaxed);
    atomic_store_explicit(&callback->counters.excluded, 0, memory_order_relaxed);
    atomic_store_explicit(&callback->counters.narrowed, 0, memory_order_relaxed);
    atomic_store_explicit(&callback->counters.tolerated, 0, memory_order_relaxed);
    atomic_store_explicit(&callback->counters.kernel_status, 0, memory_order_relaxed);
    atomic_store_explicit(&callback->fault, MDC_FAULT_NONE, memory_order_relaxed);
    /* A cancel that was answered ended a dump and is used up; one that was not waits for its question. */
    int answered = MDC_CANCEL_ANSWERED;
    atomic_compare_exchange_strong_explicit(&callback->cancel, &answered, MDC_CANCEL_NO, memory_order_relaxed,
                                            memory_order_relaxed);
}

static mdc_status check_options(const mdc_filter *filter, const mdc_callback_options *o, mdc_error *err) {
    if (o->hook_types != 0 && o->hook == NULL)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "hook_types was given without a hook");
    if (o->memory_piece > UINT32_MAX)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "memory_piece does not fit in MemorySize (32 bits)");
    if (mdc_filter_redactor(filter) != NULL && (o->hook_types & READ_TYPES) != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0,
                        "a filter that redacts answers VmStart, VmQuery, VmPreRead and VmPostRead itself");
    if (o->module_capacity > CAPACITY_MAX || o->name_capacity > CAPACITY_MAX || o->stack_capacity > CAPACITY_MAX ||
        o->excluded_gap_capacity > CAPACITY_MAX)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "capacities go up to %u", CAPACITY_MAX);
    return MDC_OK;
}

static mdc_status check_pieces(const mdc_callback *callback, mdc_error *err) {
    const mdc_range_cursor *lists[] = {&callback->add, &callback->remove};
    for (size_t k = 0; k < 2; k++) {
        uint64_t pieces = 0;
        for (size_t i = 0; i < lists[k]->count; i++) {
            uint64_t size = lists[k]->ranges[i].end - lists[k]->ranges[i].first;
            pieces += (size - 1) / callback->piece + 1;
            if (pieces > PIECES_MAX)
                return mdc_fail_at(err, MDC_ERR_FILTER, MDC_PHASE_COMPILE, (int64_t)i,
                                   "range %zu to %s: the list would take more than %llu answers", i,
                                   k == 0 ? "add" : "remove", (unsigned long long)PIECES_MAX);
        }
    }
    return MDC_OK;
}

static mdc_status reserve(mdc_callback *callback, const mdc_callback_options *o, mdc_error *err) {
    const mdc_filter *filter = callback->filter;
    uint32_t words = mdc_filter_words(filter);
    uint32_t modules = o->module_capacity != 0 ? o->module_capacity : DEFAULT_CAPACITY;
    uint32_t names = o->name_capacity != 0 ? o->name_capacity : DEFAULT_CAPACITY;
    callback->has_names = mdc_filter_has_names(filter);
    callback->has_modules = mdc_filter_has_modules(filter);
    callback->name_capacity = callback->has_names ? names : 0;
    uint64_t rows = UINT64_C(1) + (callback->has_modules ? modules : 0) + callback->name_capacity;
    callback->path = mdc_alloc(MDC_PATH_BYTES_MAX, 1, err);
    callback->no_name = mdc_alloc(words + 1, sizeof *callback->no_name, err); /* the routine reads the first word */
    callback->name_row = mdc_alloc((size_t)callback->name_capacity + 1, sizeof *callback->name_row, err);
    if (callback->path == NULL || callback->no_name == NULL || callback->name_row == NULL) return err->code;
    mdc_filter_name_row(filter, false, (const uint8_t *)"", 0, callback->no_name);
    mdc_status status = mdc_rows_init(&callback->rows, words, rows, err);
    if (status != MDC_OK) return status;
    /* Hooks that answer for regions or reads in our place answer for excluded gaps too. */
    bool gaps =
        mdc_filter_leaves_excluded_gaps(filter) && (o->hook_types & (READ_TYPES | 1u << MDC_CB_INCLUDE_VM_REGION)) == 0;
    uint32_t excluded_gap_capacity = o->excluded_gap_capacity != 0 ? o->excluded_gap_capacity : DEFAULT_CAPACITY;
    status = mdc_excluded_gaps_init(&callback->gaps, gaps ? excluded_gap_capacity : 0, mdc_filter_fill(filter), err);
    if (status != MDC_OK) return status;
    uint32_t stacks = o->stack_capacity != 0 ? o->stack_capacity : DEFAULT_CAPACITY;
    status = mdc_redaction_init(&callback->redaction, filter, modules, stacks, err);
    if (status != MDC_OK) return status;
    return mdc_module_table_init(&callback->modules, callback->has_modules ? modules : 0, err);
}

static void empty(mdc_callback *callback) {
    mdc_module_table_fini(&callback->modules);
    mdc_redaction_fini(&callback->redaction);
    mdc_excluded_gaps_fini(&callback->gaps);
    mdc_rows_fini(&callback->rows);
    mdc_dealloc(callback->path);
    mdc_dealloc(callback->no_name);
    mdc_dealloc(callback->name_row);
    mdc_filter_release(callback->filter);
}

static void destroy(mdc_callback *callback) {
    empty(callback);
    mdc_dealloc(callback);
}

mdc_callback *mdc_callback_new(mdc_filter *filter, const mdc_callback_options *options, mdc_error *err) {
    static const mdc_callback_options defaults;
    const mdc_callback_options *o = options != NULL ? options : &defaults;
    mdc_error_clear(err);
    if (filter == NULL) {
        mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "a callback needs a filter");
        return NULL;
    }
    if (check_options(filter, o, err) != MDC_OK) return NULL;
    mdc_callback *callback = mdc_alloc(1, sizeof *callback, err);
    if (callback == NULL) return NULL;
    mdc_biased_lock_init(&callback->lock);
    callback->filter = mdc_filter_retain(filter);
    callback->hook_types = o->hook_types;
    callback->hook = o->hook;
    callback->hook_context = o->hook_context;
    callback->piece = o->memory_piece != 0 ? o->memory_piece : DEFAULT_PIECE;
    callback->add.ranges = mdc_filter_memory_list(filter, false, &callback->add.count);
    callback->remove.ranges = mdc_filter_memory_list(filter, true, &callback->remove.count);
    callback->information.CallbackRoutine = mdc_callback_routine;
    callback->information.CallbackParam = callback;
    if (check_pieces(callback, err) != MDC_OK || reserve(callback, o, err) != MDC_OK) {
        destroy(callback);
        return NULL;
    }
    mdc_callback_rewind(callback);
    return callback;
}

/* Takes the owner mark and the place of a call, permanently: no call is inside, and no further call can enter. */
static mdc_status shut(mdc_callback *callback, mdc_error *err) {
    int free_mark = 0;
    if (atomic_compare_exchange_strong(&callback->acquired, &free_mark, 1)) {
        if (mdc_biased_lock_enter_slow(&callback->lock)) return MDC_OK;
        atomic_store(&callback->acquired, 0);
    }
    return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the callback is in use by a dump");
}

mdc_status mdc_callback_free(mdc_callback *callback, mdc_error *err) {
    mdc_error_clear(err);
    if (callback == NULL) return MDC_OK;
    if (shut(callback, err) != MDC_OK) return err->code;
    destroy(callback);
    return MDC_OK;
}

mdc_status mdc_callback_retire(mdc_callback *callback, mdc_error *err) {
    mdc_error_clear(err);
    if (shut(callback, err) != MDC_OK) return err->code;
    empty(callback);
    return MDC_OK;
}

const MINIDUMP_CALLBACK_INFORMATION *mdc_callback_information(const mdc_callback *callback) {
    return &callback->information;
}

/* Takes the place of a call in the routine, so that state can be changed. */
static mdc_status enter(mdc_callback *callback, mdc_error *err) {
    mdc_error_clear(err);
    if (!mdc_biased_lock_enter_slow(&callback->lock))
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "a dump is using the callback now");
    return MDC_OK;
}

static void leave(mdc_callback *callback) { mdc_biased_lock_leave_slow(&callback->lock, false); }

bool mdc_callback_nocase(const mdc_callback *callback) {
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed) | callback->last_extensions;
    return mdc_filter_nocase(callback->filter) || (extensions & MDC_EXT_WINDOWS_NAMES) != 0;
}

mdc_status mdc_callback_set_host(mdc_callback *callback, uint32_t extensions, mdc_error *err) {
    uint32_t known = MDC_EXT_REGION_FACTS | MDC_EXT_RESUBMIT | MDC_EXT_PIECES | MDC_EXT_HOLD_BACK | MDC_EXT_EDITS_ONLY |
                     MDC_EXT_WINDOWS_NAMES | MDC_EXT_NARROW_WORDS | MDC_EXT_OPTIONAL | MDC_EXT_SCANNED;
    mdc_error_clear(err);
    if ((extensions & ~known) != 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "unknown extension bits 0x%x", extensions & ~known);
    mdc_status status = enter(callback, err);
    if (status != MDC_OK) return status;
    atomic_store_explicit(&callback->extensions, extensions, memory_order_relaxed);
    callback->hot_type = MDC_NO_TYPE; /* the layout of facts must be checked */
    mdc_redaction_forget(&callback->redaction, callback->filter);
    callback->redaction.narrow = (extensions & MDC_EXT_NARROW_WORDS) != 0;
    leave(callback);
    return MDC_OK;
}

/* Values that were learned for one dump; an engine that is still inside needs them. */
static void forget(mdc_callback *callback) {
    if (callback->redaction.learned == NULL || !mdc_biased_lock_enter_slow(&callback->lock)) return;
    mdc_redaction_forget(&callback->redaction, callback->filter);
    leave(callback);
}

mdc_status mdc_callback_acquire(mdc_callback *callback, mdc_error *err) {
    int free_mark = 0;
    mdc_error_clear(err);
    if (!atomic_compare_exchange_strong(&callback->acquired, &free_mark, 1))
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0, "the callback is in use by another dump");
    forget(callback); /* an engine may have been inside when the last dump released it */
    return MDC_OK;
}

void mdc_callback_release(mdc_callback *callback) {
    /* The next engine is a stranger again: with facts still switched on it would be asked for pointers it never set. */
    callback->last_extensions = atomic_exchange(&callback->extensions, 0);
    forget(callback);
    atomic_store(&callback->cancel, MDC_CANCEL_NO);
    atomic_store(&callback->acquired, 0);
}

mdc_status mdc_callback_reset(mdc_callback *callback, mdc_error *err) {
    mdc_status status = enter(callback, err);
    if (status != MDC_OK) return status;
    mdc_callback_rewind(callback);
    mdc_redaction_forget(&callback->redaction, callback->filter);
    atomic_store_explicit(&callback->cancel, MDC_CANCEL_NO, memory_order_relaxed);
    leave(callback);
    return MDC_OK;
}

mdc_status mdc_callback_learn(mdc_callback *callback, const mdc_bytes *values, size_t count, mdc_error *err) {
    mdc_redaction *redaction = &callback->redaction;
    const mdc_redactor *base = mdc_filter_redactor(callback->filter);
    mdc_redactor *made;
    if (base == NULL || !mdc_redact_everywhere(base))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_CAPTURE, 0, "this filter hides no values everywhere");
    if (mdc_redactor_extend(base, values, count, &made, err) != MDC_OK) return err->code;
    if (enter(callback, err) != MDC_OK) {
        mdc_redactor_free(made);
        return err->code;
    }
    mdc_redactor_free(redaction->learned);
    redaction->learned = made;
    redaction->redactor = made;
    leave(callback);
    return MDC_OK;
}

void mdc_callback_cancel(mdc_callback *callback) {
    atomic_store_explicit(&callback->cancel, MDC_CANCEL_ASKED, memory_order_relaxed);
}

mdc_callback_counters mdc_callback_read_counters(const mdc_callback *callback) {
    const mdc_counters *now = &callback->counters;
    mdc_callback_counters counters = {.reserved = 0};
    for (size_t i = 0; i < sizeof counters.calls / sizeof counters.calls[0]; i++)
        counters.calls[i] = atomic_load_explicit(&now->calls[i], memory_order_relaxed);
    counters.excluded = atomic_load_explicit(&now->excluded, memory_order_relaxed);
    counters.narrowed = atomic_load_explicit(&now->narrowed, memory_order_relaxed);
    counters.tolerated = atomic_load_explicit(&now->tolerated, memory_order_relaxed);
    const mdc_redaction *redaction = &callback->redaction;
    counters.scrubbed_bytes = atomic_load_explicit(&redaction->scrubbed_bytes, memory_order_relaxed);
    counters.scrubbed_hits = atomic_load_explicit(&redaction->scrubbed_hits, memory_order_relaxed);
    counters.sanitized_words = atomic_load_explicit(&redaction->sanitized_words, memory_order_relaxed);
    counters.uncovered_borders = atomic_load_explicit(&redaction->uncovered_borders, memory_order_relaxed);
    const mdc_excluded_gaps *gaps = &callback->gaps;
    counters.hulls = atomic_load_explicit(&gaps->hulls, memory_order_relaxed);
    counters.excluded_gap_bytes = atomic_load_explicit(&gaps->excluded_gap_bytes, memory_order_relaxed);
    counters.filled_bytes = atomic_load_explicit(&gaps->filled_bytes, memory_order_relaxed);
    counters.lost = atomic_load_explicit(&gaps->lost, memory_order_relaxed);
    counters.kernel_status = atomic_load_explicit(&now->kernel_status, memory_order_relaxed);
    return counters;
}

void mdc_callback_settle(mdc_callback *callback) {
    if (!mdc_biased_lock_enter_slow(&callback->lock)) return; /* a dump that is not over */
    mdc_excluded_gaps_dismiss(&callback->gaps);
    leave(callback);
}

static mdc_status check_holes(mdc_callback *callback, mdc_error *err) {
    if (!mdc_biased_lock_enter_slow(&callback->lock)) return MDC_OK; /* a dump that is not over */
    uint64_t address = 0, hidden = mdc_excluded_gaps_hidden(&callback->gaps, &address);
    leave(callback);
    if (hidden == 0) return MDC_OK;
    return mdc_fail_callback(err, MDC_CB_VM_POST_READ, address,
                             "%llu bytes that a rule excludes lie inside kept memory and the engine did not show them "
                             "to VmPostRead: discard the dump",
                             (unsigned long long)hidden);
}

mdc_status mdc_callback_check(mdc_callback *callback, mdc_error *err) {
    mdc_error_clear(err);
    switch (atomic_load(&callback->fault)) {
    case MDC_FAULT_NONE:
        return check_holes(callback, err);
    case MDC_FAULT_SECOND_USER:
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_NONE, 0,
                        "a second engine called the callback during a dump; a callback serves one dump at a time");
    case MDC_FAULT_MODULES_FULL:
        return mdc_fail_callback(err, MDC_CB_MODULE, 0, "more modules than the callback has room for (%u)",
                                 callback->modules.capacity);
    case MDC_FAULT_POINTEES_FULL:
        return mdc_fail_callback(err, MDC_CB_THREAD, 0,
                                 "more modules or stacks than the callback has room for: pointers into them would be "
                                 "treated as other data (module_capacity, stack_capacity)");
    case MDC_FAULT_PATH_TOO_LONG:
        return mdc_fail_callback(err, MDC_CB_MODULE, 0, "the path of a module is longer than %zu UTF-16 units",
                                 MDC_PATH_UNITS_MAX);
    case MDC_FAULT_NAME_TOO_LONG:
        return mdc_fail_callback(err, MDC_CB_INCLUDE_VM_REGION, 0, "the name of a mapping is too long to be matched");
    default:
        return mdc_fail_callback(err, MDC_CB_INCLUDE_VM_REGION, 0,
                                 "the engine announced region facts, but sent an unknown structure");
    }
}
