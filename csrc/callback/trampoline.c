/* The routine: one answer per callback type, from the compiled filter. Never allocates, locks, prints or enters
 * Python; a hook given for a type may do anything.
 *
 * Each type writes its own member of the output union and no other: everything is at offset 0 there, so a Status
 * written for a Thread callback would clear all of that thread's flags. Meaning of return values and members: the
 * public documentation of MINIDUMP_CALLBACK_TYPE, MINIDUMP_CALLBACK_OUTPUT and what shipping engines do.
 *
 * Regions on a host that does not ask again (no MDC_EXT_RESUBMIT): the answer can be one contiguous part only. If
 * VmStart was sent it is the hull, from the first kept byte to the last, and VmPostRead overwrites what is
 * excluded in it (excluded_gaps.h), before anything else sees the bytes. VmPreRead and VmPostRead come for every read
 * of the target, also for those an engine needs itself (PEB, TEB, lists of the loader): what is not in a hull is not
 * changed. An engine that never sends VmStart cannot be kept from storing what is in a hull: it gets the longest kept
 * run; the other kept bytes are lost, and `lost` counts them. */
#include "../base/protocol_asserts.h"
#include "../base/thread_layout.h"
#include "state.h"

static int32_t flags_kept(uint32_t *flags, uint32_t keep) {
    if (keep != UINT32_MAX) *flags &= keep;
    return 1;
}

/* The flag decides, whatever a hook thinks, and the question is to be asked again in any case. */
static int32_t answer_cancel(mdc_callback *callback, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t cancel = 0;
    if (callback->hook_types & 1u << MDC_CB_CANCEL) {
        mdc_biased_lock_shut(&callback->lock);
        cancel = callback->hook(callback->hook_context, input, output) != 0 && output->Cancel.Cancel != 0;
    }
    if (atomic_load_explicit(&callback->cancel, memory_order_relaxed) != MDC_CANCEL_NO) {
        atomic_store_explicit(&callback->cancel, MDC_CANCEL_ANSWERED, memory_order_relaxed);
        cancel = 1;
    }
    output->Cancel.CheckCancel = 1;
    output->Cancel.Cancel = cancel;
    return 1;
}

static int32_t answer_failure(mdc_callback *callback, const MINIDUMP_READ_MEMORY_FAILURE_CALLBACK *failure,
                              MINIDUMP_CALLBACK_OUTPUT *output) {
    if (!mdc_filter_tolerates(callback->filter)) {
        output->Status = failure->FailureStatus;
        return 0;
    }
    output->Status = MDC_S_OK;
    mdc_counters_add(&callback->counters.tolerated);
    mdc_excluded_gaps_pass(&callback->gaps, failure->Offset, failure->Bytes);
    return 1;
}

/* IsProcessSnapshot and VmStart come first in a dump, in this order. */
static void begin_dump(mdc_callback *callback, uint32_t type) {
    if (type != MDC_CB_VM_START || !callback->snapshot_asked) mdc_callback_rewind(callback);
}

void mdc_callback_note_stack(mdc_callback *callback, uint64_t first, uint64_t end) {
    if (mdc_redaction_listens(&callback->redaction) && !mdc_redaction_stack(&callback->redaction, first, end))
        mdc_callback_fault(callback, MDC_FAULT_POINTEES_FULL);
}

/* Stacks are noted even if a hook answers. */
static void note_stack(mdc_callback *callback, const MINIDUMP_THREAD_CALLBACK *thread) {
    uint64_t bounds[2];
    if (!mdc_redaction_listens(&callback->redaction)) return;
    mdc_thread_stack(thread, bounds);
    mdc_callback_note_stack(callback, bounds[0], bounds[1]);
}

static int32_t answer_post_read(mdc_callback *callback, const MINIDUMP_VM_POST_READ_CALLBACK *read,
                                MINIDUMP_CALLBACK_OUTPUT *output) {
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed);
    if (!callback->gaps.open && callback->redaction.redactor == NULL) return 0;
    /* TRUE replaces the result, and a callee that only edits says what it was. */
    output->VmRead.VmReadStatus = read->Status;
    output->VmRead.VmReadBytesCompleted = read->Completed;
    mdc_excluded_gaps_fill(&callback->gaps, read->Offset, read->Buffer, read->Size, read->Completed);
    mdc_redaction_post_read(&callback->redaction, read, (extensions & MDC_EXT_HOLD_BACK) != 0);
    return 1;
}

