/* Stacks and registers as the plan has them (see cut_request.h). */
#include "cut_request.h"

#include "../format/minidump_file.h"
#include "stack_pointers.h"

void mdc_cut_threads_init(mdc_cut_threads *threads) {
    mdc_vec_init(&threads->stacks, sizeof(mdc_cut_stack));
    mdc_vec_init(&threads->registers, sizeof(mdc_cut_registers));
}

void mdc_cut_threads_fini(mdc_cut_threads *threads) {
    mdc_vec_fini(&threads->stacks);
    mdc_vec_fini(&threads->registers);
}

static bool holds(const mdc_stack *stack, uint64_t address) { return address >= stack->first && address < stack->end; }

static bool is_of(const mdc_capture *capture, size_t index, const mdc_stack *stack) {
    const mdc_thread *thread = &capture->lists->threads[index];
    const mdc_stack *own = &capture->threads[index].stack;
    if (own->first < stack->end && own->end > stack->first) return true;
    if (holds(stack, mdc_stack_pointer(capture, index)) || holds(stack, thread->stack_pointer)) return true;
    for (uint32_t i = 0; i < thread->interrupted_count; i++)
        if (holds(stack, thread->interrupted[i])) return true;
    return false;
}

static mdc_status describe(mdc_cut_threads *threads, const mdc_capture *capture, mdc_error *err) {
    const size_t crashed = mdc_capture_crashed(capture), count = capture->lists->thread_count;
    for (size_t i = 0; i < capture->stacks.count; i++) {
        const mdc_stack *stack = &mdc_vec_at(&capture->stacks, const mdc_stack, i);
        mdc_cut_stack told = {.first = stack->first, .end = stack->end};
        told.crashed = crashed < count && is_of(capture, crashed, stack);
        if (mdc_vec_push(&threads->stacks, &told, 1, NULL, err) != MDC_OK) return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        mdc_cut_registers told = {thread->context, thread->context_size, i == crashed};
        if ((thread->flags & MDC_THREAD_NO_REGISTERS) != 0 || told.bytes == NULL) continue;
        if (mdc_vec_push(&threads->registers, &told, 1, NULL, err) != MDC_OK) return err->code;
    }
    mdc_cut_registers at_signal = {capture->crash.context, capture->crash.context_size, true};
    return at_signal.bytes != NULL ? mdc_vec_push(&threads->registers, &at_signal, 1, NULL, err) : MDC_OK;
}

static mdc_status peek(void *context, uint64_t address, void *out, size_t size, size_t *done, mdc_error *err) {
    const mdc_reader *reader = context;
    mdc_span span = {address, size};
    int32_t os_errno;
    *done = 0;
    if (mdc_control_check(reader->engine->control, err) != MDC_OK) return err->code;
    return mdc_reader_source(reader, &span, 1, out, size, done, &os_errno, err);
}

mdc_cut_request mdc_cut_request_of(const mdc_plan *plan, const mdc_report *report) {
    return (mdc_cut_request){.plan = report,
                             .range_bytes = sizeof(mdc_file_memory64),
                             .gap_bytes = sizeof(mdc_gap),
                             .word = (uint32_t)mdc_word_size(plan->capture),
                             .peek = peek,
                             .peek_context = plan->reader};
}

mdc_status mdc_cut_threads_tell(mdc_cut_threads *threads, const mdc_capture *capture, mdc_cut_request *request,
                                mdc_error *err) {
    if (describe(threads, capture, err) != MDC_OK) return err->code;
    request->stacks = threads->stacks.data;
    request->stack_count = threads->stacks.count;
    request->registers = threads->registers.data;
    request->register_count = threads->registers.count;
    return MDC_OK;
}
