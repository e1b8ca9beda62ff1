/* The registers of threads and exceptions, and the stacks that follow from them (see dump_file.h). */
#include <stdlib.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/bound.h"
#include "../base/fail.h"
#include "dump_file.h"

/* CONTEXT of x86, AMD64, ARM64 (winnt.h), and MDRawContextARM, MDRawContextARM64_Old of Breakpad. */
typedef struct context_layout {
    uint16_t architecture;
    uint16_t instruction_pointer; /* offset in the context */
    uint16_t stack_pointer;
    uint16_t width; /* bytes of each */
    uint32_t size;  /* bytes of a whole context */
} context_layout;

enum { ARCH_ARM = 5, ARCH_ARM64_OLD = 0x8003, CONTEXTS_MAX = 1 << 30 /* bytes of all that are read */ };

static const context_layout layouts[] = {
    {MDC_FILE_ARCH_X86, 184, 196, 4, 716},
    {MDC_FILE_ARCH_AMD64, 248, 152, 8, 1232},
    {MDC_FILE_ARCH_ARM64, 264, 256, 8, 912},
    {ARCH_ARM64_OLD, 264, 256, 8, 796},
    {ARCH_ARM, 64, 56, 4, 368},
};

static const context_layout *layout_of(const mdc_dump_file *file) {
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].architecture == file->system.architecture) return &layouts[i];
    return NULL;
}

static uint64_t pointer_at(const uint8_t *context, uint32_t size, uint32_t offset, uint32_t width) {
    uint64_t value = 0;
    if (offset + width <= size) memcpy(&value, context + offset, width);
    return value;
}

/* -- each RVA once ------------------------------------------------------------------------------------------------- */

typedef struct context_at {
    uint32_t rva;
    uint32_t size; /* bytes, of the longest that begins there */
    size_t place;  /* in file->contexts */
} context_at;

static int by_rva(const void *left, const void *right) {
    const context_at *a = left, *b = right;
    if (a->rva != b->rva) return a->rva < b->rva ? -1 : 1;
    return a->size > b->size ? -1 : a->size < b->size;
}

/* Whether the context can be read; one that cannot has no bytes from here on. */
static mdc_status check(mdc_dump_file *file, uint32_t rva, uint32_t *size, const char *what, mdc_error *err) {
    mdc_status status = MDC_OK;
    if (*size > MDC_DUMP_CONTEXT_MAX)
        status = mdc_dump_broken(err, rva, what, "it is longer than 65536 bytes");
    else if (*size > 0 && !mdc_dump_inside(file, rva, *size))
        status = mdc_dump_broken(err, rva, what, "it is beyond the end of the file");
    if (status == MDC_OK) return MDC_OK;
    *size = 0;
    return mdc_dump_tolerate(file, err);
}