static int32_t answer_vm_start(mdc_callback *callback, MINIDUMP_CALLBACK_OUTPUT *output) {
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed);
    callback->gaps.open = callback->gaps.capacity != 0 && (extensions & MDC_EXT_RESUBMIT) == 0;
    output->Status = callback->gaps.open || callback->redaction.redactor != NULL ? MDC_S_FALSE : MDC_S_OK;
    return 1;
}

/* The receiver of the output must not get success when it may contain what a rule excludes. */
static bool may_finish(const mdc_callback *callback) {
    uint64_t address;
    return mdc_excluded_gaps_hidden(&callback->gaps, &address) == 0;
}

static int32_t answer(mdc_callback *callback, uint32_t type, MINIDUMP_CALLBACK_INPUT *input,
                      MINIDUMP_CALLBACK_OUTPUT *output) {
    switch (type) {
    case MDC_CB_MODULE:
        return mdc_answer_module(callback, &input->u.Module, output);
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX: /* ThreadId is at offset 0 in all three */
        return flags_kept(&output->ThreadWriteFlags,
                          mdc_filter_thread_keep(callback->filter, input->u.IncludeThread.ThreadId));
    case MDC_CB_INCLUDE_THREAD: {
        uint32_t keep = mdc_filter_thread_keep(callback->filter, input->u.IncludeThread.ThreadId);
        if (!(keep & MDC_THREAD_WRITE_THREAD)) return 0; /* documented: excluded, not even suspended */
        return flags_kept(&output->ThreadWriteFlags, keep);
    }
    case MDC_CB_INCLUDE_MODULE: /* carries a base only: decided at Module, where the path is */
        return 1;
    case MDC_CB_MEMORY:
        return mdc_answer_memory(callback, &callback->add, output);
    case MDC_CB_REMOVE_MEMORY:
        return mdc_answer_memory(callback, &callback->remove, output);
    case MDC_CB_KERNEL_MINIDUMP_STATUS:
        atomic_store_explicit(&callback->counters.kernel_status, input->u.Status, memory_order_relaxed);
        return 1;
    case MDC_CB_INCLUDE_VM_REGION:
        return mdc_answer_region(callback, input, output);
    case MDC_CB_READ_MEMORY_FAILURE:
        return answer_failure(callback, &input->u.ReadMemoryFailure, output);
    case MDC_CB_SECONDARY_FLAGS:
        output->SecondaryFlags = input->u.SecondaryFlags | mdc_filter_secondary_flags(callback->filter);
        return 1;
    case MDC_CB_IO_FINISH:
    case MDC_CB_IO_WRITE_ALL: /* only come if Io was taken, and that was a hook's doing */
        output->Status = (int32_t)MDC_E_FAIL;
        return 0;
    case MDC_CB_IS_PROCESS_SNAPSHOT:
        output->Status = MDC_S_OK; /* no: S_FALSE would be yes */
        return 1;
    case MDC_CB_VM_START:
        return answer_vm_start(callback, output);
    case MDC_CB_VM_POST_READ:
        return answer_post_read(callback, &input->u.VmPostRead, output);
    default: /* no kernel minidump, no Io; VmQuery, VmPreRead, compressed memory and future types: not handled */
        return 0;
    }
}

