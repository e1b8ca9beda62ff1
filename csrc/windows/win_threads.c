/* Threads (see win_threads.h). */
#include "win_threads.h"

#include <string.h>
#include <windows.h>
/* after windows.h, whose types it uses */
#include <tlhelp32.h>

#include "../base/fail.h"
#include "win_memory.h"

typedef HRESULT(WINAPI *get_description)(HANDLE thread, PWSTR *description); /* from Windows 10, 1607 */

enum { DESCRIPTION_UNITS_MAX = 4096 };

static uint64_t filetime(FILETIME time) { return (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime; }

mdc_status mdc_win_threads_ids(mdc_vec *ids, int32_t pid, mdc_error *err) {
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    if (snapshot == INVALID_HANDLE_VALUE)
        return mdc_fail(err, MDC_ERR_TARGET, MDC_PHASE_STOP, (int32_t)GetLastError(), "cannot list threads");
    THREADENTRY32 entry;
    memset(&entry, 0, sizeof entry);
    entry.dwSize = sizeof entry;
    mdc_status status = MDC_OK;
    for (BOOL more = Thread32First(snapshot, &entry); more && status == MDC_OK;) {
        uint32_t tid = entry.th32ThreadID;
        if (entry.th32OwnerProcessID == (DWORD)pid) status = mdc_vec_push(ids, &tid, 1, NULL, err);
        entry.dwSize = sizeof entry;
        more = Thread32Next(snapshot, &entry);
    }
    CloseHandle(snapshot);
    return status;
}

void *mdc_win_thread_open(uint32_t tid, int32_t pid, bool *limited, uint32_t *os_errno) {
    const DWORD all = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_QUERY_INFORMATION | SYNCHRONIZE;
    *limited = false;
    *os_errno = 0;
    HANDLE thread = OpenThread(all, FALSE, tid);
    if (thread == NULL) {
        *os_errno = GetLastError();
        if (*os_errno == ERROR_INVALID_PARAMETER) *os_errno = 0; /* no such thread */
        if (*os_errno == 0) return NULL;
        *limited = true;
        thread = OpenThread(THREAD_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, tid);
        if (thread == NULL) return NULL;
    }
    /* The number may have been given to another thread since it was listed, and an ended thread lasts as long as
     * there is a handle of it. */
    if (GetProcessIdOfThread(thread) == (DWORD)pid && WaitForSingleObject(thread, 0) != WAIT_OBJECT_0) return thread;
    CloseHandle(thread);
    *os_errno = 0;
    return NULL;
}

static mdc_status read_name(mdc_thread *thread, void *handle, mdc_win_names *names, mdc_error *err) {
    get_description get = (get_description)mdc_win_function_of("kernel32.dll", "GetThreadDescription");
    PWSTR text = NULL;
    if (get == NULL || FAILED(get(handle, &text)) || text == NULL) return MDC_OK;
    size_t size = 0;
    while (size < DESCRIPTION_UNITS_MAX && text[size] != L'\0') size++;
    mdc_status status =
        size > 0 ? mdc_win_names_put16(names, (const uint16_t *)text, size, &thread->name, err) : MDC_OK;
    LocalFree(text);
    return status;
}

mdc_status mdc_win_thread_describe(mdc_thread *thread, void *handle, const mdc_win_nt *nt, mdc_win_names *names,
                                   mdc_error *err) {
    FILETIME created, ended, kernel, user;
    if (GetThreadTimes(handle, &created, &ended, &kernel, &user)) {
        thread->create_time = filetime(created);
        thread->kernel_time = filetime(kernel);
        thread->user_time = filetime(user);
    }
    mdc_win_thread_basics basics;
    if (mdc_win_thread_basics_of(nt, handle, &basics)) {
        thread->thread_pointer = basics.teb;
        thread->affinity = basics.affinity;
    }
    thread->start_address = mdc_win_thread_start(nt, handle);
    int priority = GetThreadPriority(handle);
    if (priority != THREAD_PRIORITY_ERROR_RETURN) thread->priority = (uint32_t)priority;
    return read_name(thread, handle, names, err);
}

uint64_t mdc_win_thread_stack_base(void *process, uint64_t teb) {
    /* NT_TIB: ExceptionList, StackBase, StackLimit */
    uintptr_t tib[3];
    uint32_t os_errno;
    if (teb == 0 || mdc_win_memory_read(process, teb, tib, sizeof tib, &os_errno) != sizeof tib) return 0;
    return tib[1];
}
