/* HandleData: handles of a Windows process, descriptors of a Linux one. */
#include "stream.h"

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_snapshot *lists = layout->capture->lists;
    mdc_file_handle_data header = {sizeof header, sizeof(mdc_file_handle), (uint32_t)lists->handle_count, 0};
    size_t entries;
    (void)place;
    if (lists->handle_count == 0) return MDC_OK;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_HANDLE_DATA, &header, sizeof header, lists->handle_count,
                         sizeof(mdc_file_handle), &entries, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < lists->handle_count; i++) {
        const mdc_handle *handle = &lists->handles[i];
        mdc_file_handle entry = {.handle = handle->value,
                                 .attributes = handle->attributes,
                                 .granted_access = handle->access,
                                 .handle_count = handle->handles,
                                 .pointer_count = handle->pointers};
        if (mdc_layout_name(layout, handle->type, &entry.type_name_rva, err) != MDC_OK ||
            mdc_layout_name(layout, handle->name, &entry.object_name_rva, err) != MDC_OK)
            return err->code;
        mdc_layout_set(layout, entries + i * sizeof entry, &entry, sizeof entry);
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_handle_data = {.type = MDC_STREAM_TYPE_HANDLE_DATA,
                                           .omit = MDC_STREAM_HANDLE_DATA,
                                           .needs = MDC_TYPE_WITH_HANDLE_DATA,
                                           .build = build_stream};