static int32_t answer_any(mdc_callback *callback, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    uint32_t type = input->CallbackType;
    if (type == MDC_CB_IS_PROCESS_SNAPSHOT || type == MDC_CB_VM_START) begin_dump(callback, type);
    callback->snapshot_asked = type == MDC_CB_IS_PROCESS_SNAPSHOT;
    mdc_counters_add(&callback->counters.calls[type < MDC_CB_COUNT ? type : 31]);
    if (type == MDC_CB_THREAD || type == MDC_CB_THREAD_EX) note_stack(callback, &input->u.Thread);
    if (type == MDC_CB_CANCEL) return answer_cancel(callback, input, output);
    if (type < 32 && (callback->hook_types >> type & 1) != 0 && (type != MDC_CB_IO_FINISH || may_finish(callback))) {
        if (type == MDC_CB_MODULE) { /* the table by address is filled even if a hook answers */
            MINIDUMP_CALLBACK_OUTPUT unused = *output;
            mdc_answer_module(callback, &input->u.Module, &unused);
        }
        mdc_biased_lock_shut(&callback->lock);
        int32_t result = callback->hook(callback->hook_context, input, output);
        if (type == MDC_CB_READ_MEMORY_FAILURE && result != 0 && output->Status == MDC_S_OK)
            mdc_excluded_gaps_pass(&callback->gaps, input->u.ReadMemoryFailure.Offset,
                                   input->u.ReadMemoryFailure.Bytes);
        return result;
    }
    return answer(callback, type, input, output);
}

/* The thread's first call, or more than one thread. */
static MDC_COLD int32_t answer_locked(mdc_callback *callback, MINIDUMP_CALLBACK_INPUT *input,
                                      MINIDUMP_CALLBACK_OUTPUT *output) {
    if (!mdc_biased_lock_enter_slow(&callback->lock)) {
        mdc_callback_fault(callback, MDC_FAULT_SECOND_USER);
        return 0;
    }
    int32_t result = answer_any(callback, input, output);
    mdc_biased_lock_leave_slow(&callback->lock, true);
    return result;
}

static MDC_COLD int32_t answer_biased(mdc_callback *callback, MINIDUMP_CALLBACK_INPUT *input,
                                      MINIDUMP_CALLBACK_OUTPUT *output, atomic_uint *flag) {
    int32_t result = answer_any(callback, input, output);
    mdc_biased_lock_leave(flag);
    return result;
}

/* The facts, where the engine gives any; their shape was checked with the first region. */
MDC_HOT const mdc_region_facts *facts_of(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input) {
    uint32_t extensions = atomic_load_explicit(&callback->extensions, memory_order_relaxed);
    return (extensions & MDC_EXT_REGION_FACTS) != 0 ? &input->u.RegionFacts : NULL;
}

/* What the default does not decide is not for the short way. */
enum { HARD_FACTS = MDC_FACT_ADDED | MDC_FACT_DONTDUMP | MDC_FACT_OPTIONAL };

MDC_HOT bool is_hard(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input) {
    const mdc_region_facts *facts = facts_of(callback, input);
    return facts != NULL && (facts->Flags & HARD_FACTS) != 0;
}

MDC_HOT uint64_t mapping_size(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                              const MINIDUMP_MEMORY_INFO *region) {
    const mdc_region_facts *facts = facts_of(callback, input);
    return facts != NULL ? facts->MappingSize : region->RegionSize;
}

/* First word of the row of the mapping's name, NULL: not matched yet. */
MDC_HOT const uint64_t *known_name(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input) {
    const mdc_region_facts *facts = facts_of(callback, input);
    if (facts == NULL || !callback->has_names || facts->NameId == 0) return callback->no_name;
    uint32_t row = facts->NameId <= callback->name_capacity ? callback->name_row[facts->NameId] : 0;
    return row == 0 ? NULL : mdc_rows_at(&callback->rows, row - 1);
}

MDC_HOT uint32_t kinds_of(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                          const MINIDUMP_MEMORY_INFO *region) {
    const mdc_region_facts *facts = facts_of(callback, input);
    return facts != NULL ? facts->Kinds & MDC_KINDS_KNOWN : mdc_kinds_of_type(region->Type);
}

MDC_HOT int32_t tell_region(mdc_callback *callback, MINIDUMP_CALLBACK_OUTPUT *output, int part, atomic_uint *flag) {
    mdc_counters_add(&callback->counters.calls[MDC_CB_INCLUDE_VM_REGION]);
    output->Region.Continue = 1;
    if (part == MDC_MATCH_NOTHING) {
        output->Region.VmRegion.RegionSize = 0;
        mdc_counters_add(&callback->counters.excluded);
    }
    mdc_biased_lock_leave(flag);
    return 1;
}

