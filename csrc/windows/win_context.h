/* Registers of a suspended thread, without the risk of waiting for ever: GetThreadContext waits until the thread has
 * really come to rest, which one that sits in a driver may never do. So a thread of ours asks, and is abandoned
 * when no answer comes in time. */
#ifndef MDC_WINDOWS_WIN_CONTEXT_H
#define MDC_WINDOWS_WIN_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "../api/error.h"
#include "../api/minidump_protocol.h"

typedef struct mdc_win_asker mdc_win_asker;

typedef struct mdc_win_context {
    uint64_t stack_pointer;
    uint64_t instruction_pointer;
    uint8_t bytes[MDC_CONTEXT_SIZE]; /* CONTEXT of our own kind, ContextFlags as stored in dumps */
} mdc_win_context;

/* *asker: NULL at first; reused from question to question. True if the registers are in *context, else they say that
 * they hold nothing. Fails for want of memory or threads only. */
mdc_status mdc_win_context_read(mdc_win_asker **asker, void *thread, uint64_t timeout_ns, mdc_win_context *context,
                                bool *read, mdc_error *err);
void mdc_win_asker_free(mdc_win_asker *asker); /* NULL is allowed */

#endif
