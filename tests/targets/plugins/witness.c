/* Writes down what it was shown into the struct whose address is `param`, and answers as the trampoline of an
 * everything-filter would. On Linux ProcessHandle is a pidfd, ThreadHandle is NULL, Io.Handle a descriptor. */
#include <minidump_cffi/minidump_protocol.h>
#include <string.h>

struct witness {
    uint32_t calls[32];
    uint32_t pid[32];      /* ProcessId, by type, of the last call */
    int64_t handle[32];    /* ProcessHandle */
    uint8_t entry[32][52]; /* the output on entry, of the first call */
    int64_t thread_handle; /* sum of all */
    int64_t io_handle[32]; /* by type */
    uint64_t stack_wrong;  /* threads whose StackBase lies below StackEnd */
    uint64_t wanted_base;  /* in: the module whose path is wanted */
    uint16_t path[4096];   /* out */
    uint64_t write_offset; /* what the next IoWriteAll should have */
    uint64_t write_gaps;   /* calls that had another */
    uint32_t context_size;
    uint32_t pieces; /* IncludeVmRegion with a region that is not whole pages */
};

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

static void see_module(struct witness *seen, const MINIDUMP_MODULE_CALLBACK *module) {
    if (module->BaseOfImage != seen->wanted_base) return;
    for (int i = 0; i < 4095 && (i == 0 || module->FullPath[i - 1] != 0); i++) seen->path[i] = module->FullPath[i];
}

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    struct witness *seen = (struct witness *)param;
    uint32_t type = input->CallbackType < 31 ? input->CallbackType : 31;
    if (seen->calls[type]++ == 0) memcpy(seen->entry[type], output, sizeof seen->entry[type]);
    seen->pid[type] = input->ProcessId;
    seen->handle[type] = (int64_t)(intptr_t)input->ProcessHandle;
    switch (type) {
    case MDC_CB_MODULE:
        see_module(seen, &input->u.Module);
        return 1;
    case MDC_CB_THREAD:
        seen->thread_handle += (int64_t)(intptr_t)input->u.Thread.ThreadHandle;
        seen->stack_wrong += input->u.Thread.StackBase < input->u.Thread.StackEnd;
        seen->context_size = input->u.Thread.SizeOfContext;
        return 1;
    case MDC_CB_INCLUDE_VM_REGION:
        seen->pieces += ((output->Region.VmRegion.BaseAddress | output->Region.VmRegion.RegionSize) & 4095) != 0;
        output->Region.Continue = 1;
        return 1;
    case MDC_CB_CANCEL:
        output->Cancel.CheckCancel = 1;
        return 1;
    case MDC_CB_IO_START:
        seen->io_handle[type] = (int64_t)(intptr_t)input->u.Io.Handle;
        return 0;
    case MDC_CB_MEMORY:
    case MDC_CB_REMOVE_MEMORY:
    case MDC_CB_WRITE_KERNEL_MINIDUMP:
        return 0;
    default:
        return 1;
    }
}
