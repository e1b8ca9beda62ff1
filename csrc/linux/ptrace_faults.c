/* Why the threads of a process could not be stopped, in words: what the tracer left as a fault its owner explains, who
 * may allocate and format (see ptrace_threads.h). */
#include <errno.h>

#include "../base/fail.h"
#include "../base/shortage.h"
#include "access.h"
#include "ptrace_threads.h"

mdc_status mdc_tracees_explain(const mdc_tracees *tracees, mdc_error *err) {
    const mdc_fault *fault = &tracees->fault;
    mdc_status code = MDC_ERR_TARGET;
    switch (fault->kind) {
    case MDC_FAULT_CONTROL:
        return mdc_control_check(tracees->control, err);
    case MDC_FAULT_NOMEM:
        return mdc_fail(err, MDC_ERR_NOMEM, MDC_PHASE_STOP, 0, "out of memory for the threads of process %d",
                        (int)tracees->pid);
    case MDC_FAULT_TRACED:
        return mdc_access_traced(tracees->pid, fault->tracer, MDC_PHASE_STOP, err);
    case MDC_FAULT_SEIZE:
        if (fault->os_errno == EPERM || fault->os_errno == EACCES || fault->os_errno == ENOSYS)
            return mdc_access_refuse(fault->tid, fault->os_errno, MDC_PHASE_STOP, "trace", err);
        mdc_fail(err, code, MDC_PHASE_STOP, fault->os_errno, "cannot trace thread %d", (int)fault->tid);
        break;
    case MDC_FAULT_LISTING:
        if (fault->os_errno == ESRCH || fault->os_errno == ENOENT) code = MDC_ERR_TARGET_GONE;
        if (mdc_is_shortage_number(fault->os_errno))
            return mdc_fail_short(err, MDC_PHASE_STOP, fault->os_errno, "cannot list the threads of the target");
        return mdc_fail(err, code, MDC_PHASE_STOP, fault->os_errno, "cannot list the threads of process %d",
                        (int)tracees->pid);
    case MDC_FAULT_REGISTERS:
        mdc_fail(err, code, MDC_PHASE_STOP, fault->os_errno, "cannot read the registers of thread %d", (int)fault->tid);
        break;
    case MDC_FAULT_32_BIT:
        mdc_fail(err, code, MDC_PHASE_STOP, 0, "thread %d runs 32-bit code: only 64-bit is supported", (int)fault->tid);
        break;
    case MDC_FAULT_RESTLESS:
        return mdc_fail(err, code, MDC_PHASE_STOP, 0, "process %d makes threads faster than they can be stopped",
                        (int)tracees->pid);
    case MDC_FAULT_MUTUAL:
        return mdc_fail(err, MDC_ERR_TARGET_BUSY, MDC_PHASE_STOP, 0,
                        "process %d, or a process that dumps it, dumps this process: processes cannot dump each other "
                        "at the same time, try again",
                        (int)tracees->pid);
    case MDC_FAULT_KILLED:
        return mdc_fail(err, MDC_ERR_CANCELLED, MDC_PHASE_STOP, 0,
                        "the process that stopped process %d (mdc-tracer) was killed", (int)tracees->pid);
    default:
        return mdc_fail(err, MDC_ERR_TARGET_GONE, MDC_PHASE_STOP, ESRCH,
                        "process %d ended, or became another program, while it was being stopped", (int)tracees->pid);
    }
    err->index = fault->tid;
    return err->code;
}
