/* Does at the callback type in the low byte of `param` what the next byte says, and agrees to everything else. */
#include <minidump_cffi/minidump_protocol.h>
#include <string.h>
#include <unistd.h>

enum { NONSENSE = 1, ENDLESS = 2, CANCEL = 3, HANG = 4, CRASH = 5 };

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

static int32_t nonsense(uint32_t type, MINIDUMP_CALLBACK_OUTPUT *output) {
    memset(output, 0x5A, sizeof *output); /* TRUE in every BOOL, an invalid status, sizes beyond all ends */
    if (type == MDC_CB_MEMORY || type == MDC_CB_REMOVE_MEMORY) output->Memory.MemoryBase = UINT64_MAX - 1;
    if (type == MDC_CB_VM_QUERY) output->VmQuery.VmQueryStatus = MDC_S_OK;
    return 1;
}

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    uint32_t type = input->CallbackType, at = (uintptr_t)param & 0xFF;
    if (type == MDC_CB_VM_START && at >= MDC_CB_VM_QUERY) { /* 18 to 20 are sent to those who ask for them */
        output->Status = MDC_S_FALSE;
        return 1;
    }
    if (type == MDC_CB_VM_QUERY || type == MDC_CB_VM_PRE_READ || type == MDC_CB_VM_POST_READ) {
        if (type != at) return 0;
    }
    if (type == MDC_CB_INCLUDE_VM_REGION) output->Region.Continue = 1;
    if (type == MDC_CB_CANCEL) output->Cancel.CheckCancel = 1;
    if (type != at) return 1;
    switch (((uintptr_t)param >> 8) & 0xFF) {
    case NONSENSE:
        return nonsense(type, output);
    case ENDLESS:
        output->Memory.MemoryBase = 0x1000;
        output->Memory.MemorySize = 0x1000;
        return 1;
    case CANCEL:
        output->Cancel.Cancel = 1;
        return 1;
    case HANG:
        for (;;) pause();
    default:
        *(volatile int *)0 = 1;
        return 1;
    }
}
