/* A fake source whose heap holds bytes of our making, and whose lists a test may bend. */
#ifndef MDC_TESTS_BENT_SOURCE_H
#define MDC_TESTS_BENT_SOURCE_H

#include "engine_check.h"

static uint8_t heap[0x8000];
static mdc_snapshot bent;
static const mdc_source_ops *inner;

static inline mdc_status heap_read(mdc_source *source, const mdc_span *spans, size_t count, uint8_t *buffer,
                                   size_t *done, int32_t *os_errno, mdc_error *err) {
    mdc_status status = inner->read(source, spans, count, buffer, done, os_errno, err);
    size_t at = 0;
    for (size_t i = 0; i < count && at < *done; at += (size_t)spans[i++].size)
        for (uint64_t b = 0; b < spans[i].size && at + b < *done; b++)
            if (spans[i].address + b - HEAP < sizeof heap) buffer[at + b] = heap[spans[i].address + b - HEAP];
    return status;
}

static inline const mdc_snapshot *bent_lists(const mdc_source *source) {
    (void)source;
    return &bent;
}

static inline void put64(uint64_t at, uint64_t value) { memcpy(heap + at, &value, 8); }
static inline void put32(uint64_t at, uint32_t value) { memcpy(heap + at, &value, 4); }

static inline void make_bent(made_dump *made, const mdc_engine_options *options) {
    static mdc_source_ops ops;
    memset(made, 0, sizeof *made);
    mdc_control_init(&made->control, 0);
    made->source = mdc_fake_new(&standard_target, &made->err);
    inner = made->source->ops;
    ops = *inner;
    ops.read = heap_read;
    ops.snapshot = bent_lists;
    made->source->ops = &ops;
    bent = *inner->snapshot(made->source);
    bent.auxv_phdr = HEAP;
    bent.auxv_phnum = 2;
    made->sink = mdc_sink_memory_new(UINT64_C(1) << 32, &made->err);
    made->dump = mdc_dump_new(options, made->source, made->sink, &made->control, &made->err);
}

static inline void run_bent(made_dump *made) {
    made->status = mdc_dump_run(made->dump, &made->err);
    made->report = mdc_dump_report(made->dump);
    if (made->status == MDC_OK) made->data = mdc_sink_memory_data(made->sink, &made->size);
}

#endif
