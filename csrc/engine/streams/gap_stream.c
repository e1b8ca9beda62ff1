/* Our own stream of gaps (format/mdc_streams.h): those of the plan; the writer appends the others at the tail. */
#include "../carried/carried_file.h"
#include "stream.h"

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_carried *carried = layout->capture->lists->carried;
    layout->tail = carried == NULL || layout->plan->gaps->planned_count > 0 ||
                   mdc_carried_find(carried, MDC_STREAM_TYPE_GAPS) != NULL;
    if (!layout->tail) return MDC_OK;
    uint64_t bytes = sizeof(mdc_gap_stream) + layout->plan->gaps->planned_count * (uint64_t)sizeof(mdc_gap);
    return mdc_layout_reserve(layout, place, MDC_STREAM_TYPE_GAPS, bytes, err);
}

static mdc_status write_planned(const mdc_layout *layout, const mdc_place *place, mdc_out *out, mdc_error *err) {
    const mdc_gaps *gaps = layout->plan->gaps;
    mdc_gap_stream stream = {.version = MDC_GAP_STREAM_VERSION,
                             .header_size = sizeof stream,
                             .entry_size = sizeof(mdc_gap),
                             .planned_count = (uint32_t)gaps->planned_count,
                             .tail_offset = layout->tail_offset,
                             .tail_capacity = layout->engine->options.gaps_max - gaps->planned_count};
    (void)place;
    if (!layout->tail) return MDC_OK;
    if (mdc_out_put(out, &stream, sizeof stream, err) != MDC_OK) return err->code;
    return mdc_out_put(out, gaps->planned, gaps->planned_count * (uint64_t)sizeof(mdc_gap), err);
}

const mdc_stream mdc_stream_gap_stream = {
    .type = MDC_STREAM_TYPE_GAPS, .of = MDC_OF_BOTH, .place = place_stream, .write = write_planned};
