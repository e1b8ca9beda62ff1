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

static void note(mdc_proxy *proxy, mdc_vec *vec, const void *item) {
    if (vec->count < ANSWERS_MAX) mdc_vec_push(vec, item, 1, NULL, &proxy->error);
}

void mdc_proxy_gap(mdc_proxy *proxy, uint64_t address, uint64_t size, int32_t os_errno) {
    mdc_gap gap = {.address = address, .size = size, .reason = MDC_GAP_READ_FAILED, .os_errno = os_errno};
    if (proxy->gaps.count < proxy->gaps_max) {
        note(proxy, &proxy->gaps, &gap);
        return;
    }
    mdc_gap *last = &mdc_vec_at(&proxy->gaps, mdc_gap, proxy->gaps.count - 1);
    proxy->warnings |= MDC_WARN_GAP_TABLE_FULL;
    last->reason = MDC_GAP_TRUNCATED;
    if (!mdc_add_u64(last->size, size, &last->size)) last->size = UINT64_MAX - last->address;
}

/* The error of HRESULT_FROM_WIN32, 0 if it is another kind of HRESULT. */
static int32_t win32_error(uint32_t hresult) { return hresult >> 16 == 0x8007 ? (int32_t)(hresult & 0xFFFF) : 0; }

static mdc_proxy_thread *find_thread(const mdc_proxy *proxy, uint32_t tid) {
    for (size_t i = proxy->threads.count; i-- > 0;) {
        mdc_proxy_thread *thread = &mdc_vec_at(&proxy->threads, mdc_proxy_thread, i);
        if (thread->tid == tid) return thread;
    }
    return NULL;
}