static mdc_status collect(mdc_dump_file *file, mdc_vec *wanted, mdc_error *err) {
    size_t threads = file->places.count;
    for (size_t i = 0; i < threads + file->exceptions.count; i++) {
        bool of_thread = i < threads;
        mdc_dump_exception *exception =
            of_thread ? NULL : &mdc_vec_at(&file->exceptions, mdc_dump_exception, i - threads);
        mdc_file_location *location = of_thread ? &mdc_vec_at(&file->places, mdc_dump_thread_at, i).context : NULL;
        context_at at = {.rva = of_thread ? location->rva : exception->context_rva};
        uint32_t *size = of_thread ? &location->data_size : &exception->context_size;
        file->stream = of_thread ? MDC_STREAM_TYPE_THREAD_LIST : MDC_STREAM_TYPE_EXCEPTION;
        if (check(file, at.rva, size, of_thread ? "ThreadList: a context" : "Exception: a context", err) != MDC_OK)
            return err->code;
        at.size = *size;
        if (at.size > 0 && mdc_vec_push(wanted, &at, 1, NULL, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

/* Reads them one after the other; those that overlap at different RVAs may not make more of the file than there is.
 * Last come `blank` zeros, the context of threads that have none. */
static mdc_status load(mdc_dump_file *file, mdc_vec *wanted, uint32_t blank, mdc_error *err) {
    context_at *all = wanted->data;
    size_t count = 0;
    uint64_t total = 0;
    if (wanted->count > 0) qsort(all, wanted->count, sizeof *all, by_rva);
    for (size_t i = 0; i < wanted->count; i++) {
        if (count > 0 && all[count - 1].rva == all[i].rva) continue;
        if (total + all[i].size > mdc_min_u64(file->size, CONTEXTS_MAX)) {
            mdc_dump_broken(err, all[i].rva, "a context",
                            "together they are longer than the file, or than 1 GiB: some overlap");
            if (mdc_dump_tolerate(file, err) != MDC_OK) return err->code;
            break;
        }
        all[count] = all[i];
        all[count].place = (size_t)total;
        total += all[count++].size;
    }
    wanted->count = count;
    if (mdc_vec_push(&file->contexts, NULL, (size_t)total + blank, NULL, err) != MDC_OK) return err->code;
    for (size_t i = 0; i < count; i++)
        if (mdc_dump_get(file, all[i].rva, (uint8_t *)file->contexts.data + all[i].place, all[i].size, "a context",
                         err) != MDC_OK)
            return err->code;
    return MDC_OK;
}

static const uint8_t *loaded(const mdc_dump_file *file, const mdc_vec *contexts, uint32_t rva, uint32_t size) {
    const context_at *all = contexts->data;
    size_t at;
    mdc_lower_bound(at, 0, contexts->count, all[at].rva < rva);
    if (size == 0 || at == contexts->count || all[at].rva != rva) return NULL;
    return (const uint8_t *)file->contexts.data + all[at].place;
}

/* -- who uses them ------------------------------------------------------------------------------------------------- */

/* The range of the descriptor, or what the file holds round the stack pointer where the descriptor leads nowhere. */
static void find_stack(const mdc_dump_file *file, mdc_thread *thread, const mdc_file_memory *stack) {
    uint64_t end, size = stack->memory.data_size;
    int64_t held;
    bool placed = stack->memory.rva != 0 && mdc_dump_inside(file, stack->memory.rva, size);
    if (size > 0 && mdc_add_u64(stack->start, size, &end) && (placed || mdc_dump_held_at(file, stack->start) >= 0)) {
        thread->stack_first = stack->start;
        thread->stack_end = end;
    } else if (thread->stack_pointer != 0 && (held = mdc_dump_held_at(file, thread->stack_pointer)) >= 0) {
        const mdc_carried_run *run = &mdc_vec_at(&file->held, const mdc_carried_run, held);
        thread->stack_first = run->address;
        thread->stack_end = run->address + run->size;
    }
}

static void use(mdc_dump_file *file, const mdc_vec *contexts, const context_layout *layout, uint32_t blank) {
    for (size_t i = 0; i < file->threads.count; i++) {
        mdc_thread *thread = &mdc_vec_at(&file->threads, mdc_thread, i);
        const mdc_dump_thread_at *place = &mdc_vec_at(&file->places, const mdc_dump_thread_at, i);
        thread->context = loaded(file, contexts, place->context.rva, place->context.data_size);
        thread->context_size = place->context.data_size;
        if (thread->context == NULL) {
            thread->context = (const uint8_t *)file->contexts.data + (file->contexts.count - blank);
            thread->context_size = blank;
            if (i < file->listed) thread->flags |= MDC_THREAD_NO_REGISTERS;
        } else if (layout != NULL) {
            thread->instruction_pointer =
                pointer_at(thread->context, thread->context_size, layout->instruction_pointer, layout->width);
            thread->stack_pointer =
                pointer_at(thread->context, thread->context_size, layout->stack_pointer, layout->width);
        }
        find_stack(file, thread, &place->stack);
    }
    for (size_t i = 0; i < file->exceptions.count; i++) {
        mdc_dump_exception *exception = &mdc_vec_at(&file->exceptions, mdc_dump_exception, i);
        uint32_t size = exception->context_size;
        exception->context = loaded(file, contexts, exception->context_rva, size);
        if (layout == NULL || exception->context == NULL) continue;
        exception->instruction_pointer =
            pointer_at(exception->context, size, layout->instruction_pointer, layout->width);
        exception->stack_pointer = pointer_at(exception->context, size, layout->stack_pointer, layout->width);
    }
}

mdc_status mdc_dump_contexts(mdc_dump_file *file, mdc_error *err) {
    mdc_vec wanted;
    mdc_vec_init(&wanted, sizeof(context_at));
    const context_layout *layout = layout_of(file);
    uint32_t blank = layout != NULL ? layout->size : 1;
    mdc_status status = collect(file, &wanted, err);
    if (status == MDC_OK) status = load(file, &wanted, blank, err);
    if (status == MDC_OK) use(file, &wanted, layout, blank);
    mdc_vec_fini(&wanted);
    file->stream = 0;
    return status;
}
