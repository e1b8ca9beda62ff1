/* Between dbghelp and the callee (see proxy.h). */
#include "proxy.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/protocol_asserts.h"
#include "../base/thread_layout.h"
#include "exception_pointers.h"

enum {
    GAPS_DEFAULT = 65536,
    ANSWERS_DEFAULT = 1 << 20,
    ANSWERS_MAX = 1 << 22 /* of one kind remembered: the report ends there, the dump goes on */
};

/* MSVC keeps the stack aligned to 4 bytes on x86, this compiler counts on 16. */
#if defined(__i386__) && defined(__GNUC__)
#define MDC_ENTRY __attribute__((force_align_arg_pointer))
#else
#define MDC_ENTRY
#endif

/* -- what is noted ------------------------------------------------------------------------------------------------- */

static void note(mdc_adapter *adapter, mdc_vec *vec, const void *item) {
    if (vec->count < ANSWERS_MAX) mdc_vec_push(vec, item, 1, NULL, &adapter->error);
}

void mdc_adapter_gap(mdc_adapter *adapter, uint64_t address, uint64_t size, int32_t os_errno) {
    mdc_gap gap = {.address = address, .size = size, .reason = MDC_GAP_READ_FAILED, .os_errno = os_errno};
    if (adapter->gaps.count < adapter->gaps_max) {
        note(adapter, &adapter->gaps, &gap);
        return;
    }
    mdc_gap *last = &mdc_vec_at(&adapter->gaps, mdc_gap, adapter->gaps.count - 1);
    adapter->warnings |= MDC_WARN_GAP_TABLE_FULL;
    last->reason = MDC_GAP_TRUNCATED;
    if (!mdc_add_u64(last->size, size, &last->size)) last->size = UINT64_MAX - last->address;
}

/* The error of HRESULT_FROM_WIN32, 0 if it is another kind of HRESULT. */
static int32_t win32_error(uint32_t hresult) { return hresult >> 16 == 0x8007 ? (int32_t)(hresult & 0xFFFF) : 0; }

static mdc_adapter_thread *find_thread(const mdc_adapter *adapter, uint32_t tid) {
    for (size_t i = adapter->threads.count; i-- > 0;) {
        mdc_adapter_thread *thread = &mdc_vec_at(&adapter->threads, mdc_adapter_thread, i);
        if (thread->tid == tid) return thread;
    }
    return NULL;
}

static void note_thread(mdc_adapter *adapter, uint32_t tid, uint32_t flags, uint64_t low, uint64_t high) {
    mdc_adapter_thread *known = find_thread(adapter, tid);
    if (known == NULL) {
        mdc_adapter_thread thread = {tid, flags, low, high};
        note(adapter, &adapter->threads, &thread);
        return;
    }
    known->flags = flags;
    if (high != 0) known->stack_low = low;
    if (high != 0) known->stack_high = high;
}

/* The stack of a Thread callback; 0, 0 if the layout is unknown. */
static void stack_of(const MINIDUMP_THREAD_CALLBACK *thread, uint64_t *low, uint64_t *high) {
    uint64_t ends[2];
    *low = *high = 0;
    if (!mdc_thread_layout_known(thread)) return;
    mdc_thread_stack(thread, ends);
    *low = mdc_min_u64(ends[0], ends[1]); /* Windows says the high end first, Wine the low one */
    *high = mdc_max_u64(ends[0], ends[1]);
}

static void note_module(mdc_adapter *adapter, const MINIDUMP_MODULE_CALLBACK *module, uint32_t flags) {
    mdc_adapter_module noted = {.base = module->BaseOfImage, .size = module->SizeOfImage, .flags = flags};
    size_t units = 0;
    while (module->FullPath != NULL && units < MDC_WIN_PATH_UNITS && module->FullPath[units] != 0) units++;
    mdc_win_names_put16(&adapter->map.names, module->FullPath, units, &noted.path, &adapter->error);
    note(adapter, &adapter->modules, &noted);
}

/* -- the target's own view ----------------------------------------------------------------------------------------- */

/* At the first callback after the enumeration: on Windows the threads are suspended from then on, so that what is
 * found is valid for the whole dump. */
