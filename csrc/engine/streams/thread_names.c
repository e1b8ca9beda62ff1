/* ThreadNames. */
#include "stream.h"

static bool has_name(const mdc_capture *capture, size_t thread) {
    const mdc_thread *it = &capture->lists->threads[thread];
    return capture->threads[thread].write != 0 && (it->name.size != 0 || it->named != 0);
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    uint32_t count = 0;
    size_t entry_at;
    (void)place;
    for (size_t i = 0; i < capture->lists->thread_count; i++) count += has_name(capture, i);
    if (count == 0) return MDC_OK;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_THREAD_NAMES, &count, sizeof count, count,
                         sizeof(mdc_file_thread_name), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        uint32_t rva;
        if (!has_name(capture, i)) continue;
        const uint8_t *name = mdc_capture_name(capture, thread->name);
        if (mdc_layout_string(layout, name, thread->name.size, &rva, err) != MDC_OK) return err->code;
        mdc_file_thread_name entry = {thread->tid, rva};
        mdc_layout_set(layout, entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_thread_names = {
    .type = MDC_STREAM_TYPE_THREAD_NAMES, .omit = MDC_STREAM_THREAD_NAMES, .build = build_stream};
