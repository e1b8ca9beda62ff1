/* One function per callback type (see protocol_calls.h).
 *
 * Which ProcessId and ProcessHandle a type sees is as observed of dbghelp 6.3.9600 and 10.0.22621: pid 0 and the handle
 * for IsProcessSnapshot and the Vm types, neither for the Io and kernel minidump types, both for all others. */
#include "protocol_calls.h"

#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"

void mdc_calls_init(mdc_calls *calls, const mdc_engine_options *options, uint32_t pid, void *process,
                    mdc_dump_control *control) {
    memset(calls, 0, sizeof *calls);
    calls->callback = options->callback;
    calls->extensions = options->extensions;
    calls->pid = pid;
    calls->process = process;
    calls->control = control;
    /* Without a routine (a NULL routine occurs in the wild) there is no callee. */
    calls->ask_regions = calls->check_cancel = calls->callback.CallbackRoutine != NULL;
}

static void prepare(mdc_calls *calls, uint32_t type, uint32_t pid, void *process, MINIDUMP_CALLBACK_OUTPUT *output) {
    calls->input.ProcessId = pid;
    calls->input.ProcessHandle = process;
    calls->input.CallbackType = type;
    memset(output, 0, sizeof *output);
}

static bool call(mdc_calls *calls, MINIDUMP_CALLBACK_OUTPUT *output) {
    if (calls->callback.CallbackRoutine == NULL) return false;
    calls->count[calls->input.CallbackType]++; /* before the call: the callee may write to the input */
    mdc_doing_before before = mdc_control_begin(calls->control, MDC_DOING_CALL, (int32_t)calls->input.CallbackType, 0);
    bool answer = calls->callback.CallbackRoutine(calls->callback.CallbackParam, &calls->input, output) != 0;
    mdc_control_end(calls->control, before);
    mdc_control_advance(calls->control);
    return answer;
}

static bool call_for_status(mdc_calls *calls, uint32_t type, uint32_t pid, void *process) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, type, pid, process, &output);
    output.Status = (int32_t)MDC_E_NOTIMPL;
    return call(calls, &output) && output.Status == MDC_S_FALSE; /* S_OK and all others mean no */
}

void mdc_calls_begin(mdc_calls *calls) {
    /* A snapshot handle means nothing to this engine: the answer to IsProcessSnapshot changes nothing, but callees
     * reset on it. */
    (void)call_for_status(calls, MDC_CB_IS_PROCESS_SNAPSHOT, 0, calls->process);
    calls->wants_post_read = call_for_status(calls, MDC_CB_VM_START, 0, calls->process);
    calls->serves_memory = calls->wants_post_read && (calls->extensions & MDC_EXT_EDITS_ONLY) == 0;
}

bool mdc_calls_io_start(mdc_calls *calls, void *handle) {
    memset(&calls->input.u.Io, 0, sizeof calls->input.u.Io);
    calls->input.u.Io.Handle = handle;
    return call_for_status(calls, MDC_CB_IO_START, 0, NULL);
}

uint32_t mdc_calls_secondary_flags(mdc_calls *calls) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_SECONDARY_FLAGS, calls->pid, calls->process, &output);
    calls->input.u.SecondaryFlags = 0;
    output.SecondaryFlags = 0;
    return call(calls, &output) ? output.SecondaryFlags & MDC_SECONDARY_WITHOUT_POWER_INFO : 0;
}

mdc_status mdc_calls_cancel(mdc_calls *calls, mdc_error *err) {
    if (!calls->check_cancel) return MDC_OK;
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_CANCEL, calls->pid, calls->process, &output);
    /* FALSE, or CheckCancel not written again, ends the questions; Cancel counts only together with TRUE. */
    bool handled = call(calls, &output);
    calls->check_cancel = handled && output.Cancel.CheckCancel != 0;
    if (!handled || output.Cancel.Cancel == 0) return MDC_OK;
    mdc_fail(err, MDC_ERR_CANCELLED, atomic_load(&calls->control->phase), 0, "the callback cancelled the dump");
    err->callback_type = MDC_CB_CANCEL;
    return err->code;
}

mdc_status mdc_calls_poll(mdc_calls *calls, mdc_error *err) {
    mdc_status status = mdc_control_check(calls->control, err);
    return status == MDC_OK ? mdc_calls_cancel(calls, err) : status;
}

