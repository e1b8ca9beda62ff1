/* Streams the caller gives. */
#include <inttypes.h>

#include "../../base/fail.h"
#include "stream.h"

enum {
    RESERVED_TYPES = 0xFFFF, /* LastReservedStream: user streams begin above */
    STREAMS_MAX = 4096
};

/* Numbers this engine writes itself, whatever the target. */
static bool is_ours(uint32_t type) {
    return mdc_streams_find(type) >= 0 || type == MDC_STREAM_TYPE_MOZ_LINUX_LIMITS ||
           (type >= MDC_STREAM_TYPE_LINUX_CPU_INFO && type <= MDC_STREAM_TYPE_LINUX_DSO_DEBUG);
}

static mdc_status wrong(mdc_error *err, size_t index, uint32_t type, const char *why) {
    return mdc_fail_at(err, MDC_ERR_INVALID, MDC_PHASE_NONE, (int64_t)index, "user stream 0x%" PRIx32 ": %s", type,
                       why);
}

mdc_status mdc_user_streams_check(const mdc_engine_options *options, mdc_error *err) {
    const mdc_user_stream *streams = options->user_streams;
    size_t count = options->user_stream_count;
    if (count > STREAMS_MAX || (count > 0 && streams == NULL))
        return mdc_fail(err, MDC_ERR_INVALID, MDC_PHASE_NONE, 0, "there can be %d user streams at most",
                        (int)STREAMS_MAX);
    uint64_t at = MDC_USER_STREAM_RVA;
    for (size_t i = 0; i < count; i++) {
        uint32_t type = streams[i].type;
        if (type <= RESERVED_TYPES) return wrong(err, i, type, "numbers up to 0xFFFF are reserved by Microsoft");
        if (is_ours(type)) return wrong(err, i, type, "this engine writes a stream with this number itself");
        if (streams[i].size > UINT32_MAX) return wrong(err, i, type, "a stream must be shorter than 4 GiB");
        if (streams[i].size > 0 && streams[i].data == NULL) return wrong(err, i, type, "the data is missing");
        if (streams[i].rva != 0) {
            if (streams[i].rva != at) return wrong(err, i, type, "this is not the place where it will be");
            at = (at + streams[i].size + 7) & ~UINT64_C(7);
            if (at > MDC_USER_STREAMS_FIRST_MAX)
                return wrong(err, i, type, "streams that know their place have 256 MiB at most");
        }
        for (size_t j = 0; j < i; j++)
            if (streams[j].type == type)
                return wrong(err, i, type, "given twice: readers use one stream of each number");
    }
    return MDC_OK;
}

mdc_status mdc_user_streams_put(mdc_layout *layout, mdc_error *err) {
    const mdc_engine_options *options = &layout->engine->options;
    for (size_t i = 0; i < options->user_stream_count; i++) {
        const mdc_user_stream *stream = &options->user_streams[i];
        if (stream->rva == 0) continue;
        size_t at;
        if (mdc_layout_align(layout, 8, err) != MDC_OK ||
            mdc_layout_put(layout, stream->data, (size_t)stream->size, &at, err) != MDC_OK ||
            mdc_layout_stream(layout, stream->type, at, stream->size, NULL, err) != MDC_OK)
            return err->code;
    }
    return MDC_OK;
}

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_engine_options *options = &layout->engine->options;
    (void)place;
    for (size_t i = 0; i < options->user_stream_count; i++) {
        const mdc_user_stream *stream = &options->user_streams[i];
        if (stream->rva != 0) continue;
        mdc_part part = {.offset = layout->end, .size = stream->size, .data = stream->data};
        mdc_status status = part.size == 0 ? mdc_layout_stream(layout, stream->type, part.offset, 0, NULL, err)
                                           : mdc_layout_part(layout, stream->type, &part, err);
        if (status != MDC_OK) return status;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_user_streams = {.of = MDC_OF_BOTH, .place = place_stream};
