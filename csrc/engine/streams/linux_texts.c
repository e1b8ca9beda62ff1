/* Breakpad's Linux streams except the link map, and Mozilla's of the limits: texts made by the kernel, and target
 * memory shown as text. */
#include "stream.h"

enum { TARGET_TEXT_MAX = 16 << 20 }; /* bytes of target memory in one text: environ and cmdline are limited to 6 MiB */

static uint32_t stream_type(uint32_t stream) {
    switch (stream) {
    case MDC_STREAM_CPUINFO:
        return MDC_STREAM_TYPE_LINUX_CPU_INFO;
    case MDC_STREAM_STATUS:
        return MDC_STREAM_TYPE_LINUX_PROC_STATUS;
    case MDC_STREAM_LSB_RELEASE:
        return MDC_STREAM_TYPE_LINUX_LSB_RELEASE;
    case MDC_STREAM_CMDLINE:
        return MDC_STREAM_TYPE_LINUX_CMD_LINE;
    case MDC_STREAM_ENVIRON:
        return MDC_STREAM_TYPE_LINUX_ENVIRON;
    case MDC_STREAM_AUXV:
        return MDC_STREAM_TYPE_LINUX_AUXV;
    case MDC_STREAM_MAPS:
        return MDC_STREAM_TYPE_LINUX_MAPS;
    case MDC_STREAM_LIMITS:
        return MDC_STREAM_TYPE_MOZ_LINUX_LIMITS;
    default:
        return 0;
    }
}

static mdc_status place_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    uint32_t seen = 0;
    (void)place;
    for (size_t i = 0; i < layout->capture->lists->text_count; i++) {
        const mdc_text *text = &layout->capture->lists->texts[i];
        uint32_t type = stream_type(text->stream);
        if (type == 0 || (seen & text->stream) != 0 || (layout->engine->options.omit_streams & text->stream) != 0)
            continue;
        seen |= text->stream;
        /* Bytes that are also in target memory follow it: excluded there, they are not written here. */
        uint64_t end = text->address + text->size;
        bool kept = text->data != NULL || text->size <= TARGET_TEXT_MAX;
        if (kept && text->size > 0 && text->address != 0) {
            kept = end > text->address;
            if (kept && mdc_reader_kept(layout->plan->reader, text->address, end, &kept, err) != MDC_OK)
                return err->code;
        }
        if (!kept) {
            layout->omitted_streams |= text->stream;
            continue;
        }
        mdc_part part = {.offset = layout->end,
                         .size = text->size,
                         .data = mdc_sanitized_text(&layout->sanitized, i),
                         .address = text->address};
        if (mdc_layout_part(layout, type, &part, err) != MDC_OK) return err->code;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_linux_texts = {.place = place_stream};
