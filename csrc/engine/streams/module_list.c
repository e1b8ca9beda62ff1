/* ModuleList with names and CodeView records: 'RSDS' of PE images, 'BpEL' of ELF build ids. */
#include <string.h>

#include "../dump_state.h"

/* The fields before the path: signature, GUID, age of 'RSDS'; signature, offset, time, age of 'NB10'. */
enum { RSDS_FIXED = 24, NB10_FIXED = 16, NB10_SIGNATURE = 0x3031424E };

const uint8_t *mdc_modules_record(const mdc_dump *dump, const mdc_module *module, uint8_t *elf, size_t *size) {
    *size = module->codeview.size;
    if (*size != 0) return mdc_dump_name(dump, module->codeview);
    if (module->build_id_size == 0) return NULL;
    const uint32_t signature = MDC_FILE_CV_ELF;
    memcpy(elf, &signature, sizeof signature);
    memcpy(elf + sizeof signature, module->build_id, module->build_id_size);
    *size = sizeof signature + module->build_id_size;
    return elf;
}

/* The path after the fixed part of a PE image's record is text, and edited like all texts. */
static mdc_status put_record(mdc_dump *dump, const mdc_module *module, mdc_file_location *location, mdc_error *err) {
    uint8_t elf[4 + sizeof module->build_id];
    size_t size, at;
    const uint8_t *record = mdc_modules_record(dump, module, elf, &size);
    if (size == 0) return MDC_OK;
    uint32_t signature = 0;
    memcpy(&signature, record, size < sizeof signature ? size : sizeof signature);
    size_t fixed = signature == NB10_SIGNATURE ? NB10_FIXED : RSDS_FIXED;
    if (module->codeview.size == 0 || fixed > size) fixed = size;
    const uint8_t *path = record + fixed;
    if (mdc_layout_align(dump, 4, err) != MDC_OK || mdc_layout_put(dump, record, fixed, &at, err) != MDC_OK ||
        mdc_sanitized_string(dump, &path, size - fixed, err) != MDC_OK ||
        mdc_layout_put(dump, path, size - fixed, NULL, err) != MDC_OK)
        return err->code;
    *location = (mdc_file_location){(uint32_t)size, (uint32_t)at};
    return MDC_OK;
}

mdc_status mdc_streams_modules(mdc_dump *dump, mdc_error *err) {
    uint32_t count = 0;
    size_t at, entry_at;
    for (size_t i = 0; i < dump->module_plans.count; i++)
        count += mdc_vec_at(&dump->module_plans, const mdc_module_plan, i).write != 0;
    if (count > MDC_BREAKPAD_MODULES) dump->warnings |= MDC_WARN_MANY_MODULES;
    if (mdc_layout_align(dump, 8, err) != MDC_OK || mdc_layout_put(dump, &count, sizeof count, &at, err) != MDC_OK ||
        mdc_layout_put(dump, NULL, count * sizeof(mdc_file_module), &entry_at, err) != MDC_OK)
        return err->code;
    for (size_t i = 0; i < dump->module_plans.count; i++) {
        const mdc_module *module = &dump->lists->modules[i];
        const mdc_module_plan *plan = &mdc_vec_at(&dump->module_plans, const mdc_module_plan, i);
        if (plan->write == 0) continue;
        mdc_file_module entry = {.base_of_image = module->base,
                                 .size_of_image = plan->size,
                                 .checksum = module->checksum,
                                 .time_date_stamp = module->timestamp};
        memcpy(&entry.version_info, module->version, sizeof entry.version_info);
        const uint8_t *path = mdc_dump_name(dump, module->path);
        if (mdc_layout_string(dump, path, module->path.size, &entry.name_rva, err) != MDC_OK) return err->code;
        if ((plan->write & MDC_MODULE_WRITE_CV_RECORD) != 0 &&
            put_record(dump, module, &entry.cv_record, err) != MDC_OK)
            return err->code;
        memcpy((uint8_t *)dump->small.data + entry_at, &entry, sizeof entry);
        entry_at += sizeof entry;
    }
    return mdc_layout_stream(dump, MDC_STREAM_TYPE_MODULE_LIST, at, 4 + 108 * (uint64_t)count, NULL, err);
}
