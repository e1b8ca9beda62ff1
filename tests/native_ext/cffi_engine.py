"""Build script of a cffi module that includes the declarations of minidump_cffi: an engine of ten lines."""

import sys

import cffi

import minidump_cffi

ffi = cffi.FFI()
ffi.include(minidump_cffi.protocol.ffibuilder())
ffi.cdef("""
int drive(const MINIDUMP_CALLBACK_INFORMATION *callback, MINIDUMP_MEMORY_INFO *regions, int count);
void fill(MINIDUMP_CALLBACK_INPUT *input, uint32_t tid);
""")
ffi.set_source(
    "cffi_engine",
    """
    #include <string.h>
    #include <minidump_cffi/callback.h>
    #include <minidump_cffi/dbghelp.h>
    #include <minidump_cffi/engine.h>

    static int drive(const MINIDUMP_CALLBACK_INFORMATION *callback, MINIDUMP_MEMORY_INFO *regions, int count) {
        MINIDUMP_CALLBACK_INPUT input;
        MINIDUMP_CALLBACK_OUTPUT output;
        int kept = 0;
        memset(&input, 0, sizeof input);
        input.CallbackType = MDC_CB_INCLUDE_VM_REGION;
        for (int i = 0; i < count; i++) {
            output.Region.VmRegion = regions[i];
            output.Region.Continue = 0;
            if (!callback->CallbackRoutine(callback->CallbackParam, &input, &output)) return -1;
            regions[i] = output.Region.VmRegion;
            kept += regions[i].RegionSize != 0;
        }
        return kept;
    }
    static void fill(MINIDUMP_CALLBACK_INPUT *input, uint32_t tid) { input->u.Thread.ThreadId = tid; }
    """,
    include_dirs=[minidump_cffi.protocol.get_include()],
)

if __name__ == "__main__":
    ffi.emit_c_code(sys.argv[1])
