/* CrashpadInfo with the caller's annotations: one block, as with dbghelp, where it is a user stream. */
#include "../../format/caller_texts.h"
#include "stream.h"

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_engine_options *options = &layout->engine->options;
    size_t at, size = mdc_annotations_put(options->annotations, options->annotation_count, 0, NULL);
    (void)place;
    if (options->annotation_count == 0) return MDC_OK;
    if (mdc_layout_align(layout, 8, err) != MDC_OK || mdc_layout_put(layout, NULL, size, &at, err) != MDC_OK)
        return err->code;
    mdc_annotations_put(options->annotations, options->annotation_count, (uint32_t)at,
                        (uint8_t *)layout->small.data + at);
    return mdc_layout_stream(layout, MDC_STREAM_TYPE_CRASHPAD_INFO, at, size, NULL, err);
}

const mdc_stream mdc_stream_crashpad_info = {
    .of = MDC_OF_BOTH, .type = MDC_STREAM_TYPE_CRASHPAD_INFO, .build = build_stream};
