/* Words of registers and stacks (see stack_pointers.h). */
#include "stack_pointers.h"

#include <string.h>

#include "../base/arith.h"
#include "../format/amd64_context.h"
#include "../format/minidump_file.h"
#include "../format/x86_context.h"

enum { LOOK = 4096 }; /* bytes of a stack examined at a time */

typedef struct walker {
    const mdc_reader *reader;
    uint32_t how;
    size_t word; /* bytes */
    mdc_pointer_seen seen;
    void *context;
    bool enough;
} walker;

size_t mdc_word_size(const mdc_capture *capture) {
    return capture->lists->system->architecture == MDC_FILE_ARCH_X86 ? sizeof(uint32_t) : sizeof(uint64_t);
}

mdc_status mdc_words_walk(const uint8_t *bytes, size_t size, size_t word, mdc_pointer_seen seen, void *context,
                          bool *enough, mdc_error *err) {
    for (size_t at = 0; at + word <= size && !*enough; at += word) {
        uint64_t value = 0; /* little endian, as all targets are */
        memcpy(&value, bytes + at, word);
        if (seen(context, value, enough, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

static mdc_status see(walker *self, const uint8_t *bytes, size_t size, mdc_error *err) {
    return mdc_words_walk(bytes, size, self->word, self->seen, self->context, &self->enough, err);
}

static mdc_status see_registers(walker *self, const uint8_t *context, size_t size, mdc_error *err) {
    uint32_t architecture = self->reader->capture->lists->system->architecture;
    size_t first = 0, end = 0;
    if (architecture == MDC_FILE_ARCH_AMD64) {
        first = MDC_AMD64_GENERAL_AT;
        end = first + MDC_AMD64_GENERAL * sizeof(uint64_t);
    } else if (architecture == MDC_FILE_ARCH_X86) {
        first = MDC_X86_GENERAL_AT;
        end = first + MDC_X86_GENERAL * sizeof(uint32_t);
    }
    return context != NULL && size >= end ? see(self, context + first, end - first, err) : MDC_OK;
}

static mdc_status read_stack(walker *self, uint64_t first, uint8_t *bytes, size_t size, size_t *done, mdc_error *err) {
    bool kept = true, closed;
    int32_t os_errno;
    *done = 0;
    if ((self->how & MDC_POINTERS_AS_KEPT) == 0)
        return mdc_reader_fetch(self->reader, first, bytes, size, done, &closed, &os_errno, err);
    if (mdc_reader_kept(self->reader, first, first + size, &kept, err) != MDC_OK) return err->code;
    return kept ? mdc_reader_peek(self->reader, first, bytes, size, done, err) : MDC_OK;
}

static mdc_status see_stack(walker *self, uint64_t first, uint64_t end, mdc_error *err) {
    uint8_t bytes[LOOK];
    while (first < end && !self->enough) {
        uint64_t stop = mdc_min_u64(end, first + LOOK);
        size_t done;
        if (mdc_calls_poll(&self->reader->engine->calls, err) != MDC_OK ||
            read_stack(self, first, bytes, (size_t)(stop - first), &done, err) != MDC_OK ||
            see(self, bytes, done, err) != MDC_OK)
            return err->code;
        first = stop;
    }
    return MDC_OK;
}

static mdc_status see_thread(walker *self, size_t i, mdc_error *err) {
    const mdc_capture *capture = self->reader->capture;
    const mdc_thread *thread = &capture->lists->threads[i];
    const mdc_stack *stack = &capture->threads[i].stack;
    if ((capture->threads[i].write & MDC_THREAD_WRITE_STACK) == 0 || self->enough) return MDC_OK;
    if (capture->crash.context != NULL && capture->crash.thread == i &&
        see_registers(self, capture->crash.context, capture->crash.context_size, err) != MDC_OK)
        return err->code;
    if (see_registers(self, thread->context, thread->context_size, err) != MDC_OK) return err->code;
    /* What lies below the stack pointer is left from calls that have returned. */
    uint64_t pointer = mdc_stack_pointer(capture, i) & ~(uint64_t)(self->word - 1);
    return see_stack(self, mdc_max_u64(stack->first, pointer), stack->end, err);
}

mdc_status mdc_pointers_walk(const mdc_reader *reader, uint32_t how, mdc_pointer_seen seen, void *context,
                             mdc_error *err) {
    const mdc_capture *capture = reader->capture;
    const size_t count = capture->lists->thread_count;
    walker self = {.reader = reader, .how = how, .word = mdc_word_size(capture), .seen = seen, .context = context};
    const size_t first = mdc_capture_crashed(capture);
    if (count > 0 && see_thread(&self, first, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < count; i++)
        if (i != first && see_thread(&self, i, err) != MDC_OK) return err->code;
    return MDC_OK;
}