/* A region that the routine did not answer at a glance. */
static MDC_COLD int32_t answer_closely(mdc_callback *callback, MINIDUMP_CALLBACK_INPUT *input,
                                       MINIDUMP_CALLBACK_OUTPUT *output, atomic_uint *flag) {
    const MINIDUMP_MEMORY_INFO *region = &output->Region.VmRegion;
    const uint64_t *name = known_name(callback, input);
    int part = MDC_MATCH_PART;
    if (region->RegionSize != 0 && name != NULL && !is_hard(callback, input))
        part = mdc_match_hot(&callback->hot, region, mapping_size(callback, input, region),
                             kinds_of(callback, input, region), name[0]);
    if (part == MDC_MATCH_PART) return answer_biased(callback, input, output, flag);
    return tell_region(callback, output, part, flag);
}

/* Which sets of conditions a region meets, from tables alone (sizes by powers of two); false: use the full match. */
MDC_HOT bool glance(const mdc_callback *callback, const MINIDUMP_CALLBACK_INPUT *input,
                    const MINIDUMP_MEMORY_INFO *region, uint64_t *hits) {
    const mdc_hot *hot = &callback->hot;
    uint64_t found = hot->glance_bits;
    uint32_t row;
    if (!mdc_attributes_known(region)) return false;
    if (MDC_LIKELY(atomic_load_explicit(&callback->extensions, memory_order_relaxed) & MDC_EXT_REGION_FACTS)) {
        const mdc_region_facts *facts = &input->u.RegionFacts;
        if ((facts->Flags & HARD_FACTS) != 0) return false;
        if (!MDC_LIKELY(hot->plain)) {
            const uint64_t *name = known_name(callback, input);
            if (name == NULL) return false;
            found &= *name;
            MDC_SETTLE(found);
            found &= hot->kind_rows[facts->Kinds & MDC_KINDS_KNOWN & (MDC_KIND_ROWS - 1)];
        }
        MDC_SETTLE(found);
        found &= hot->size_rows[mdc_size_row(facts->MappingSize)];
    } else {
        found &= callback->no_name[0];
        row = mdc_kinds_of_type(region->Type);
        MDC_SETTLE(row);
        found &= hot->kind_rows[row & (MDC_KIND_ROWS - 1)];
        MDC_SETTLE(found);
        found &= hot->size_rows[mdc_size_row(region->RegionSize)];
    }
    MDC_SETTLE(found);
    found &= hot->attributes[region->Protect];
    MDC_SETTLE(found);
    found &= hot->states[mdc_state_place(region->State, region->Type)];
    *hits = found;
    return true;
}

/* Answers at a glance what most questions are: a region that one rule decides as a whole, with a name seen before,
 * where the last one was. Everything else leaves by a jump, so that this function saves no register and has no stack
 * frame (tests/callback/test_native_code.py looks). */
int32_t MDC_CALL mdc_callback_routine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_callback *callback = param;
    if (callback == NULL) return 0;
    atomic_uint *flag = mdc_biased_lock_enter(&callback->lock);
    if (flag == NULL) return answer_locked(callback, input, output);
    if (input->CallbackType != callback->hot_type) return answer_biased(callback, input, output, flag);
    const MINIDUMP_MEMORY_INFO *region = &output->Region.VmRegion;
    const mdc_hot *hot = &callback->hot;
    /* Of an empty region the second difference is the largest number there is. */
    uint64_t offset = region->BaseAddress - hot->first;
    if (offset > hot->span || region->RegionSize - 1 > hot->span - offset)
        return answer_closely(callback, input, output, flag);
    MDC_SETTLE(output);
    region = &output->Region.VmRegion;
    uint64_t hits = 0;
    if (hot->glance_bits != 0 ? !glance(callback, input, region, &hits) : is_hard(callback, input))
        return answer_closely(callback, input, output, flag);
    uint32_t code = hot->glance_code;
    if (!MDC_LIKELY(hits == 0)) {
        uint32_t bit = mdc_lowest_bit(hits), best = hot->global_code[bit];
        if (best > code) {
            if (hot->inexact_bits >> bit & 1) return answer_closely(callback, input, output, flag);
            code = best;
        }
    }
    int part = mdc_hot_verdict(code);
    if (part == MDC_MATCH_PART) return answer_closely(callback, input, output, flag);
    return tell_region(callback, output, part, flag);
}
