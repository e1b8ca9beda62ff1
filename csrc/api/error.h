/* The one error struct. A function that can fail returns mdc_status and takes `mdc_error *err` last, never NULL; the
 * error is filled where the fault is detected (base/error.h) and passed on unchanged. */
#ifndef MDC_API_ERROR_H
#define MDC_API_ERROR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: begin */
/* mdc_status: 0 or one of these; each has one exception class in Python. */
enum {
    MDC_OK = 0,
    MDC_ERR_INVALID = 1,      /* an argument: ValueError */
    MDC_ERR_NOMEM = 2,        /* MemoryError */
    MDC_ERR_FILTER = 3,       /* a rule cannot be compiled */
    MDC_ERR_TARGET = 4,       /* the target cannot be dumped: zombie, kernel thread, 32 bit, dumping core */
    MDC_ERR_TARGET_GONE = 5,  /* no such process, it exited, was replaced by exec or its pid was reused */
    MDC_ERR_ACCESS = 6,       /* no permission; the message says what refused and what would allow it */
    MDC_ERR_READ = 7,         /* a read failed and the callee did not tolerate it */
    MDC_ERR_SINK = 8,         /* the output failed */
    MDC_ERR_FORMAT = 9,       /* input that is not a dump or core, or the dump cannot be expressed in the format */
    MDC_ERR_CANCELLED = 10,   /* the Cancel callback, or mdc_session_cancel */
    MDC_ERR_DEADLINE = 11,    /* deadline or max_stop passed */
    MDC_ERR_CALLBACK = 12,    /* the callee gave an answer that the protocol forbids */
    MDC_ERR_BUSY = 14,        /* the callback is in use by another dump, or closed */
    MDC_ERR_TARGET_BUSY = 15, /* another process traces the target, or dumps it: try again later */
    MDC_ERR_LIMIT = 16,       /* a limit of the system on open files, threads or processes */
    MDC_ERR_STALLED = 17,     /* no progress for stall_timeout while the target was stopped */
    MDC_ERR_BUDGET = 18       /* what is not memory takes more than max_bytes: least_bytes is enough */
};

/* Where in a dump it happened. */
enum {
    MDC_PHASE_NONE = 0,
    MDC_PHASE_COMPILE = 1,
    MDC_PHASE_OPEN = 2,
    MDC_PHASE_STOP = 3,
    MDC_PHASE_CAPTURE = 4,
    MDC_PHASE_PLAN = 5,
    MDC_PHASE_WRITE = 6,
    MDC_PHASE_FINISH = 7,
    MDC_PHASE_HAND_ON = 8 /* the session is over: its caller compresses or sends the file */
};

typedef int32_t mdc_status;

typedef struct mdc_error {
    mdc_status code;
    int32_t phase;         /* MDC_PHASE_* */
    int32_t os_errno;      /* errno (or the Windows error), 0 if no system call failed */
    uint32_t hresult;      /* as a foreign caller would see it; 0 if none fits */
    int32_t pid;           /* of the target; 0 if there is none */
    int32_t callback_type; /* -1, or the MDC_CB_* whose answer was wrong */
    uint64_t address;      /* in the target, 0 if none */
    int64_t index;         /* of the rule, range or thread the message is about; -1 if none */
    uint64_t least_bytes;  /* of MDC_ERR_BUDGET, else 0 */
    char message[480];     /* UTF-8, NUL-terminated: what, where, what to do */
} mdc_error;
/* cdef: end */
#ifdef __cplusplus
}
#endif
#endif
