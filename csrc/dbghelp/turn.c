/* One call of dbghelp at a time (see turn.h). */
#include "turn.h"

#include <stdio.h>

#include "../base/fail.h"

enum { SLICE_MS = 50 };

mdc_status mdc_dbghelp_turn_take(HANDLE *turn, mdc_dump_control *control, mdc_error *err) {
    wchar_t name[64];
    *turn = NULL;
    swprintf(name, sizeof name / sizeof name[0], L"Local\\minidump_cffi-dbghelp-%lu", GetCurrentProcessId());
    HANDLE mutex = CreateMutexExW(NULL, name, 0, SYNCHRONIZE | MUTEX_MODIFY_STATE);
    if (mutex == NULL)
        return mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                        "cannot open the mutex that serialises calls of dbghelp");
    for (;;) {
        DWORD waited = WaitForSingleObject(mutex, SLICE_MS);
        if (waited == WAIT_OBJECT_0 || waited == WAIT_ABANDONED) break;
        mdc_status status = waited == WAIT_TIMEOUT
                                ? mdc_control_check(control, err)
                                : mdc_fail(err, MDC_ERR_BUSY, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                                           "cannot wait for the mutex that serialises calls of dbghelp");
        if (status != MDC_OK) {
            CloseHandle(mutex);
            return status;
        }
    }
    *turn = mutex;
    return MDC_OK;
}

void mdc_dbghelp_turn_give(HANDLE turn) {
    if (turn == NULL) return;
    ReleaseMutex(turn);
    CloseHandle(turn);
}
