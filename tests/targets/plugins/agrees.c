/* Returns TRUE and touches nothing: what the engine leaves in the output on entry is the answer. */
#include <minidump_cffi/minidump_protocol.h>

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    (void)param, (void)input, (void)output;
    return 1;
}
