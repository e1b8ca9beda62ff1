/* Opening a Windows process (see win_process.h). */
#include "win_process.h"

#include <windows.h>

/* after windows.h, whose types it uses */
#include <psapi.h>

#include "../base/arith.h"
#include "../base/fail.h"

static uint64_t filetime(FILETIME time) { return (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime; }

/* SeDebugPrivilege opens processes of other users. It is not switched on here: what a process may do is its owner's
 * decision. */
mdc_status mdc_win_process_refused(int32_t pid, int32_t phase, uint32_t os_errno, mdc_error *err) {
    return mdc_fail(err, MDC_ERR_ACCESS, phase, (int32_t)os_errno,
                    "Windows denies access to process %d: run as its user, or as administrator with "
                    "SeDebugPrivilege enabled; a protected process (anti-malware, DRM) cannot be opened at all",
                    (int)pid);
}

static mdc_status gone(int32_t pid, int32_t phase, uint32_t os_errno, mdc_error *err) {
    return mdc_fail(err, MDC_ERR_TARGET_GONE, phase, (int32_t)os_errno, "there is no process %d (any more)", (int)pid);
}

static mdc_status open_pid(mdc_win_process *process, const mdc_win_open *how, DWORD access, mdc_error *err) {
    /* Idle (0) and System (4) are not programs: their memory belongs to the kernel. */
    if (how->pid == 0 || how->pid == 4)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                        "process %d is a part of the kernel and has no memory of its own", (int)how->pid);
    process->handle = OpenProcess(access, FALSE, (DWORD)how->pid);
    if (process->handle != NULL) return MDC_OK;
    DWORD error = GetLastError();
    if (error == ERROR_INVALID_PARAMETER) return gone(how->pid, MDC_PHASE_OPEN, error, err);
    if (error == ERROR_ACCESS_DENIED) return mdc_win_process_refused(how->pid, MDC_PHASE_OPEN, error, err);
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, (int32_t)error, "cannot open process %d", (int)how->pid);
}

/* A handle that the caller may close at any time, and that can be less than what is needed. */
static mdc_status open_handle(mdc_win_process *process, const mdc_win_open *how, DWORD access, mdc_error *err) {
    HANDLE given = (HANDLE)(intptr_t)how->process, self = GetCurrentProcess();
    if (!DuplicateHandle(self, given, self, &process->handle, access, FALSE, 0)) {
        DWORD error = GetLastError();
        process->handle = NULL;
        if (error == ERROR_ACCESS_DENIED)
            return mdc_fail(err, MDC_ERR_ACCESS, MDC_PHASE_OPEN, (int32_t)error,
                            "the handle of the process lacks rights: it needs PROCESS_QUERY_INFORMATION, "
                            "PROCESS_VM_READ and SYNCHRONIZE at least (0x%lx here)",
                            access);
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, (int32_t)error, "%lld is not a handle of this process",
                        (long long)how->process);
    }
    process->pid = (int32_t)GetProcessId(process->handle);
    if (process->pid == 0)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                        "%lld is not the handle of a process", (long long)how->process);
    if (how->pid > 0 && how->pid != process->pid)
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_OPEN, 0, "the handle refers to process %d, not %d",
                        (int)process->pid, (int)how->pid);
    return MDC_OK;
}

static mdc_status check_identity(mdc_win_process *process, const mdc_win_open *how, mdc_error *err) {
    FILETIME created, ended, kernel, user;
    if (!GetProcessTimes(process->handle, &created, &ended, &kernel, &user))
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, (int32_t)GetLastError(),
                        "Windows does not report when process %d started", (int)process->pid);
    process->created = filetime(created);
    if (how->start_time != 0 && how->start_time != process->created)
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_OPEN, 0, "process %d has ended; its pid was reused",
                        (int)process->pid);
    return mdc_win_process_check(process, MDC_PHASE_OPEN, err);
}

static mdc_status check_width(const mdc_win_process *process, mdc_error *err) {
    BOOL own = FALSE, theirs = FALSE;
    if (!IsWow64Process(GetCurrentProcess(), &own) || !IsWow64Process(process->handle, &theirs) || own == theirs)
        return MDC_OK;
    return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                    "process %d is a %d-bit program and this is a %d-bit one, whose engine knows only its own kind: "
                    "use the dbghelp engine, or a Python of its kind",
                    (int)process->pid, theirs ? 32 : 64, own ? 32 : 64);
}

mdc_status mdc_win_process_open(mdc_win_process *process, const mdc_win_open *how, mdc_error *err) {
    DWORD access = PROCESS_QUERY_INFORMATION | PROCESS_VM_READ | SYNCHRONIZE | how->access;
    *process = (mdc_win_process){.pid = how->pid};
    mdc_status status =
        how->process != 0 ? open_handle(process, how, access, err) : open_pid(process, how, access, err);
    if (status == MDC_OK && !how->self && process->pid == (int32_t)GetCurrentProcessId())
        status = mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_OPEN, 0,
                          "a process cannot stop itself and continue to write: dump it from another process");
    if (status == MDC_OK) status = check_identity(process, how, err);
    if (status == MDC_OK && !how->any_width) status = check_width(process, err);
    if (status != MDC_OK) mdc_win_process_close(process);
    return status;
}

void mdc_win_process_close(mdc_win_process *process) {
    if (process->handle != NULL) CloseHandle(process->handle);
    process->handle = NULL;
}

bool mdc_win_process_runs(const mdc_win_process *process) {
    return process->handle != NULL && WaitForSingleObject(process->handle, 0) == WAIT_TIMEOUT;
}

mdc_status mdc_win_process_check(const mdc_win_process *process, int32_t phase, mdc_error *err) {
    return mdc_win_process_runs(process) ? MDC_OK : gone(process->pid, phase, 0, err);
}

uint64_t mdc_win_process_memory(const mdc_win_process *process) {
    PROCESS_MEMORY_COUNTERS counters;
    if (!K32GetProcessMemoryInfo(process->handle, &counters, sizeof counters)) return MDC_PAGE_SIZE;
    /* Private bytes, wherever they are, and of the rest what is in memory. */
    return (uint64_t)counters.WorkingSetSize + counters.PagefileUsage + MDC_PAGE_SIZE;
}
