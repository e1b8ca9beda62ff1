/* What of a finished plan is told to those who say which memory matters most: for a budget (budget.h) and for a stop
 * that may end early (copy_order.h). */
#ifndef MDC_ENGINE_CUT_REQUEST_H
#define MDC_ENGINE_CUT_REQUEST_H

#include "plan.h"

/* The stack of a thread, or a part of one: its first byte is the one nearest to the stack pointer. */
typedef struct mdc_cut_stack {
    uint64_t first;
    uint64_t end;
    uint32_t crashed; /* 1: of the thread the dump is about */
    uint32_t reserved;
} mdc_cut_stack;

/* Registers of a thread: words that may point at memory. */
typedef struct mdc_cut_registers {
    const uint8_t *bytes;
    size_t size;
    bool crashed;
} mdc_cut_registers;

struct mdc_cut_request {
    const mdc_report *plan;      /* of the whole plan: regions, extents, names */
    uint64_t room;               /* bytes for memory, its ranges and the gaps together */
    uint32_t range_bytes;        /* what a range of the memory list takes */
    uint32_t gap_bytes;          /* what a gap takes */
    uint32_t round;              /* 0: the first time; all but the room is the same each time */
    uint32_t word;               /* bytes of a pointer of the target */
    const mdc_cut_stack *stacks; /* sorted and apart from each other */
    size_t stack_count;
    const mdc_cut_registers *registers;
    size_t register_count;
    /* Target memory as it is, without the callee; *done bytes from the start. */
    mdc_status (*peek)(void *context, uint64_t address, void *out, size_t size, size_t *done, mdc_error *err);
    void *peek_context;
};

/* What a request tells of threads; must live as long as the request is used. */
typedef struct mdc_cut_threads {
    mdc_vec stacks;    /* mdc_cut_stack */
    mdc_vec registers; /* mdc_cut_registers */
} mdc_cut_threads;

void mdc_cut_threads_init(mdc_cut_threads *threads);
void mdc_cut_threads_fini(mdc_cut_threads *threads);
/* All but room, round and threads. */
mdc_cut_request mdc_cut_request_of(const mdc_plan *plan, const mdc_report *report);
mdc_status mdc_cut_threads_tell(mdc_cut_threads *threads, const mdc_capture *capture, mdc_cut_request *request,
                                mdc_error *err);

#endif
