/* A dump in memory: pages of the system (sink_pages.h), so that holes take no memory. */
#include <inttypes.h>
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "../base/failpoint.h"
#include "../base/os_error.h"
#include "../base/vec.h"
#include "sink_impl.h"
#include "sink_pages.h"

enum { FIRST_BYTES = 1 << 20 };

typedef struct memory_sink {
    mdc_sink_base base;
    uint8_t *data;
    size_t capacity; /* bytes of pages */
    uint64_t limit;  /* bytes */
} memory_sink;

/* Room for `end` bytes in all; false with the fault filled. */
static bool grow(memory_sink *memory, uint64_t end) {
    if (end > memory->limit) {
        mdc_fail(&memory->base.fault, MDC_ERR_SINK, MDC_PHASE_WRITE, MDC_OS_NO_SPACE,
                 "the dump needs %" PRIu64 " bytes of memory and %" PRIu64 " are allowed", end, memory->limit);
        return false;
    }
    if (end <= memory->capacity) return true;
    uint64_t wanted = mdc_max_u64(mdc_max_u64(end, FIRST_BYTES), (uint64_t)memory->capacity * 2);
    size_t capacity;
    void *data = NULL;
    if (MDC_FAILPOINT("alloc") == 0 && mdc_to_size(mdc_page_up(wanted), &capacity))
        data = mdc_pages_grow(memory->data, memory->capacity, (size_t)memory->base.sink.position, capacity);
    if (data == NULL) {
        mdc_fail(&memory->base.fault, MDC_ERR_NOMEM, MDC_PHASE_WRITE, 0, "out of memory: a dump of %" PRIu64 " bytes",
                 end);
        return false;
    }
    memory->data = data;
    memory->capacity = capacity;
    return true;
}

static mdc_status memory_begin(mdc_sink *sink, uint64_t planned, uint64_t written, mdc_error *err) {
    memory_sink *memory = (memory_sink *)sink;
    (void)written;
    if (mdc_sink_accepts(&memory->base, planned)) grow(memory, sink->position + planned);
    return mdc_sink_status(&memory->base, err);
}

static mdc_status memory_write(mdc_sink *sink, const void *data, size_t size, mdc_error *err) {
    memory_sink *memory = (memory_sink *)sink;
    if (mdc_sink_accepts(&memory->base, size) && mdc_sink_passes(&memory->base, "write:chunk") &&
        grow(memory, sink->position + size) && size > 0) {
        memcpy(memory->data + sink->position, data, size);
        sink->position += size;
    }
    return mdc_sink_status(&memory->base, err);
}

static mdc_status memory_hole(mdc_sink *sink, uint64_t size, mdc_error *err) {
    memory_sink *memory = (memory_sink *)sink;
    /* Nothing was ever written after the position, so it still reads as zero. */
    if (mdc_sink_accepts(&memory->base, size) && grow(memory, sink->position + size)) sink->position += size;
    return mdc_sink_status(&memory->base, err);
}

static mdc_status memory_patch(mdc_sink *sink, uint64_t offset, const void *data, size_t size, mdc_error *err) {
    memory_sink *memory = (memory_sink *)sink;
    if (mdc_sink_accepts_patch(&memory->base, offset, size) && mdc_sink_passes(&memory->base, "write:patch") &&
        size > 0)
        memcpy(memory->data + offset, data, size);
    return mdc_sink_status(&memory->base, err);
}

static mdc_status memory_finish(mdc_sink *sink, bool flush, mdc_error *err) {
    memory_sink *memory = (memory_sink *)sink;
    (void)flush;
    if (mdc_sink_finishes(&memory->base)) mdc_sink_passes(&memory->base, "sink:finish");
    return mdc_sink_status(&memory->base, err);
}

static void memory_free(mdc_sink *sink) {
    memory_sink *memory = (memory_sink *)sink;
    if (memory->data != NULL) mdc_pages_free(memory->data, memory->capacity);
    mdc_dealloc(memory);
}

static const mdc_sink_ops MEMORY_OPS = {memory_begin, memory_write,  memory_hole,
                                        memory_patch, memory_finish, memory_free};

mdc_sink *mdc_sink_memory_new(uint64_t limit, mdc_error *err) {
    memory_sink *memory = mdc_alloc(1, sizeof *memory, err);
    if (memory == NULL) return NULL;
    mdc_sink_setup(&memory->base, &MEMORY_OPS, true, true);
    memory->limit = limit;
    return &memory->base.sink;
}

const uint8_t *mdc_sink_memory_data(const mdc_sink *sink, size_t *size) {
    const memory_sink *memory = (const memory_sink *)sink;
    *size = (size_t)sink->position; /* never more than the capacity */
    return memory->data;
}