static void look_once(mdc_adapter *adapter) {
    if (adapter->mapped || adapter->process == NULL) return;
    adapter->mapped = true;
    mdc_vm_map_fill(&adapter->map, adapter->process, adapter->pid, &adapter->error);
    adapter->exception_spans =
        mdc_dbghelp_exception_find(&adapter->exception, adapter->process, adapter->exception_memory);
    for (size_t i = 0; i < adapter->threads.count; i++) {
        const mdc_adapter_thread *thread = &mdc_vec_at(&adapter->threads, const mdc_adapter_thread, i);
        if (thread->stack_high != 0) mdc_vm_map_mark_stack(&adapter->map, thread->stack_high - 1);
    }
}

/* -- the types ----------------------------------------------------------------------------------------------------- */

static int32_t pass(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (adapter->callee.CallbackRoutine != NULL)
        return adapter->callee.CallbackRoutine(adapter->callee.CallbackParam, input, output);
    switch (input->CallbackType) { /* no callee: protocol.md's safe answers */
    case MDC_CB_INCLUDE_VM_REGION:
        output->Region.Continue = 1;
        return 1;
    case MDC_CB_MODULE:
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_INCLUDE_MODULE:
        return 1;
    default:
        return 0;
    }
}

static int32_t answer_thread(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    bool gathered = input->CallbackType != MDC_CB_INCLUDE_THREAD;
    uint64_t low = 0, high = 0;
    if (gathered) {
        stack_of(&input->u.Thread, &low, &high);
        look_once(adapter);
        if (high != 0) mdc_vm_map_mark_stack(&adapter->map, high - 1);
    }
    uint32_t tid = input->u.IncludeThread.ThreadId; /* first of all members */
    int32_t answer = pass(adapter, input, output);
    bool kept = answer != 0 && (output->ThreadWriteFlags & MDC_THREAD_WRITE_THREAD) != 0;
    note_thread(adapter, tid, kept ? output->ThreadWriteFlags : 0, low, high);
    if (answer != 0 || !gathered) return answer;
    output->ThreadWriteFlags = 0;
    return 1;
}

static int32_t answer_module(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    look_once(adapter);
    int32_t answer = pass(adapter, input, output);
    bool kept = answer != 0 && (output->ModuleWriteFlags & MDC_MODULE_WRITE_MODULE) != 0;
    note_module(adapter, &input->u.Module, kept ? output->ModuleWriteFlags : 0);
    if (answer == 0) output->ModuleWriteFlags = 0;
    return 1;
}

static int32_t answer_include_module(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input,
                                     MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(adapter, input, output);
    if (answer == 0 || (output->ModuleWriteFlags & MDC_MODULE_WRITE_MODULE) == 0) {
        mdc_adapter_module noted = {.base = input->u.IncludeModule.BaseOfImage}; /* Module is not asked then */
        note(adapter, &adapter->modules, &noted);
    }
    return answer;
}

/* Whether what was kept is a part of what was asked, in whole pages, or nothing. */
static bool is_part(const MINIDUMP_MEMORY_INFO *asked, const MINIDUMP_MEMORY_INFO *kept) {
    uint64_t into = kept->BaseAddress - asked->BaseAddress;
    if (kept->RegionSize == 0) return true;
    return kept->BaseAddress >= asked->BaseAddress && into < asked->RegionSize &&
           kept->RegionSize <= asked->RegionSize - into &&
           ((kept->BaseAddress | kept->RegionSize) & (MDC_PAGE_SIZE - 1)) == 0;
}

/* What is asked of a callee that counts on a question about the rest, and was given a part before. */
static void expect_rest(mdc_adapter *adapter, const MINIDUMP_MEMORY_INFO *asked) {
    bool rest = adapter->rest_size == 0 ||
                (asked->BaseAddress == adapter->rest_base && asked->RegionSize == adapter->rest_size);
    if (!rest) adapter->asks_once = true;
    adapter->rest_size = 0;
}

