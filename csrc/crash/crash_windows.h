/* Crashes of this very process: the filter of exceptions that nothing handles, and abort(), which ask a helper process
 * for a dump. The helper was started beforehand (minidump_cffi/crash): a process that crashes cannot be trusted to
 * start one.
 *
 * What runs then takes no locks and allocates nothing: it fills in one record, waits for the answer for a bounded time,
 * and hands the exception on to what was there before, so that the process ends as it would have without us. */
#ifndef MDC_CRASH_CRASH_WINDOWS_H
#define MDC_CRASH_CRASH_WINDOWS_H

#include <stdint.h>

#include "../api/error.h"

/* cdef: begin */
/* In memory that both processes have: the question, and the answer to it. */
typedef struct mdc_crash_exchange {
    uint32_t tid;
    uint32_t code;     /* of the exception */
    uint64_t pointers; /* address in the crashed process of the EXCEPTION_POINTERS */
    int32_t failed;    /* the answer: there is no dump, and the message says why */
    char message[508]; /* UTF-8, NUL-terminated */
} mdc_crash_exchange;

typedef struct mdc_crash_spec {
    void *asked;                  /* events that reset by themselves: set here when there is a question */
    void *answered;               /* set by the helper */
    void *helper;                 /* its process */
    mdc_crash_exchange *exchange; /* all four stay the caller's, and must outlive the handlers */
    int32_t chain;                /* after the dump comes the filter that was there before; 0: the default */
    uint64_t wait_ns;             /* longest wait for the answer */
} mdc_crash_spec;

/* Installs the filter, and a handler of SIGABRT in the C run-time that Python uses. MDC_ERR_BUSY: they are installed
 * already, by another interpreter of this process. */
mdc_status mdc_crash_arm(const mdc_crash_spec *spec, mdc_error *err);
/* Removes them, where they are still the installed ones. Others that have saved ours as the previous ones hand
 * exceptions on from now on. */
void mdc_crash_disarm(void);
/* How many crashes the process has survived that are in a dump. */
int32_t mdc_crash_dumps(void);
/* Reserves stack for the filter on the calling thread, so that it can run after a stack overflow. */
int32_t mdc_crash_cover_thread(void);
/* For the helper: waits until there is a question (1) or the process has ended (0). */
int32_t mdc_crash_wait(void *asked, void *process);
/* For the helper: there is an answer. */
void mdc_crash_answer(void *answered);
/* cdef: end */

#endif
