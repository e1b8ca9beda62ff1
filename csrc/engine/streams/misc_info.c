/* MiscInfo. */
#include <string.h>

#include "../../format/utf16.h"
#include "stream.h"

enum { BUILD_UNITS = 260, DEBUG_BUILD_UNITS = 40 }; /* of MINIDUMP_MISC_INFO_4 */

/* The number after "cpu MHz" in the text of /proc/cpuinfo, 0 if there is none. */
static uint32_t clock_mhz(const mdc_snapshot *lists) {
    static const char key[] = "cpu MHz";
    for (size_t i = 0; i < lists->text_count; i++) {
        const mdc_text *text = &lists->texts[i];
        if (text->stream != MDC_STREAM_CPUINFO || text->data == NULL) continue;
        for (size_t at = 0; at + sizeof key < text->size; at++) {
            if (memcmp(text->data + at, key, sizeof key - 1) != 0) continue;
            uint32_t value = 0;
            for (at += sizeof key - 1;
                 at < text->size && strchr(" \t:", text->data[at]) != NULL && text->data[at] != 0;)
                at++;
            for (; at < text->size && text->data[at] >= '0' && text->data[at] <= '9' && value < 100000000; at++)
                value = value * 10 + (uint32_t)(text->data[at] - '0');
            return value;
        }
    }
    return 0;
}

static void fill_xstate(const mdc_capture *capture, mdc_file_misc_info *info) {
    const mdc_system *system = capture->lists->system;
    info->xstate.size_of_info = sizeof info->xstate;
    info->xstate.context_size = capture->lists->thread_count > 0 ? capture->lists->threads[0].context_size : 0;
    info->xstate.enabled_features = system->xstate_mask;
    for (size_t i = 0; i < 64; i++) {
        if ((system->xstate_mask >> i & 1) == 0) continue;
        info->xstate.features[i].offset = system->xstate_features[i].offset;
        info->xstate.features[i].size = system->xstate_features[i].size;
    }
}

/* What the source reports of a Windows process. */
static void fill_known(const mdc_misc *known, bool power, mdc_file_misc_info *info) {
    info->flags1 |= power ? known->flags : known->flags & ~(uint32_t)MDC_MISC_POWER_INFO;
    if (power && (known->flags & MDC_MISC_POWER_INFO) != 0) {
        info->max_mhz = known->max_mhz;
        info->current_mhz = known->current_mhz;
        info->mhz_limit = known->mhz_limit;
        info->max_idle_state = known->max_idle_state;
        info->current_idle_state = known->current_idle_state;
    }
    info->integrity_level = known->integrity_level;
    info->execute_flags = known->execute_flags;
    info->time_zone_id = known->time_zone_id;
    memcpy(info->time_zone, known->time_zone, sizeof info->time_zone);
}

static void put_text(mdc_file_misc_info *info, size_t offset, size_t units, const uint8_t *text, size_t size) {
    uint16_t copy[BUILD_UNITS] = {0}; /* a member of a packed struct may be unaligned */
    mdc_utf16_text(text, size, copy, units - 1);
    memcpy((uint8_t *)info + offset, copy, units * sizeof copy[0]);
}

static mdc_status build_stream(mdc_layout *layout, mdc_place *place, mdc_error *err) {
    static const char writer[] = "minidump_cffi";
    const mdc_system *system = layout->capture->lists->system;
    mdc_file_misc_info info = {.size_of_info = offsetof(mdc_file_misc_info, xstate),
                               .process_id = (uint32_t)layout->engine->source->pid,
                               .create_time = (uint32_t)system->create_time_s,
                               .user_time = system->user_time_s,
                               .kernel_time = system->kernel_time_s};
    /* A core does not say when its process began, and a cut one not even its id. */
    if (info.process_id != 0) info.flags1 |= MDC_MISC_PROCESS_ID;
    if (info.create_time != 0) info.flags1 |= MDC_MISC_PROCESS_TIMES;
    bool power = (layout->capture->secondary & MDC_SECONDARY_WITHOUT_POWER_INFO) == 0;
    uint32_t mhz = clock_mhz(layout->capture->lists);
    if (power && mhz != 0) {
        info.flags1 |= MDC_MISC_POWER_INFO;
        info.max_mhz = info.current_mhz = info.mhz_limit = mhz;
    }
    fill_known(&system->misc, power, &info);
    mdc_name build = system->misc.build_string;
    if (build.size != 0) /* of a Windows process, in whose dumps dbghelp has its own name there */
        put_text(&info, offsetof(mdc_file_misc_info, debug_build_string), DEBUG_BUILD_UNITS, (const uint8_t *)writer,
                 sizeof writer - 1);
    else
        build = system->version;
    if (build.size != 0) {
        info.flags1 |= MDC_MISC_BUILD_STRING;
        put_text(&info, offsetof(mdc_file_misc_info, build_string), BUILD_UNITS,
                 mdc_capture_name(layout->capture, build), build.size);
    }
    /* Version 5 only for what only it can say: the layout of the extended state in the contexts. */
    if ((layout->capture->type & MDC_TYPE_WITH_AVX_XSTATE_CONTEXT) != 0) {
        info.size_of_info = sizeof info;
        fill_xstate(layout->capture, &info);
    }
    (void)place;
    return mdc_layout_table(layout, MDC_STREAM_TYPE_MISC_INFO, &info, info.size_of_info, 0, 0, NULL, err);
}

const mdc_stream mdc_stream_misc_info = {.type = MDC_STREAM_TYPE_MISC_INFO, .build = build_stream};
