/* Takes over the output, and writes the dump to the descriptor it is shown as Io.Handle (to nothing, if `param` is
 * not 0). */
#include <minidump_cffi/minidump_protocol.h>
#include <unistd.h>

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

static int store(const MINIDUMP_IO_CALLBACK *io) {
    const char *data = (const char *)io->Buffer;
    uint64_t offset = io->Offset;
    for (uint32_t left = io->BufferBytes; left > 0;) {
        ssize_t done = pwrite((int)(intptr_t)io->Handle, data, left, (off_t)offset);
        if (done <= 0) return 0;
        data += done;
        offset += (uint64_t)done;
        left -= (uint32_t)done;
    }
    return 1;
}

int32_t MDC_CALL MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input,
                                         MINIDUMP_CALLBACK_OUTPUT *output) {
    switch (input->CallbackType) {
    case MDC_CB_IO_START:
        output->Status = MDC_S_FALSE;
        return 1;
    case MDC_CB_IO_WRITE_ALL:
        output->Status = param != 0 || store(&input->u.Io) ? (int32_t)MDC_S_OK : (int32_t)MDC_E_FAIL;
        return 1;
    case MDC_CB_IO_FINISH:
        output->Status = MDC_S_OK;
        return 1;
    default:
        return 1;
    }
}
