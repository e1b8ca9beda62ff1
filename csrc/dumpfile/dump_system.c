/* SystemInfo, MiscInfo, and the process id in the text of /proc/PID/status. */
#include <string.h>

#include "../base/arith.h"
#include "../base/fail.h"
#include "dump_file.h"

enum { SYSTEM_LEAST = 32, MISC_LEAST = 24, STATUS_LOOKED_AT = 4096 };

mdc_status mdc_dump_system_info(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_file_system_info info;
    memset(&info, 0, sizeof info);
    size_t size = stream->size < sizeof info ? stream->size : sizeof info;
    if (size < SYSTEM_LEAST) return mdc_dump_broken(err, stream->rva, "SystemInfo", "it has less than 32 bytes");
    if (mdc_dump_get(file, stream->rva, &info, size, "SystemInfo", err) != MDC_OK) return err->code;
    mdc_system *system = &file->system;
    file->system_known = true;
    system->architecture = info.processor_architecture;
    system->level = info.processor_level;
    system->revision = info.processor_revision;
    system->processors = info.processor_count;
    system->product_type = info.product_type;
    system->major = info.major_version;
    system->minor = info.minor_version;
    system->build = info.build_number;
    system->platform = info.platform_id;
    system->suite_mask = info.suite_mask;
    memcpy(system->vendor, info.vendor_id, sizeof system->vendor);
    system->version_information = info.version_information;
    system->feature_information = info.feature_information;
    memcpy(system->processor_features, info.processor_features, sizeof system->processor_features);
    return mdc_dump_string(file, info.csd_version_rva, "SystemInfo: CSDVersion", &system->csd_version, err);
}

mdc_status mdc_dump_misc_info(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    mdc_file_misc_info info;
    memset(&info, 0, sizeof info);
    size_t size = stream->size < sizeof info ? stream->size : sizeof info;
    if (size < MISC_LEAST) return mdc_dump_broken(err, stream->rva, "MiscInfo", "it has less than 24 bytes");
    if (mdc_dump_get(file, stream->rva, &info, size, "MiscInfo", err) != MDC_OK) return err->code;
    if ((info.flags1 & MDC_MISC_PROCESS_ID) != 0) {
        file->process_id = info.process_id;
        file->process_known = true;
    }
    if ((info.flags1 & MDC_MISC_PROCESS_TIMES) != 0) {
        file->system.create_time_s = info.create_time;
        file->system.user_time_s = info.user_time;
        file->system.kernel_time_s = info.kernel_time;
    }
    return MDC_OK;
}

/* The number in the line that begins with `key`; -1: there is none. */
static int64_t number_of(const uint8_t *text, size_t size, const char *key) {
    size_t length = strlen(key);
    for (size_t at = 0; at < size;) {
        const uint8_t *newline = memchr(text + at, '\n', size - at);
        size_t end = newline != NULL ? (size_t)(newline - text) : size;
        if (end - at > length && memcmp(text + at, key, length) == 0) {
            int64_t number = -1;
            for (size_t i = at + length; i < end && number <= INT32_MAX; i++) {
                if (text[i] >= '0' && text[i] <= '9')
                    number = (number < 0 ? 0 : number * 10) + (text[i] - '0');
                else if (number >= 0 || (text[i] != ' ' && text[i] != '\t'))
                    break;
            }
            return number;
        }
        at = end + 1;
    }
    return -1;
}

mdc_status mdc_dump_proc_status(mdc_dump_file *file, const mdc_dump_entry *stream, mdc_error *err) {
    size_t size = (size_t)mdc_min_u64(stream->size, STATUS_LOOKED_AT);
    if (file->process_known) return MDC_OK;
    if (mdc_dump_get(file, stream->rva, file->scratch, size, "LinuxProcStatus", err) != MDC_OK) return err->code;
    int64_t number = number_of(file->scratch, size, "Tgid:");
    if (number < 0) number = number_of(file->scratch, size, "Pid:");
    if (number < 0 || number > INT32_MAX) return MDC_OK;
    file->process_id = (uint32_t)number;
    file->process_known = true;
    return MDC_OK;
}