static void note_thread(mdc_proxy *proxy, uint32_t tid, uint32_t flags, uint64_t low, uint64_t high) {
    mdc_proxy_thread *known = find_thread(proxy, tid);
    if (known == NULL) {
        mdc_proxy_thread thread = {tid, flags, low, high};
        note(proxy, &proxy->threads, &thread);
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

static void note_module(mdc_proxy *proxy, const MINIDUMP_MODULE_CALLBACK *module, uint32_t flags) {
    mdc_proxy_module noted = {.base = module->BaseOfImage, .size = module->SizeOfImage, .flags = flags};
    size_t units = 0;
    while (module->FullPath != NULL && units < MDC_WIN_PATH_UNITS && module->FullPath[units] != 0) units++;
    mdc_win_names_put16(&proxy->map.names, module->FullPath, units, &noted.path, &proxy->error);
    note(proxy, &proxy->modules, &noted);
}

/* -- the target's own view ----------------------------------------------------------------------------------------- */

/* At the first callback after the enumeration: on Windows the threads are suspended from then on, so that what is
 * found is valid for the whole dump. */
static void look_once(mdc_proxy *proxy) {
    if (proxy->mapped || proxy->process == NULL) return;
    proxy->mapped = true;
    mdc_region_map_fill(&proxy->map, proxy->process, proxy->pid, &proxy->error);
    proxy->exception_spans = mdc_dbghelp_exception_find(&proxy->exception, proxy->process, proxy->exception_memory);
    for (size_t i = 0; i < proxy->threads.count; i++) {
        const mdc_proxy_thread *thread = &mdc_vec_at(&proxy->threads, const mdc_proxy_thread, i);
        if (thread->stack_high != 0) mdc_region_map_mark_stack(&proxy->map, thread->stack_high - 1);
    }
}

/* -- the types ----------------------------------------------------------------------------------------------------- */

static int32_t pass(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (proxy->callee.CallbackRoutine != NULL)
        return proxy->callee.CallbackRoutine(proxy->callee.CallbackParam, input, output);
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

static int32_t answer_thread(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    bool gathered = input->CallbackType != MDC_CB_INCLUDE_THREAD;
    uint64_t low = 0, high = 0;
    if (gathered) {
        stack_of(&input->u.Thread, &low, &high);
        look_once(proxy);
        if (high != 0) mdc_region_map_mark_stack(&proxy->map, high - 1);
    }
    uint32_t tid = input->u.IncludeThread.ThreadId; /* first of all members */
    int32_t answer = pass(proxy, input, output);
    bool kept = answer != 0 && (output->ThreadWriteFlags & MDC_THREAD_WRITE_THREAD) != 0;
    note_thread(proxy, tid, kept ? output->ThreadWriteFlags : 0, low, high);
    if (answer != 0 || !gathered) return answer;
    output->ThreadWriteFlags = 0;
    return 1;
}

static int32_t answer_module(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    look_once(proxy);
    int32_t answer = pass(proxy, input, output);
    bool kept = answer != 0 && (output->ModuleWriteFlags & MDC_MODULE_WRITE_MODULE) != 0;
    note_module(proxy, &input->u.Module, kept ? output->ModuleWriteFlags : 0);
    if (answer == 0) output->ModuleWriteFlags = 0;
    return 1;
}

static int32_t answer_include_module(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input,
                                     MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(proxy, input, output);
    if (answer == 0 || (output->ModuleWriteFlags & MDC_MODULE_WRITE_MODULE) == 0) {
        mdc_proxy_module noted = {.base = input->u.IncludeModule.BaseOfImage}; /* Module is not asked then */
        note(proxy, &proxy->modules, &noted);
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
static void expect_rest(mdc_proxy *proxy, const MINIDUMP_MEMORY_INFO *asked) {
    bool rest =
        proxy->rest_size == 0 || (asked->BaseAddress == proxy->rest_base && asked->RegionSize == proxy->rest_size);
    if (!rest) proxy->asks_once = true;
    proxy->rest_size = 0;
}

static int32_t answer_region(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_MEMORY_INFO asked = output->Region.VmRegion;
    int32_t answer;
    look_once(proxy);
    expect_rest(proxy, &asked);
    if (proxy->facts) {
        MINIDUMP_CALLBACK_INPUT *copy = &proxy->input;
        copy->ProcessId = input->ProcessId;
        copy->ProcessHandle = input->ProcessHandle;
        copy->CallbackType = input->CallbackType;
        mdc_region_map_facts(&proxy->map, proxy->process, &asked, &copy->u.RegionFacts, &proxy->error);
        answer = pass(proxy, copy, output);
    } else {
        answer = pass(proxy, input, output);
    }
    if (answer != 0 && output->Region.Continue != 0 && !is_part(&asked, &output->Region.VmRegion)) {
        mdc_fail_callback(
            &proxy->error, MDC_CB_INCLUDE_VM_REGION, asked.BaseAddress,
            "the answer to a region is not a page-aligned part of it: 0x%llX bytes at 0x%llX of 0x%llX at "
            "0x%llX",
            (unsigned long long)output->Region.VmRegion.RegionSize,
            (unsigned long long)output->Region.VmRegion.BaseAddress, (unsigned long long)asked.RegionSize,
            (unsigned long long)asked.BaseAddress);
        output->Region.VmRegion.BaseAddress = asked.BaseAddress;
        output->Region.VmRegion.RegionSize = 0;
    }
    mdc_proxy_region region = {.base = asked.BaseAddress,
                               .size = asked.RegionSize,
                               .kept_base = output->Region.VmRegion.BaseAddress,
                               .kept_size = output->Region.VmRegion.RegionSize};
    if (answer == 0 || output->Region.Continue == 0) { /* the edit does not count */
        region.kept_base = region.base;
        region.kept_size = region.size;
    }
    note(proxy, &proxy->regions, &region);
    uint64_t end = region.base + region.size;
    if (proxy->resubmits && region.kept_size != 0) {
        proxy->rest_base = region.kept_base + region.kept_size;
        proxy->rest_size = end - proxy->rest_base;
        end = proxy->rest_base;
    }
    /* Windows asks about all regions twice: once to lay out the file, once to write it. */
    bool again = region.base < proxy->asked_up_to;
    atomic_fetch_add_explicit(again ? &proxy->control->bytes_done : &proxy->control->bytes_total, region.kept_size,
                              memory_order_relaxed);
    if (!again) proxy->asked_up_to = end >= region.base ? end : UINT64_MAX;
    return answer;
}

static int32_t answer_memory(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(proxy, input, output);
    if (answer == 0 || output->Memory.MemorySize == 0) return answer;
    if (proxy->calls[input->CallbackType] > proxy->answers_max) { /* dbghelp itself would ask for ever */
        mdc_fail_callback(&proxy->error, (int32_t)input->CallbackType, output->Memory.MemoryBase,
                          "the callback gave more than %u ranges without an end", (unsigned)proxy->answers_max);
        output->Memory.MemorySize = 0;
        return 0;
    }
    if (input->CallbackType == MDC_CB_REMOVE_MEMORY) proxy->removes = true;
    if (input->CallbackType == MDC_CB_MEMORY) {
        mdc_set_range added = {output->Memory.MemoryBase, UINT64_MAX};
        (void)mdc_add_u64(added.first, output->Memory.MemorySize, &added.end);
        note(proxy, &proxy->added, &added);
    }
    return answer;
}

static int32_t answer_cancel(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (!proxy->callee_cancel_ended) {
        int32_t answer = pass(proxy, input, output);
        if (answer != 0 && output->Cancel.Cancel != 0) {
            mdc_fail(&proxy->error, MDC_ERR_CANCELLED, MDC_PHASE_WRITE, 0, "the callback cancelled the dump");
            if (proxy->error.code == MDC_ERR_CANCELLED) proxy->error.callback_type = MDC_CB_CANCEL;
            output->Cancel.CheckCancel = 1;
            return 1;
        }
        if (answer == 0 || output->Cancel.CheckCancel == 0) proxy->callee_cancel_ended = true;
    }
    output->Cancel.CheckCancel = 1; /* we want to be asked again, even if the callee does not */
    output->Cancel.Cancel =
        mdc_control_check(proxy->control, &proxy->error) != MDC_OK || proxy->error.code != MDC_OK || proxy->asks_once;
    return 1;
}

static int32_t answer_snapshot(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(proxy, input, output); /* a callee can take it as the begin of its dump */
    if (proxy->snapshot) {
        output->Status = MDC_S_FALSE;
        return 1;
    }
    if (answer != 0 && output->Status == MDC_S_FALSE) output->Status = MDC_S_OK; /* the handle is not a snapshot */
    return answer;
}

static int32_t answer_vm_start(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    int32_t answer = pass(proxy, input, output);
    if (answer != 0 && output->Status == MDC_S_FALSE) proxy->callee_vm = true;
    return answer;
}

static int32_t answer_io(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    const MINIDUMP_IO_CALLBACK *io = &input->u.Io;
    uint32_t type = input->CallbackType;
    if (type == MDC_CB_IO_START) {
        int32_t answer = 0;
        if (proxy->io == MDC_PROXY_IO_CALLEE || proxy->io == MDC_PROXY_IO_CALLEE_MEMORY)
            answer = pass(proxy, input, output);
        proxy->callee_io = answer != 0 && output->Status == MDC_S_FALSE;
        if (proxy->callee_io &&
            proxy->annotated) { /* they hold offsets in the file, and dbghelp puts it where it wants */
            proxy->callee_io = false;
            output->Status = (int32_t)MDC_E_NOTIMPL;
            mdc_fail(&proxy->error, MDC_ERR_INVALID, MDC_PHASE_WRITE, 0,
                     "annotations are not possible where a callback takes the output of dbghelp: give an output");
            return 0;
        }
        if (proxy->told_io) {
            MINIDUMP_CALLBACK_OUTPUT shown = *output;
            (void)pass(proxy, input, &shown);
        }
        if (proxy->callee_io || proxy->io == MDC_PROXY_IO_CALLEE || proxy->io == MDC_PROXY_IO_FILE) return answer;
        proxy->store->in_memory = true;
        output->Status = MDC_S_FALSE;
        return 1;
    }
    if (type == MDC_CB_IO_WRITE_ALL) {
        uint64_t end;
        if (mdc_add_u64(io->Offset, io->BufferBytes, &end)) proxy->io_end = mdc_max_u64(proxy->io_end, end);
        if (mdc_control_check(proxy->control, &proxy->error) != MDC_OK) {
            output->Status = (int32_t)MDC_E_CANCELLED;
            return 0;
        }
    }
    if (proxy->callee_io) return pass(proxy, input, output);
    output->Status = (int32_t)MDC_E_FAIL;
    if (!proxy->store->in_memory) return 0; /* IoStart did not take over the output */
    if (type == MDC_CB_IO_WRITE_ALL &&
        mdc_staging_file_put(proxy->store, io->Offset, io->Buffer, io->BufferBytes, &proxy->error) != MDC_OK) {
        output->Status = (int32_t)MDC_E_OUTOFMEMORY;
        return 0;
    }
    output->Status = MDC_S_OK;
    return 1;
}

static int32_t answer_failure(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    MINIDUMP_READ_MEMORY_FAILURE_CALLBACK failure = input->u.ReadMemoryFailure;
    int32_t answer = pass(proxy, input, output);
    if (answer != 0 && output->Status == MDC_S_OK) {
        mdc_proxy_gap(proxy, failure.Offset, failure.Bytes, win32_error((uint32_t)failure.FailureStatus));
    } else {
        mdc_fail(&proxy->refused, MDC_ERR_READ, MDC_PHASE_WRITE, win32_error((uint32_t)failure.FailureStatus),
                 "%u bytes of the target at 0x%llX cannot be read (0x%08X), and the callee does not tolerate it",
                 (unsigned)failure.Bytes, (unsigned long long)failure.Offset, (unsigned)failure.FailureStatus);
        proxy->refused.address = failure.Offset;
        proxy->refused.hresult = (uint32_t)failure.FailureStatus;
    }
    return answer;
}

static int32_t answer_type(mdc_proxy *proxy, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output) {
    switch (input->CallbackType) {
    case MDC_CB_MODULE:
        return answer_module(proxy, input, output);
    case MDC_CB_THREAD:
    case MDC_CB_THREAD_EX:
    case MDC_CB_INCLUDE_THREAD:
        return answer_thread(proxy, input, output);
    case MDC_CB_INCLUDE_MODULE:
        return answer_include_module(proxy, input, output);
    case MDC_CB_MEMORY:
    case MDC_CB_REMOVE_MEMORY:
        return answer_memory(proxy, input, output);
    case MDC_CB_CANCEL:
        return answer_cancel(proxy, input, output);
    case MDC_CB_INCLUDE_VM_REGION:
        return answer_region(proxy, input, output);
    case MDC_CB_IO_START:
    case MDC_CB_IO_WRITE_ALL:
    case MDC_CB_IO_FINISH:
        return answer_io(proxy, input, output);
    case MDC_CB_READ_MEMORY_FAILURE:
        return answer_failure(proxy, input, output);
    case MDC_CB_IS_PROCESS_SNAPSHOT:
        return answer_snapshot(proxy, input, output);
    case MDC_CB_VM_START:
        return answer_vm_start(proxy, input, output);
    default:
        return pass(proxy, input, output);
    }
}

/* New versions return 1 for every failure: this is the error they got. */
static void note_failure(mdc_proxy *proxy, uint32_t type, const MINIDUMP_CALLBACK_OUTPUT *output, int32_t answer) {
    int32_t status = MDC_S_OK;
    if (type == MDC_CB_IO_WRITE_ALL || type == MDC_CB_IO_FINISH || type == MDC_CB_READ_MEMORY_FAILURE)
        status = answer != 0 ? output->Status : (int32_t)MDC_E_FAIL;
    else if (type == MDC_CB_VM_QUERY && answer != 0 && output->VmQuery.VmQueryStatus != (int32_t)MDC_E_NOTIMPL)
        status = output->VmQuery.VmQueryStatus;
    if (status == MDC_S_OK || proxy->failure != 0) return;
    proxy->failure = status < 0 ? (uint32_t)status : MDC_E_FAIL;
}

MDC_ENTRY static int32_t MDC_CALL answer(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    mdc_proxy *proxy = param;
    uint32_t type = input->CallbackType;
    proxy->calls[type < MDC_CB_COUNT ? type : 31]++;
    if (proxy->shown_handle != NULL && input->ProcessHandle == proxy->passed)
        input->ProcessHandle = proxy->shown_handle;
    int32_t answered = answer_type(proxy, input, output);
    note_failure(proxy, type, output, answered);
    return answered;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

mdc_status mdc_proxy_init(mdc_proxy *proxy, const MINIDUMP_CALLBACK_INFORMATION *callee, mdc_dump_control *control,
                          mdc_error *err) {
    memset(proxy, 0, sizeof *proxy);
    proxy->callee = *callee;
    proxy->control = control;
    proxy->gaps_max = GAPS_DEFAULT;
    proxy->answers_max = ANSWERS_DEFAULT;
    mdc_error_clear(&proxy->error);
    mdc_error_clear(&proxy->refused);
    mdc_vec_init(&proxy->threads, sizeof(mdc_proxy_thread));
    mdc_vec_init(&proxy->modules, sizeof(mdc_proxy_module));
    mdc_vec_init(&proxy->regions, sizeof(mdc_proxy_region));
    mdc_range_set_init(&proxy->added);
    mdc_vec_init(&proxy->gaps, sizeof(mdc_gap));
    return mdc_region_map_init(&proxy->map, err);
}

void mdc_proxy_fini(mdc_proxy *proxy) {
    mdc_vec_fini(&proxy->threads);
    mdc_vec_fini(&proxy->modules);
    mdc_vec_fini(&proxy->regions);
    mdc_vec_fini(&proxy->added);
    mdc_vec_fini(&proxy->gaps);
    mdc_region_map_fini(&proxy->map);
}

void mdc_proxy_complete(mdc_proxy *proxy) { mdc_range_set_normalise(&proxy->added); }

bool mdc_proxy_was_added(const mdc_proxy *proxy, uint64_t address, uint64_t size) {
    size_t at = mdc_range_set_find(&proxy->added, address);
    if (at == proxy->added.count) return false;
    const mdc_set_range *range = &mdc_vec_at(&proxy->added, const mdc_set_range, at);
    return range->first <= address && size <= range->end - address;
}

bool mdc_proxy_added_run(const mdc_proxy *proxy, uint64_t address, uint64_t *last) {
    size_t at = mdc_range_set_find(&proxy->added, address);
    if (at == proxy->added.count) return false;
    const mdc_set_range *range = &mdc_vec_at(&proxy->added, const mdc_set_range, at);
    bool added = range->first <= address;
    *last = mdc_min_u64(*last, (added ? range->end : range->first) - 1);
    return added;
}

uint32_t mdc_proxy_thread_flags(const mdc_proxy *proxy, uint32_t tid, uint32_t otherwise) {
    const mdc_proxy_thread *thread = find_thread(proxy, tid);
    return thread != NULL ? thread->flags : otherwise;
}

MINIDUMP_CALLBACK_INFORMATION mdc_proxy_information(mdc_proxy *proxy) {
    return (MINIDUMP_CALLBACK_INFORMATION){answer, proxy};
}
