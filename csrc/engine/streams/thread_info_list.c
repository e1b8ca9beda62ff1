/* ThreadInfoList. */
#include "stream.h"

static bool has_info(const mdc_capture *capture, size_t thread) {
    return (capture->threads[thread].write & MDC_THREAD_WRITE_THREAD_INFO) != 0;
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_capture *capture = layout->capture;
    mdc_file_thread_info_list header = {sizeof header, sizeof(mdc_file_thread_info), 0};
    size_t entry_at;
    (void)place;
    for (size_t i = 0; i < capture->lists->thread_count; i++) header.entry_count += has_info(capture, i);
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_THREAD_INFO_LIST, &header, sizeof header, header.entry_count,
                         sizeof(mdc_file_thread_info), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < capture->lists->thread_count; i++) {
        const mdc_thread *thread = &capture->lists->threads[i];
        if (!has_info(capture, i)) continue;
        bool no_registers = (thread->flags & MDC_THREAD_NO_REGISTERS) != 0;
        mdc_file_thread_info info = {.thread_id = thread->tid,
                                     .dump_flags = no_registers ? MDC_THREAD_INFO_INVALID_CONTEXT : 0,
                                     .create_time = thread->create_time,
                                     .kernel_time = thread->kernel_time,
                                     .user_time = thread->user_time,
                                     .start_address = thread->start_address,
                                     .affinity = thread->affinity};
        mdc_layout_set(layout, entry_at, &info, sizeof info);
        entry_at += sizeof info;
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_thread_info_list = {.type = MDC_STREAM_TYPE_THREAD_INFO_LIST,
                                                .omit = MDC_STREAM_THREAD_INFO,
                                                .needs = MDC_TYPE_WITH_THREAD_INFO,
                                                .build = build_stream};
