/* What the threads point to: the words of their registers and stacks, in the order in which they matter. The thread a
 * dump is taken for comes first; of each thread the registers, then its stack from the stack pointer up. */
#ifndef MDC_ENGINE_STACK_POINTERS_H
#define MDC_ENGINE_STACK_POINTERS_H

#include "reader.h"

/* So many bytes before and after an address belong to what a word points to, as of dbghelp 6.3.9600. */
enum { MDC_POINTED_BEFORE = 0x100, MDC_POINTED_AFTER = 0x300 };

/* A word; many are no addresses at all. *enough: true ends the walk. */
typedef mdc_status (*mdc_pointer_seen)(void *context, uint64_t word, bool *enough, mdc_error *err);

enum {
    /* What the callee leaves out is not examined, and what it edits is seen as edited. Otherwise nothing of what is
     * seen may get into the dump, and the callee is not asked. */
    MDC_POINTERS_AS_KEPT = 1
};

/* Bytes of a pointer of the target. */
size_t mdc_word_size(const mdc_capture *capture);
/* The words of these bytes, of so many bytes each, up to one with which *enough becomes true. */
mdc_status mdc_words_walk(const uint8_t *bytes, size_t size, size_t word, mdc_pointer_seen seen, void *context,
                          bool *enough, mdc_error *err);
/* Of all threads whose stack is kept. */
mdc_status mdc_pointers_walk(const mdc_reader *reader, uint32_t how, mdc_pointer_seen seen, void *context,
                             mdc_error *err);

#endif
