/* Leaves out of a full dump the regions that begin in [param, param + 1 MiB), and keeps the first page of those that
 * begin in the MiB after it. */
#include <minidump_cffi/minidump_protocol.h>

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    if (input->CallbackType != MDC_CB_INCLUDE_VM_REGION) return 1;
    uint64_t distance = output->Region.VmRegion.BaseAddress - (uint64_t)(uintptr_t)param;
    if (distance < 1 << 20)
        output->Region.VmRegion.RegionSize = 0;
    else if (distance < 2 << 20)
        output->Region.VmRegion.RegionSize = 4096;
    output->Region.Continue = 1;
    return 1;
}
