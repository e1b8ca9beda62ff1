#include "stream.h"

#define ROW(name) &mdc_stream_##name,
static const mdc_stream *const table[] = {MDC_STREAMS(ROW)};
enum { ROWS = sizeof table / sizeof table[0] };
_Static_assert((int)ROWS <= (int)MDC_STREAMS_MAX, "room for what each stream keeps");

/* Dumps of this target have it, if the caller wants it. */
static bool applies(const mdc_capture *capture, const mdc_stream *stream) {
    return stream->of == MDC_OF_BOTH || (stream->of == MDC_OF_DUMP) == (capture->lists->carried != NULL);
}

static bool wanted(const mdc_capture *capture, const mdc_stream *stream) {
    return applies(capture, stream) && (capture->engine->options.omit_streams & stream->omit) == 0 &&
           (capture->type & stream->needs) == stream->needs;
}

mdc_status mdc_streams_check(const mdc_capture *capture, mdc_error *err) {
    for (size_t i = 0; i < ROWS; i++)
        if (table[i]->check != NULL && table[i]->check(capture, err) != MDC_OK) return err->code;
    return MDC_OK;
}

mdc_status mdc_streams_read(mdc_plan *plan, mdc_error *err) {
    for (size_t i = 0; i < ROWS; i++)
        if (table[i]->read != NULL && wanted(plan->capture, table[i]) &&
            table[i]->read(plan, &plan->streams[i], err) != MDC_OK)
            return err->code;
    return MDC_OK;
}

void mdc_streams_free(mdc_plan *plan) {
    for (size_t i = 0; i < ROWS; i++)
        if (plan->streams[i] != NULL) table[i]->free(plan->streams[i]);
}

mdc_status mdc_streams_build(mdc_layout *layout, mdc_error *err) {
    for (size_t i = 0; i < ROWS; i++) {
        layout->places[i] = (mdc_place){.state = layout->plan->streams[i]};
        if (table[i]->build != NULL && wanted(layout->capture, table[i]) &&
            table[i]->build(layout, &layout->places[i], err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

mdc_status mdc_streams_place(mdc_layout *layout, mdc_error *err) {
    for (size_t i = 0; i < ROWS; i++)
        if (table[i]->place != NULL && applies(layout->capture, table[i]) &&
            table[i]->place(layout, &layout->places[i], err) != MDC_OK)
            return err->code;
    return MDC_OK;
}

void mdc_streams_count(mdc_layout *layout) {
    for (size_t i = 0; i < ROWS; i++)
        if (table[i]->count != NULL && applies(layout->capture, table[i])) table[i]->count(layout, &layout->places[i]);
}

mdc_status mdc_streams_write(const mdc_layout *layout, mdc_out *out, mdc_error *err) {
    for (size_t i = 0; i < ROWS; i++) {
        const mdc_place *place = &layout->places[i];
        if (table[i]->write != NULL && applies(layout->capture, table[i]) &&
            (mdc_out_pad_to(out, place->offset, err) != MDC_OK || table[i]->write(layout, place, out, err) != MDC_OK))
            return err->code;
    }
    return MDC_OK;
}

int mdc_streams_find(uint32_t type) {
    for (int i = 0; i < (int)ROWS; i++)
        if (table[i]->type == type) return i;
    return -1;
}

const mdc_place *mdc_streams_place_of(const mdc_layout *layout, uint32_t type) {
    return &layout->places[mdc_streams_find(type)];
}
