/* The process that is to be dumped: opened once, with the least rights that do, and checked to be still the same. */
#ifndef MDC_WINDOWS_WIN_PROCESS_H
#define MDC_WINDOWS_WIN_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "../api/error.h"

typedef struct mdc_win_process {
    void *handle; /* HANDLE, ours; NULL if not open */
    int32_t pid;
    uint64_t created; /* FILETIME of its creation: with the pid it names the process */
} mdc_win_process;

typedef struct mdc_win_open {
    int32_t pid;
    int64_t process;     /* 0, or a HANDLE of the caller, which is duplicated (pid may be 0 then) */
    uint64_t start_time; /* 0, or the FILETIME of its creation */
    uint32_t access;     /* PROCESS_* needed beyond PROCESS_QUERY_INFORMATION, PROCESS_VM_READ and SYNCHRONIZE */
    bool any_width;      /* also a process whose pointers are of another size than ours */
    bool self;           /* also this process */
} mdc_win_open;

/* MDC_ERR_TARGET_GONE, MDC_ERR_ACCESS with what would allow it, MDC_ERR_TARGET for what cannot be dumped. */
mdc_status mdc_win_process_open(mdc_win_process *process, const mdc_win_open *how, mdc_error *err);
void mdc_win_process_close(mdc_win_process *process);
/* False once it has ended. A process whose threads are suspended runs, in this sense. */
bool mdc_win_process_runs(const mdc_win_process *process);
/* MDC_ERR_TARGET_GONE unless it runs. The handle keeps the pid from being used again, so this is the same process. */
mdc_status mdc_win_process_check(const mdc_win_process *process, int32_t phase, mdc_error *err);
/* Bytes of memory it has, about. */
uint64_t mdc_win_process_memory(const mdc_win_process *process);
/* MDC_ERR_ACCESS for a refusal by the system (os_errno), with what would help. */
mdc_status mdc_win_process_refused(int32_t pid, int32_t phase, uint32_t os_errno, mdc_error *err);

#endif
