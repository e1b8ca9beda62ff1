/* An engine that is not ours (see engine_double.h). */
#include "engine_double.h"

#include <minidump_cffi/engine.h>

static int32_t ask(const MINIDUMP_CALLBACK_INFORMATION *callee, uint32_t type, MINIDUMP_CALLBACK_INPUT *input,
                   MINIDUMP_CALLBACK_OUTPUT *output) {
    input->ProcessId = 77;
    input->CallbackType = type;
    return callee->CallbackRoutine(callee->CallbackParam, input, output);
}

static void begin(const MINIDUMP_CALLBACK_INFORMATION *callee) {
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    ask(callee, MDC_CB_IS_PROCESS_SNAPSHOT, &input, &output);
    ask(callee, MDC_CB_VM_START, &input, &output);
}

static uint32_t ask_module(const MINIDUMP_CALLBACK_INFORMATION *callee, const uint16_t *path, uint64_t base,
                           uint32_t size) {
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    input.u.Module.FullPath = path;
    input.u.Module.BaseOfImage = base;
    input.u.Module.SizeOfImage = size;
    output.ModuleWriteFlags = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_CV_RECORD;
    return ask(callee, MDC_CB_MODULE, &input, &output) ? output.ModuleWriteFlags : 0;
}

size_t mdc_double_drive(const MINIDUMP_CALLBACK_INFORMATION *callee, MINIDUMP_MEMORY_INFO *regions, size_t count,
                        uint32_t *module_flags) {
    static const uint16_t secret[] = {'/', 'l', 'i', 'b', 's', 'e', 'c', 'r', 'e', 't', '.', 's', 'o', 0};
    begin(callee);
    *module_flags = ask_module(callee, secret, 0x400000, 0x10000);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        MINIDUMP_CALLBACK_INPUT input = {0};
        MINIDUMP_CALLBACK_OUTPUT output = {0};
        output.Region.VmRegion = regions[i];
        int32_t answer = ask(callee, MDC_CB_INCLUDE_VM_REGION, &input, &output);
        regions[i] = output.Region.VmRegion;
        if (!answer || !output.Region.Continue) regions[i].RegionSize = 0;
        kept += regions[i].RegionSize != 0;
    }
    return kept;
}

int32_t mdc_double_ask(const MINIDUMP_CALLBACK_INFORMATION *callee, uint32_t type) {
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    return ask(callee, type, &input, &output);
}

void mdc_double_sizes(size_t sizes[3]) {
    sizes[0] = sizeof(MINIDUMP_CALLBACK_INPUT);
    sizes[1] = sizeof(MINIDUMP_CALLBACK_OUTPUT);
    sizes[2] = sizeof(mdc_engine_options);
}
