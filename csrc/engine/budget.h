/* A plan made to fit into max_bytes: the only stage between plan and layout, and only with a budget.
 *
 * Takes a finished plan whose streams have been read. What everything but memory takes is found by laying it out; what
 * of the memory goes is chosen by options.choose_cut, which is asked again if its choice does not fit, and no byte of
 * that memory is read before. What was cut is a gap with reason MDC_GAP_BUDGET. Promises: no dump is longer than
 * max_bytes, whatever is found while it is written. */
#ifndef MDC_ENGINE_BUDGET_H
#define MDC_ENGINE_BUDGET_H

#include "report.h"

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

struct mdc_cut_list {
    mdc_vec ranges; /* mdc_set_range: a set */
};

/* now: as mdc_layout.now. Leaves the plan as it is if all of it fits. MDC_ERR_BUDGET: even without memory it does not.
 */
mdc_status mdc_budget_fit(mdc_plan *plan, mdc_gaps *gaps, mdc_report_rows *rows, int64_t now, mdc_error *err);
/* Of the final layout, with a budget: limits the gaps that may be found while it is written to what there is room for.
 */
mdc_status mdc_budget_check(const mdc_layout *layout, mdc_gaps *gaps, mdc_error *err);

#endif
