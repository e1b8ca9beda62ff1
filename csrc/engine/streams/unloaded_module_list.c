/* UnloadedModuleList of a Windows process. */
#include "stream.h"

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_snapshot *lists = layout->capture->lists;
    mdc_file_unloaded_list header = {sizeof header, sizeof(mdc_file_unloaded), (uint32_t)lists->unloaded_count};
    size_t entries;
    (void)place;
    if (lists->unloaded_count == 0) return MDC_OK;
    if (mdc_layout_table(layout, MDC_STREAM_TYPE_UNLOADED_MODULE_LIST, &header, sizeof header, lists->unloaded_count,
                         sizeof(mdc_file_unloaded), &entries, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < lists->unloaded_count; i++) {
        const mdc_unloaded *unloaded = &lists->unloaded[i];
        mdc_file_unloaded entry = {.base_of_image = unloaded->base,
                                   .size_of_image = unloaded->size,
                                   .checksum = unloaded->checksum,
                                   .time_date_stamp = unloaded->timestamp};
        if (mdc_layout_name(layout, unloaded->name, &entry.name_rva, err) != MDC_OK) return err->code;
        mdc_layout_set(layout, entries + i * sizeof entry, &entry, sizeof entry);
    }
    return MDC_OK;
}

const mdc_stream mdc_stream_unloaded_module_list = {
    .type = MDC_STREAM_TYPE_UNLOADED_MODULE_LIST, .needs = MDC_TYPE_WITH_UNLOADED_MODULES, .build = build_stream};
