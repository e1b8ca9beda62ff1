/* Our own stream of thread pointers (format/mdc_streams.h), where Teb is not one. */
#include "stream.h"

static bool has_pointer(const mdc_capture *capture, size_t thread) {
    return capture->threads[thread].write != 0 && capture->lists->threads[thread].thread_pointer != 0;
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    mdc_thread_pointer_stream header = {MDC_THREAD_POINTER_STREAM_VERSION, sizeof header, sizeof(mdc_thread_pointer),
                                        0};
    size_t entry_at;
    (void)place;
    for (size_t i = 0; i < capture->lists->thread_count; i++) header.count += has_pointer(capture, i);
    if (header.count == 0 || capture->lists->system->platform == MDC_PLATFORM_WINDOWS) return MDC_OK;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_THREAD_POINTERS, &header, sizeof header, header.count,
                         sizeof(mdc_thread_pointer), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        if (!has_pointer(capture, i)) continue;
        mdc_thread_pointer entry = {.thread_id = thread->tid, .pointer = thread->thread_pointer};
        mdc_layout_set(layout, entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_thread_pointers = {.type = MDC_STREAM_TYPE_THREAD_POINTERS, .build = build_stream};
