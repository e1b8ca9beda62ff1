#include "reading.h"

#include "../base/vec.h"

struct mdc_reading {
    mdc_source *source;
    mdc_dump_control control; /* never aborted */
};

mdc_status mdc_reading_new(mdc_source **source, mdc_reading **slot, mdc_error *err) {
    *slot = NULL;
    mdc_reading *reading = mdc_alloc(1, sizeof *reading, err);
    if (reading == NULL) {
        mdc_source_drop(source);
        return err->code;
    }
    mdc_control_init(&reading->control, 0);
    reading->source = *source;
    *source = NULL;
    if (reading->source->ops->prepare(reading->source, &reading->control, err) != MDC_OK ||
        reading->source->ops->stop(reading->source, err) != MDC_OK) {
        mdc_reading_free(reading);
        return err->code;
    }
    *slot = reading;
    return MDC_OK;
}

void mdc_reading_free(mdc_reading *reading) {
    if (reading == NULL) return;
    mdc_source_drop(&reading->source);
    mdc_dealloc(reading);
}

const mdc_source *mdc_reading_source(const mdc_reading *reading) { return reading->source; }

int32_t mdc_reading_pid(const mdc_reading *reading) { return reading->source->pid; }

const mdc_snapshot *mdc_reading_snapshot(const mdc_reading *reading) {
    return reading->source->ops->snapshot(reading->source);
}

size_t mdc_reading_content(mdc_reading *reading, size_t region, uint64_t first, uint64_t end, mdc_content *runs,
                           size_t room, uint64_t *next) {
    return reading->source->ops->content(reading->source, region, first, end, runs, room, next);
}

mdc_status mdc_reading_read(mdc_reading *reading, uint64_t address, uint64_t size, uint8_t *buffer, size_t *done,
                            int32_t *os_errno, mdc_error *err) {
    const mdc_span span = {address, size};
    return reading->source->ops->read(reading->source, &span, 1, buffer, done, os_errno, err);
}