/* The answer about an item: FALSE leaves it out (in Module and Thread dbghelp fails the dump, Wine leaves it out), and
 * flags can be taken away, never added. Bit 0x01 is the item itself. */
static uint32_t flags_answer(mdc_calls *calls, MINIDUMP_CALLBACK_OUTPUT *output, uint32_t flags) {
    output->ThreadWriteFlags = flags;
    if (calls->callback.CallbackRoutine == NULL) return flags;
    if (!call(calls, output)) return 0;
    uint32_t kept = output->ThreadWriteFlags & flags;
    return (kept & MDC_THREAD_WRITE_THREAD) != 0 ? kept : 0;
}

uint32_t mdc_calls_include_thread(mdc_calls *calls, uint32_t tid, uint32_t flags) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_INCLUDE_THREAD, calls->pid, calls->process, &output);
    calls->input.u.IncludeThread.ThreadId = tid;
    return flags_answer(calls, &output, flags);
}

uint32_t mdc_calls_include_module(mdc_calls *calls, uint64_t base, uint32_t flags) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_INCLUDE_MODULE, calls->pid, calls->process, &output);
    calls->input.u.IncludeModule.BaseOfImage = base;
    return flags_answer(calls, &output, flags);
}

uint32_t mdc_calls_thread(mdc_calls *calls, const mdc_thread *thread, uint64_t low, uint64_t high, uint32_t flags) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_THREAD, calls->pid, calls->process, &output);
    MINIDUMP_THREAD_CALLBACK *input = &calls->input.u.Thread;
    memset(input, 0, sizeof *input);
    input->ThreadId = thread->tid;
    input->ThreadHandle = thread->handle;
    memcpy(input->Context, thread->context,
           thread->context_size < MDC_CONTEXT_SIZE ? thread->context_size : MDC_CONTEXT_SIZE);
    input->SizeOfContext = MDC_CONTEXT_SIZE;
    input->StackBase = high; /* the high end, as observed on Windows */
    input->StackEnd = low;
    return flags_answer(calls, &output, flags);
}

uint32_t mdc_calls_module(mdc_calls *calls, const MINIDUMP_MODULE_CALLBACK *module, uint32_t flags) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_MODULE, calls->pid, calls->process, &output);
    calls->input.u.Module = *module;
    return flags_answer(calls, &output, flags);
}

mdc_status mdc_calls_memory(mdc_calls *calls, uint32_t type, uint64_t *base, uint64_t *size, mdc_error *err) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, type, calls->pid, calls->process, &output);
    *base = *size = 0;
    if (!call(calls, &output) || output.Memory.MemorySize == 0) return MDC_OK;
    if (output.Memory.MemorySize - UINT64_C(1) > UINT64_MAX - output.Memory.MemoryBase)
        return mdc_fail_callback(err, (int32_t)type, output.Memory.MemoryBase,
                                 "the callback answered %s with a range beyond the end of the address space",
                                 type == MDC_CB_MEMORY ? "Memory" : "RemoveMemory");
    /* A range may end at 2**64. No region holds the last byte of the address space (source.h): it is left away. */
    *base = mdc_min_u64(output.Memory.MemoryBase, UINT64_MAX - 1);
    *size = mdc_min_u64(output.Memory.MemorySize, UINT64_MAX - *base);
    return MDC_OK;
}

mdc_status mdc_calls_include_region(mdc_calls *calls, const MINIDUMP_MEMORY_INFO *info, bool exact, uint64_t *first,
                                    uint64_t *end, mdc_error *err) {
    MINIDUMP_CALLBACK_OUTPUT output;
    calls->input.ProcessId = calls->pid;
    calls->input.ProcessHandle = calls->process;
    calls->input.CallbackType = MDC_CB_INCLUDE_VM_REGION;
    output.Region.VmRegion = *info; /* with Continue, these are all 52 bytes */
    output.Region.VmRegion.BaseAddress = *first;
    output.Region.VmRegion.RegionSize = *end - *first;
    output.Region.Continue = 0;
    if (!call(calls, &output) || output.Region.Continue == 0) {
        /* "TRUE and Continue TRUE will use the edit": else no more questions, and this and all later regions stay. */
        calls->ask_regions = false;
        return MDC_OK;
    }
    uint64_t base = output.Region.VmRegion.BaseAddress, size = output.Region.VmRegion.RegionSize, stop;
    if (size == 0) {
        *end = *first;
        return MDC_OK;
    }
    bool whole_pages = ((base | size) & (MDC_PAGE_SIZE - 1)) == 0;
    if (base < *first || !mdc_add_u64(base, size, &stop) || stop > *end || (!exact && !whole_pages))
        return mdc_fail_callback(err, MDC_CB_INCLUDE_VM_REGION, *first,
                                 "the callback answered IncludeVmRegion with a range that is not a page-aligned "
                                 "part of the region");
    *first = base;
    *end = stop;
    return MDC_OK;
}