static int32_t answer_region(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_MEMORY_INFO asked = output->Region.VmRegion;
    int32_t answer;
    look_once(adapter);
    expect_rest(adapter, &asked);
    if (adapter->facts) {
        MINIDUMP_CALLBACK_INPUT *copy = &adapter->input;
        copy->ProcessId = input->ProcessId;
        copy->ProcessHandle = input->ProcessHandle;
        copy->CallbackType = input->CallbackType;
        mdc_vm_map_facts(&adapter->map, adapter->process, &asked, &copy->u.RegionFacts, &adapter->error);
        answer = pass(adapter, copy, output);
    } else {
        answer = pass(adapter, input, output);
    }
    if (answer != 0 && output->Region.Continue != 0 && !is_part(&asked, &output->Region.VmRegion)) {
        mdc_fail_callback(
            &adapter->error, MDC_CB_INCLUDE_VM_REGION, asked.BaseAddress,
            "the answer to a region is not a page-aligned part of it: 0x%llX bytes at 0x%llX of 0x%llX at "
            "0x%llX",
            (unsigned long long)output->Region.VmRegion.RegionSize,
            (unsigned long long)output->Region.VmRegion.BaseAddress, (unsigned long long)asked.RegionSize,
            (unsigned long long)asked.BaseAddress);
        output->Region.VmRegion.BaseAddress = asked.BaseAddress;
        output->Region.VmRegion.RegionSize = 0;
    }
    mdc_adapter_region region = {.base = asked.BaseAddress,
                                 .size = asked.RegionSize,
                                 .kept_base = output->Region.VmRegion.BaseAddress,
                                 .kept_size = output->Region.VmRegion.RegionSize};
    if (answer == 0 || output->Region.Continue == 0) { /* the edit does not count */
        region.kept_base = region.base;
        region.kept_size = region.size;
    }
    note(adapter, &adapter->regions, &region);
    uint64_t end = region.base + region.size;
    if (adapter->resubmits && region.kept_size != 0) {
        adapter->rest_base = region.kept_base + region.kept_size;
        adapter->rest_size = end - adapter->rest_base;
        end = adapter->rest_base;
    }
    /* Windows asks about all regions twice: once to lay out the file, once to write it. */
    bool again = region.base < adapter->asked_up_to;
    atomic_fetch_add_explicit(again ? &adapter->monitor->bytes_done : &adapter->monitor->bytes_total, region.kept_size,
                              memory_order_relaxed);
    if (!again) adapter->asked_up_to = end >= region.base ? end : UINT64_MAX;
    return answer;
}

static int32_t answer_memory(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(adapter, input, output);
    if (answer == 0 || output->Memory.MemorySize == 0) return answer;
    if (adapter->calls[input->CallbackType] > adapter->answers_max) { /* dbghelp itself would ask for ever */
        mdc_fail_callback(&adapter->error, (int32_t)input->CallbackType, output->Memory.MemoryBase,
                          "the callback gave more than %u ranges without an end", (unsigned)adapter->answers_max);
        output->Memory.MemorySize = 0;
        return 0;
    }
    if (input->CallbackType == MDC_CB_REMOVE_MEMORY) adapter->removes = true;
    if (input->CallbackType == MDC_CB_MEMORY) {
        mdc_set_range added = {output->Memory.MemoryBase, UINT64_MAX};
        (void)mdc_add_u64(added.first, output->Memory.MemorySize, &added.end);
        note(adapter, &adapter->added, &added);
    }
    return answer;
}

static int32_t answer_cancel(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (!adapter->callee_cancel_ended) {
        int32_t answer = pass(adapter, input, output);
        if (answer != 0 && output->Cancel.Cancel != 0) {
            mdc_fail(&adapter->error, MDC_ERR_CANCELLED, MDC_PHASE_WRITE, 0, "the callback cancelled the dump");
            if (adapter->error.code == MDC_ERR_CANCELLED) adapter->error.callback_type = MDC_CB_CANCEL;
            output->Cancel.CheckCancel = 1;
            return 1;
        }
        if (answer == 0 || output->Cancel.CheckCancel == 0) adapter->callee_cancel_ended = true;
    }
    output->Cancel.CheckCancel = 1; /* we want to be asked again, even if the callee does not */
    output->Cancel.Cancel = mdc_monitor_check(adapter->monitor, &adapter->error) != MDC_OK ||
                            adapter->error.code != MDC_OK || adapter->asks_once;
    return 1;
}

static int32_t answer_snapshot(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(adapter, input, output); /* a callee can take it as the begin of its dump */
    if (adapter->snapshot) {
        output->Status = MDC_S_FALSE;
        return 1;
    }
    if (answer != 0 && output->Status == MDC_S_FALSE) output->Status = MDC_S_OK; /* the handle is not a snapshot */
    return answer;
}

