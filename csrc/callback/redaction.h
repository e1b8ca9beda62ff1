/* VmPostRead: overwrites what the filter hides in what an engine has read, before it is stored.
 *
 * An engine with MDC_EXT_HOLD_BACK presents the end of a run again as the head of the next read, as this callee
 * left it. Patterns that overlap across the border must be searched for in the bytes as they were read, so those are
 * kept here as well, in three versions: as read, as edited, as returned.
 *
 * Stack words: modules are known from Module, stacks from Thread. */
#ifndef MDC_CALLBACK_REDACTION_H
#define MDC_CALLBACK_REDACTION_H

#include <stdatomic.h>

#include "../api/callback.h"
#include "../filter/redact.h"
#include "module_map.h"

/* The last bytes of a read, at most `hold`. */
typedef struct mdc_tail {
    uint8_t *raw;   /* as read */
    uint8_t *seen;  /* as edited, except what could not be decided yet */
    uint8_t *shown; /* as returned: what the engine presents again */
    uint64_t address;
    size_t size;
} mdc_tail;

typedef struct mdc_redaction {
    const mdc_redactor *redactor; /* NULL: nothing is edited, and nothing below is used */
    mdc_redactor *learned;        /* NULL, or `redactor` of this dump: the filter's with values of variables */
    size_t hold;                  /* bytes */
    mdc_tail tails[2];            /* of the last read, and of the one being answered */
    uint32_t current;
    bool any_read;
    uint64_t last_end;         /* address after the last read */
    uint8_t *block;            /* the tails' bytes */
    mdc_module_table pointees; /* rows MDC_POINTEE_* */
    uint32_t stacks, stack_capacity;
    bool narrow; /* words of the target have 4 bytes */
    _Atomic uint64_t scrubbed_bytes, scrubbed_hits, sanitized_words, uncovered_borders;
} mdc_redaction;

enum { MDC_POINTEE_NONE = 0, MDC_POINTEE_MODULE = 1, MDC_POINTEE_STACK = 2 };

mdc_status mdc_redaction_init(mdc_redaction *redaction, const mdc_filter *filter, uint32_t modules, uint32_t stacks,
                              mdc_error *err);
void mdc_redaction_fini(mdc_redaction *redaction);
void mdc_redaction_rewind(mdc_redaction *redaction);
/* Forgets the values that were learned. */
void mdc_redaction_forget(mdc_redaction *redaction, const mdc_filter *filter);

/* Whether Module and Thread must be noted at all; false from the others: the table is full. */
static inline bool mdc_redaction_listens(const mdc_redaction *redaction) {
    return redaction->redactor != NULL && mdc_redact_sanitizes(redaction->redactor);
}
bool mdc_redaction_module(mdc_redaction *redaction, uint64_t base, uint64_t size);
bool mdc_redaction_stack(mdc_redaction *redaction, uint64_t one_end, uint64_t other_end);

/* Redacts what VmPostRead shows; holds_back: the engine speaks MDC_EXT_HOLD_BACK. */
void mdc_redaction_post_read(mdc_redaction *redaction, const MINIDUMP_VM_POST_READ_CALLBACK *read, bool holds_back);

/* For session/: patterns, and ranges if the bytes are also in the target (address not 0), in what never
 * passes VmPostRead: names and texts made by the kernel. On the thread that drives the dump. counted: by the
 * counters. */
void mdc_callback_edit(mdc_callback *callback, uint64_t address, uint8_t *bytes, size_t size, bool counted);
/* For session/, during a dump, between two calls: searches for these patterns too until the dump is over. None is
 * longer than MDC_VALUE_PIECE, and the filter says values_everywhere. */
mdc_status mdc_callback_learn(mdc_callback *callback, const mdc_bytes *values, size_t count, mdc_error *err);
/* For session/: a stack that no Thread callback reports. */
void mdc_callback_note_stack(mdc_callback *callback, uint64_t first, uint64_t end);
/* For session/, after the dump: the finished file was searched, and nothing that the filter excludes is in it. Parts of
 * excluded gaps that the engine did not show are then not an error. */
void mdc_callback_settle(mdc_callback *callback);
/* For session/: lives as long as the callback. */
const mdc_filter *mdc_callback_filter(const mdc_callback *callback);

#endif
