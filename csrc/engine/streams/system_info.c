/* SystemInfo. */
#include <string.h>

#include "stream.h"

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    const mdc_system *system = layout->capture->lists->system;
    mdc_file_system_info info = {.processor_architecture = system->architecture,
                                 .processor_level = system->level,
                                 .processor_revision = system->revision,
                                 .processor_count = system->processors,
                                 .product_type = system->product_type,
                                 .suite_mask = (uint16_t)system->suite_mask,
                                 .major_version = system->major,
                                 .minor_version = system->minor,
                                 .build_number = system->build,
                                 .platform_id = system->platform};
    if (system->platform == MDC_PLATFORM_WINDOWS && system->architecture != MDC_FILE_ARCH_X86) {
        memcpy(info.processor_features, system->processor_features, sizeof info.processor_features);
    } else {
        memcpy(info.vendor_id, system->vendor, sizeof info.vendor_id);
        info.version_information = system->version_information;
        info.feature_information = system->feature_information;
    }
    /* Readers show it after the number: Breakpad and rust-minidump as "major.minor.build csd". */
    const uint8_t *rest = mdc_capture_name(layout->capture, system->csd_version);
    if (mdc_layout_string(layout, rest, system->csd_version.size, &info.csd_version_rva, err) != MDC_OK)
        return err->code;
    (void)place;
    return mdc_layout_table(layout, MDC_STREAM_TYPE_SYSTEM_INFO, &info, sizeof info, 0, 0, NULL, err);
}

const mdc_stream mdc_stream_system_info = {.type = MDC_STREAM_TYPE_SYSTEM_INFO, .build = build_stream};