static int32_t answer_vm_start(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(adapter, input, output);
    if (answer != 0 && output->Status == MDC_S_FALSE) adapter->callee_vm = true;
    return answer;
}

static int32_t answer_io(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    const MINIDUMP_IO_CALLBACK *io = &input->u.Io;
    uint32_t type = input->CallbackType;
    if (type == MDC_CB_IO_START) {
        int32_t answer = 0;
        if (adapter->io == MDC_ADAPTER_IO_CALLEE || adapter->io == MDC_ADAPTER_IO_CALLEE_MEMORY)
            answer = pass(adapter, input, output);
        adapter->callee_io = answer != 0 && output->Status == MDC_S_FALSE;
        if (adapter->told_io) {
            MINIDUMP_CALLBACK_OUTPUT shown = *output;
            (void)pass(adapter, input, &shown);
        }
        if (adapter->callee_io || adapter->io == MDC_ADAPTER_IO_CALLEE || adapter->io == MDC_ADAPTER_IO_FILE)
            return answer;
        adapter->store->in_memory = true;
        output->Status = MDC_S_FALSE;
        return 1;
    }
    if (type == MDC_CB_IO_WRITE_ALL) {
        uint64_t end;
        if (mdc_add_u64(io->Offset, io->BufferBytes, &end)) adapter->io_end = mdc_max_u64(adapter->io_end, end);
        if (mdc_monitor_check(adapter->monitor, &adapter->error) != MDC_OK) {
            output->Status = (int32_t)MDC_E_CANCELLED;
            return 0;
        }
    }
    if (adapter->callee_io) return pass(adapter, input, output);
    output->Status = (int32_t)MDC_E_FAIL;
    if (!adapter->store->in_memory) return 0; /* IoStart did not take over the output */
    if (type == MDC_CB_IO_WRITE_ALL &&
        mdc_dump_store_put(adapter->store, io->Offset, io->Buffer, io->BufferBytes, &adapter->error) != MDC_OK) {
        output->Status = (int32_t)MDC_E_OUTOFMEMORY;
        return 0;
    }
    output->Status = MDC_S_OK;
    return 1;
}

static int32_t answer_failure(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_READ_MEMORY_FAILURE_CALLBACK failure = input->u.ReadMemoryFailure;
    int32_t answer = pass(adapter, input, output);
    if (answer != 0 && output->Status == MDC_S_OK) {
        mdc_adapter_gap(adapter, failure.Offset, failure.Bytes, win32_error((uint32_t)failure.FailureStatus));
    } else {
        mdc_fail(&adapter->refused, MDC_ERR_READ, MDC_PHASE_WRITE, win32_error((uint32_t)failure.FailureStatus),
                 "%u bytes of the target at 0x%llX cannot be read (0x%08X), and the callee does not tolerate it",
                 (unsigned)failure.Bytes, (unsigned long long)failure.Offset, (unsigned)failure.FailureStatus);
        adapter->refused.address = failure.Offset;
        adapter->refused.hresult = (uint32_t)failure.FailureStatus;
    }
    return answer;
}

static int32_t answer_type(mdc_adapter *adapter, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    switch (input->CallbackType) {
    case MDC_CB_MODULE:
        return answer_module(adapter, input, output);
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
    case MDC_CB_INCLUDE_THREAD:
        return answer_thread(adapter, input, output);
    case MDC_CB_INCLUDE_MODULE:
        return answer_include_module(adapter, input, output);
    case MDC_CB_MEMORY:
    case MDC_CB_REMOVE_MEMORY:
        return answer_memory(adapter, input, output);
    case MDC_CB_CANCEL:
        return answer_cancel(adapter, input, output);
    case MDC_CB_INCLUDE_VM_REGION:
        return answer_region(adapter, input, output);
    case MDC_CB_IO_START:
    case MDC_CB_IO_WRITE_ALL:
    case MDC_CB_IO_FINISH:
        return answer_io(adapter, input, output);
    case MDC_CB_READ_MEMORY_FAILURE:
        return answer_failure(adapter, input, output);
    case MDC_CB_IS_PROCESS_SNAPSHOT:
        return answer_snapshot(adapter, input, output);
    case MDC_CB_VM_START:
        return answer_vm_start(adapter, input, output);
    default:
        return pass(adapter, input, output);
    }
}

