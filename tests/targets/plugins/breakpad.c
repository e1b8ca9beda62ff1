/* Answers what Breakpad's callback answers, 0, 1, 3, 4, 5 and 6, and FALSE to everything else. Its block of memory is
 * the page that `param` is the address of. */
#include <minidump_cffi/minidump_protocol.h>

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    static int given; /* one dump per process: it is loaded for one */
    switch (input->CallbackType) {
    case MDC_CB_MODULE:
    case MDC_CB_THREAD:
    case MDC_CB_INCLUDE_THREAD:
    case MDC_CB_INCLUDE_MODULE:
        return 1;
    case MDC_CB_MEMORY:
        if (given || param == 0) return 0;
        given = 1;
        output->Memory.MemoryBase = (uint64_t)(uintptr_t)param;
        output->Memory.MemorySize = 4096;
        return 1;
    case MDC_CB_CANCEL:
        output->Cancel.CheckCancel = 0;
        output->Cancel.Cancel = 0;
        return 1;
    default:
        return 0;
    }
}