bool mdc_calls_read_failure(mdc_calls *calls, uint64_t address, uint32_t size) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_READ_MEMORY_FAILURE, calls->pid, calls->process, &output);
    calls->input.u.ReadMemoryFailure =
        (MINIDUMP_READ_MEMORY_FAILURE_CALLBACK){address, size, (int32_t)MDC_E_PARTIAL_COPY};
    output.Status = MDC_S_FALSE; /* TRUE alone is not enough: the callee has to write S_OK */
    return call(calls, &output) && output.Status == MDC_S_OK;
}

int mdc_calls_vm_query(mdc_calls *calls, uint64_t address, MINIDUMP_MEMORY_INFO *result) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_VM_QUERY, 0, calls->process, &output);
    calls->input.u.VmQuery.Offset = address;
    output.VmQuery.VmQueryStatus = (int32_t)MDC_E_NOTIMPL;
    if (!call(calls, &output) || output.VmQuery.VmQueryStatus == (int32_t)MDC_E_NOTIMPL) return MDC_VM_OWN_QUERY;
    if (output.VmQuery.VmQueryStatus != MDC_S_OK) return MDC_VM_END;
    *result = output.VmQuery.VmQueryResult;
    return MDC_VM_ANSWER;
}

uint32_t mdc_calls_vm_pre_read(mdc_calls *calls, uint64_t address, uint8_t *buffer, uint32_t size, bool *failed) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_VM_PRE_READ, 0, calls->process, &output);
    calls->input.u.VmPreRead = (MINIDUMP_VM_PRE_READ_CALLBACK){address, buffer, size};
    output.VmRead.VmReadStatus = (int32_t)MDC_E_NOTIMPL;
    *failed = false;
    if (!call(calls, &output)) return 0;
    uint32_t served = output.VmRead.VmReadBytesCompleted < size ? output.VmRead.VmReadBytesCompleted : size;
    int32_t status = output.VmRead.VmReadStatus;
    *failed = served < size && status < 0 && status != (int32_t)MDC_E_NOTIMPL;
    return served;
}

uint32_t mdc_calls_vm_post_read(mdc_calls *calls, uint64_t address, uint8_t *buffer, uint32_t size,
                                uint32_t completed) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_VM_POST_READ, 0, calls->process, &output);
    calls->input.u.VmPostRead = (MINIDUMP_VM_POST_READ_CALLBACK){
        address, buffer, size, completed, completed == size ? MDC_S_OK : (int32_t)MDC_E_PARTIAL_COPY};
    output.VmRead.VmReadStatus = (int32_t)MDC_E_NOTIMPL;
    if (!call(calls, &output)) return completed; /* FALSE: the result is unchanged */
    /* TRUE replaces the result, also untouched (E_NOTIMPL, 0). A failed status may vouch for a head, not for all. */
    if (output.VmRead.VmReadBytesCompleted < size) return output.VmRead.VmReadBytesCompleted;
    return output.VmRead.VmReadStatus >= 0 ? size : 0;
}

void mdc_calls_kernel_minidump(mdc_calls *calls) {
    MINIDUMP_CALLBACK_OUTPUT output;
    prepare(calls, MDC_CB_WRITE_KERNEL_MINIDUMP, 0, NULL, &output);
    if (!call(calls, &output) || output.Handle == NULL) return;
    /* There is no kernel minidump here. The handle still belongs to the callee. */
    prepare(calls, MDC_CB_KERNEL_MINIDUMP_STATUS, 0, NULL, &output);
    calls->input.u.Status = (int32_t)MDC_E_NOTIMPL;
    (void)call(calls, &output);
}