/* New versions return 1 for every failure: this is the error they got. */
static void note_failure(mdc_adapter *adapter, uint32_t type, const MINIDUMP_CALLBACK_OUTPUT *output, int32_t answer) {
    int32_t status = MDC_S_OK;
    if (type == MDC_CB_IO_WRITE_ALL || type == MDC_CB_IO_FINISH || type == MDC_CB_READ_MEMORY_FAILURE)
        status = answer != 0 ? output->Status : (int32_t)MDC_E_FAIL;
    else if (type == MDC_CB_VM_QUERY && answer != 0 && output->VmQuery.VmQueryStatus != (int32_t)MDC_E_NOTIMPL)
        status = output->VmQuery.VmQueryStatus;
    if (status == MDC_S_OK || adapter->failure != 0) return;
    adapter->failure = status < 0 ? (uint32_t)status : MDC_E_FAIL;
}

MDC_ENTRY static int32_t MDC_CALL answer(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_adapter *adapter = param;
    uint32_t type = input->CallbackType;
    adapter->calls[type < MDC_CB_COUNT ? type : 31]++;
    if (adapter->told != NULL && input->ProcessHandle == adapter->passed) input->ProcessHandle = adapter->told;
    int32_t answered = answer_type(adapter, input, output);
    note_failure(adapter, type, output, answered);
    return answered;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

mdc_status mdc_adapter_init(mdc_adapter *adapter, const MINIDUMP_CALLBACK_INFORMATION *callee, mdc_monitor *monitor,
                            mdc_error *err) {
    memset(adapter, 0, sizeof *adapter);
    adapter->callee = *callee;
    adapter->monitor = monitor;
    adapter->gaps_max = GAPS_DEFAULT;
    adapter->answers_max = ANSWERS_DEFAULT;
    mdc_error_clear(&adapter->error);
    mdc_error_clear(&adapter->refused);
    mdc_vec_init(&adapter->threads, sizeof(mdc_adapter_thread));
    mdc_vec_init(&adapter->modules, sizeof(mdc_adapter_module));
    mdc_vec_init(&adapter->regions, sizeof(mdc_adapter_region));
    mdc_range_set_init(&adapter->added);
    mdc_vec_init(&adapter->gaps, sizeof(mdc_gap));
    return mdc_vm_map_init(&adapter->map, err);
}

void mdc_adapter_fini(mdc_adapter *adapter) {
    mdc_vec_fini(&adapter->threads);
    mdc_vec_fini(&adapter->modules);
    mdc_vec_fini(&adapter->regions);
    mdc_vec_fini(&adapter->added);
    mdc_vec_fini(&adapter->gaps);
    mdc_vm_map_fini(&adapter->map);
}

void mdc_adapter_settle(mdc_adapter *adapter) { mdc_range_set_normalise(&adapter->added); }

bool mdc_adapter_was_added(const mdc_adapter *adapter, uint64_t address, uint64_t size) {
    size_t at = mdc_range_set_find(&adapter->added, address);
    if (at == adapter->added.count) return false;
    const mdc_set_range *range = &mdc_vec_at(&adapter->added, const mdc_set_range, at);
    return range->first <= address && size <= range->end - address;
}

bool mdc_adapter_added_run(const mdc_adapter *adapter, uint64_t address, uint64_t *last) {
    size_t at = mdc_range_set_find(&adapter->added, address);
    if (at == adapter->added.count) return false;
    const mdc_set_range *range = &mdc_vec_at(&adapter->added, const mdc_set_range, at);
    bool added = range->first <= address;
    *last = mdc_min_u64(*last, (added ? range->end : range->first) - 1);
    return added;
}

uint32_t mdc_adapter_thread_flags(const mdc_adapter *adapter, uint32_t tid, uint32_t otherwise) {
    const mdc_adapter_thread *thread = find_thread(adapter, tid);
    return thread != NULL ? thread->flags : otherwise;
}

MINIDUMP_CALLBACK_INFORMATION mdc_adapter_information(mdc_adapter *adapter) {
    return (MINIDUMP_CALLBACK_INFORMATION){answer, adapter};
}
